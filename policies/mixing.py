"""CutMix and MixUp: an image and its label become partly another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

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
    """Of a batch to be mixed at all."""


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
    if mixing is None or count < 2 or rng.random() >= mixing.probability:
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
    cut = max(bottom - top, 0) * max(right - left, 0)
    return Mix(partners, 1 - cut / (height * width), (top, left, max(bottom, top), max(right, left)))
