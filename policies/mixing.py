"""CutMix and MixUp: an image and its label become partly another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from augsearch.policies.errors import UserError, shown
from augsearch.policies.streams import RandomStream

Targets = TypeVar("Targets", bound=Any)


class Mixing(BaseModel):
    """How batches are mixed.

    ``cutmix`` pastes a rectangle of another image (Yun et al. 2019, arXiv:1905.04899);
    ``mixup`` averages two images (Zhang et al. 2018, arXiv:1710.09412).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cutmix", "mixup"]
    alpha: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = 1.0
    """The kept share is drawn from Beta(alpha, alpha)."""
    probability: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    """The probability that a batch is mixed at all."""

    def batch_transform(self, classes: int, seed: int) -> BatchMixing:
        """A function for batches of images and their labels, with its own random stream.

        Raises:
            UserError: ``classes`` is no whole number above 0, or ``seed`` none from 0.
        """
        return BatchMixing(self, classes, seed)


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """One batch's mixing, drawn; the same for the images and for every kind of target."""

    partners: NDArray[np.int64]
    """(B,): which image of the batch each one is mixed with."""
    kept: float
    """The share of each image's own pixels, and so of its own label."""
    box: tuple[int, int, int, int] | None
    """CutMix's rectangle: top, left, bottom, right; None for MixUp."""

    def images(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Mix ``images``, uint8 (B, H, W, C)."""
        others = images[self.partners]
        if self.box is None:
            # As one tall grey picture: OpenCV works on any number of rows.
            flat, other = images.reshape(len(images), -1), others.reshape(len(images), -1)
            mixed = cv2.addWeighted(flat, self.kept, other, 1 - self.kept, 0)
            return np.asarray(mixed, dtype=np.uint8).reshape(images.shape)
        top, left, bottom, right = self.box
        mixed = images.copy()
        mixed[:, top:bottom, left:right] = others[:, top:bottom, left:right]
        return mixed

    def targets(self, targets: Targets) -> Targets:
        """Mix ``targets`` (B, K), probabilities in a NumPy array or a torch tensor."""
        return cast(Targets, self.kept * targets + (1 - self.kept) * targets[self.partners])


def draw_mix(
    mixing: Mixing | None, count: int, size: tuple[int, int], rng: np.random.Generator
) -> Mix | None:
    """Draw how a batch of ``count`` images of ``size`` (height, width) is mixed; None: not at all.

    CutMix's rectangle has the area 1 − λ before it is clipped at the border; ``kept`` is what
    remains after, so that label weights equal pixel areas.
    """
    if mixing is None or count < 2 or 0 in size or rng.random() >= mixing.probability:
        return None
    kept = float(rng.beta(mixing.alpha, mixing.alpha))
    partners = rng.permutation(count)
    if mixing.kind == "mixup":
        return Mix(partners, kept, None)
    height, width = size
    side = np.sqrt(1 - kept)
    centre_y, centre_x = int(rng.integers(height)), int(rng.integers(width))
    half_y, half_x = round(height * side) / 2, round(width * side) / 2
    top, bottom = max(int(centre_y - half_y), 0), min(int(centre_y + half_y), height)
    left, right = max(int(centre_x - half_x), 0), min(int(centre_x + half_x), width)
    cut = (bottom - top) * (right - left)
    return Mix(partners, 1 - cut / (height * width), (top, left, bottom, right))


class BatchMixing:
    """Mixes a batch per call; made by ``Mixing.batch_transform``.

    It pickles, with the state of its random stream, and has another one in each worker of a ``DataLoader``.
    """

    def __init__(self, mixing: Mixing, classes: int, seed: int) -> None:
        self.mixing, self.classes, self.seed = mixing, checked_classes(classes), seed
        self._stream = RandomStream(seed)

    def __call__(
        self, images: NDArray[np.uint8], labels: NDArray[Any]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Mixed images, and the probabilities (B, K) of their classes, float32.

        A batch that is not mixed, by chance or because it has one image only, comes back as it is.

        Args:
            images: uint8 (B, H, W, C).
            labels: whole numbers (B,) from 0 to K − 1, or probabilities (B, K).

        Raises:
            UserError: they are something else.
        """
        if not (isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4):
            raise UserError(f"images must be a uint8 array (B, H, W, C), got {shown(images)}")
        targets = probabilities(labels, len(images), self.classes)
        with self._stream.turn():
            mix = draw_mix(self.mixing, len(images), images.shape[1:3], self._stream.rng)
        return (mix.images(images), mix.targets(targets)) if mix else (images, targets)

    def __repr__(self) -> str:
        return f"{self.mixing!r}.batch_transform(classes={self.classes}, seed={self.seed})"


def checked_classes(classes: int) -> int:
    """``classes`` where it is a number of classes.

    Raises:
        UserError: it is not.
    """
    if isinstance(classes, bool) or not isinstance(classes, int | np.integer) or classes < 1:
        raise UserError(f"classes must be a whole number ≥ 1, got {classes!r}")
    return int(classes)


def probabilities(labels: NDArray[Any], count: int, classes: int) -> NDArray[np.float32]:
    """Labels (B,) or (B, K) of ``count`` images as new probabilities (B, K), float32.

    Raises:
        UserError: they are no such labels.
    """
    if not isinstance(labels, np.ndarray):
        raise UserError(f"labels must be an array, got {shown(labels)}")
    whole, floating = labels.dtype.kind in "iu", labels.dtype.kind == "f"
    check_labels(labels, whole=whole, floating=floating, count=count, classes=classes)
    low, high = (labels.min(), labels.max()) if labels.size else (0, 0)
    if whole and not 0 <= low <= high < classes:
        raise UserError(f"labels must lie in 0–{classes - 1}, got {low} to {high}")
    if floating and not 0 <= low <= high <= 1:
        raise UserError(f"the labels' probabilities must lie in [0, 1], got {low:g} to {high:g}")
    if floating:
        return labels.astype(np.float32)
    one_hot = np.zeros((count, classes), dtype=np.float32)
    one_hot[np.arange(count), labels] = 1
    return one_hot


def check_labels(labels: Any, *, whole: bool, floating: bool, count: int, classes: int) -> None:
    """Check all of an array's or a tensor's labels but the values.

    Raises:
        UserError: they are neither whole numbers (B,) nor probabilities (B, K), or not ``count``.
    """
    shape = tuple(labels.shape)
    if not ((whole and len(shape) == 1) or (floating and len(shape) == 2 and shape[1] == classes)):
        raise UserError(
            f"labels must be whole numbers (B,) or probabilities (B, {classes}), got {shown(labels)}"
        )
    if shape[0] != count:
        raise UserError(f"there must be a label for each of the {count} images, got {shape[0]}")
