"""A policy as a transform in anybody's own code: NumPy, PIL and torch images in, the same type out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from augsearch.policies.backends import engine
from augsearch.policies.backends.opencv import deep
from augsearch.policies.backends.opencv.runner import Runner, runner_for
from augsearch.policies.bands import COLOURS, are_channels, by_band
from augsearch.policies.errors import UserError, shown
from augsearch.policies.pictures import array_of, image_of, is_deep, of_mode, values_of
from augsearch.policies.planner import DrawnImage, Draws
from augsearch.policies.registry import Ranges
from augsearch.policies.samples import augment_sample, is_tensor, refuse_other_tv_tensors
from augsearch.policies.sampling import Sampling
from augsearch.policies.streams import RandomStream

DRAWN_AHEAD = 256
"""Drawing for one image costs as much as drawing for hundreds at once."""

_IMAGES = {np.ndarray, PILImage.Image}
"""Most: to ask whether one is a mapping takes an eighth of a small image."""

_HOLD_IMAGES = (tuple, list, Mapping)

_UINT8 = np.dtype(np.uint8)
"""The one of this byte order, of which there is one object."""


@runtime_checkable
class PolicyLike(Protocol):
    """What a transform needs of a policy."""

    @property
    def ranges(self) -> Ranges:
        """What magnitudes mean."""

    @property
    def sampling(self) -> Sampling:
        """How warps and patches meet pixels outside the image."""

    def draw(self, count: int, rng: np.random.Generator) -> Draws:
        """Draw what happens to each of ``count`` images."""

    def augment(self, images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """A new batch, each image augmented by its own draw; ``images``: (B, H, W, C), C up to 16."""


class ImageTransform:
    """Augments one image per call, each by a draw of its own; made by ``Policy.transform``.

    It pickles, with the state of its random stream.
    """

    def __init__(self, policy: PolicyLike, seed: int) -> None:
        self.policy = policy
        self._stream = RandomStream(seed)
        self._ahead: list[DrawnImage] = []
        self._sampling = policy.sampling
        self._augment_levels = engine.ByImage(policy.ranges, policy.sampling)

    def __call__(self, *sample: Any) -> Any:
        """A new image of the same type, shape and dtype; or a sample with its images augmented.

        A sample is several arguments, or one tuple, list or dictionary, nested at will, as
        ``torchvision.transforms.v2`` has them, with one draw for all of it. Masks, boxes and key points of
        ``torchvision.tv_tensors`` move with the image, see ``samples.py``; labels and all else stay.

        Args:
            sample: an image is a NumPy array, (H, W) or (H, W, C), uint8, uint16 of which 65,535 is white, or
                floating in [0, 1]; a PIL image of mode RGB, L, I;16, I (as I;16) or F in [0, 1]; or a torch
                tensor on the CPU, uint8, uint16 or floating in [0, 1], (C, H, W) or (H, W). C = 1, 3 for RGB,
                or any other number up to 16 of bands. Floating tensors are rounded to whole 255ths, as
                ``TensorPolicy`` does; uint16 and floating arrays are not, see ``backends/opencv/deep.py``.
                Where none is marked by its type, as PIL's and tv_tensors' are, it is the first of the others.

        Raises:
            UserError: it is none of these, or there is something that would have to move with the image and
                can't; the message names it.
        """
        drawn = self._draw()
        if len(sample) == 1 and (type(sample[0]) in _IMAGES or not isinstance(sample[0], _HOLD_IMAGES)):
            return self._augment_image(sample[0], drawn)
        changed = augment_sample(sample, drawn, self._augment_image, self._runner)
        return changed[0] if len(sample) == 1 else changed

    def _draw(self) -> DrawnImage:
        """What happens to the next image."""
        ahead = self._ahead
        if not ahead or not self._stream.is_followed:
            return self._draw_ahead()
        try:
            return ahead.pop()
        except IndexError:  # another thread has taken the last one
            return self._draw_ahead()

    def _draw_ahead(self) -> DrawnImage:
        """The same, where more may have to be drawn first."""
        with self._stream.turn() as is_another:
            if not is_another:
                with suppress(IndexError):  # there is none, or no more
                    return self._ahead.pop()
            ahead = list(self.policy.draw(DRAWN_AHEAD, self._stream.rng).images())[::-1]
            drawn = ahead.pop()
            self._ahead = ahead
            return drawn

    def _runner(self, shape: tuple[int, ...]) -> Runner:
        return runner_for(self.policy.ranges, shape, self._sampling)

    def _augment_image(self, image: Any, drawn: DrawnImage) -> Any:
        if isinstance(image, np.ndarray):
            return self._augment(image, drawn)
        if isinstance(image, PILImage.Image):
            if is_deep(image.mode):
                return of_mode(self._augment(values_of(image), drawn), image.mode)
            if image.mode not in ("RGB", "L"):
                raise UserError(
                    f"a PIL image must be of mode RGB, L, I;16, I or F, got {image.mode}; convert it first: "
                    'image.convert("RGB")'
                )
            return image_of(self._augment(array_of(image), drawn))
        if is_tensor(image):
            refuse_other_tv_tensors(image)
            return self._augment_tensor(image, drawn)
        raise UserError(f"an image must be a NumPy array, a PIL image or a torch tensor, got {shown(image)}")

    def __repr__(self) -> str:
        return f"{self.policy!r}.transform(seed={self._stream.seed})"

    def _augment(self, image: NDArray[Any], drawn: DrawnImage) -> NDArray[Any]:
        if image.dtype is _UINT8 and image.ndim == 3 and image.shape[2] in COLOURS and image.size:
            return self._augment_levels(drawn, image)
        grey, has_depth = image.ndim == 2, deep.is_deep(image.dtype)
        fits = grey or (image.ndim == 3 and are_channels(image.shape[2]))
        if not fits or not (has_depth or image.dtype == np.uint8):
            raise UserError(
                "an image must be uint8, uint16 or floating, (H, W) or (H, W, C) with C 1 to 16, "
                f"got {shown(image)}"
            )
        if image.size == 0:
            return image.copy()
        if grey:
            image = image[:, :, np.newaxis]
        if has_depth:
            result = deep.augment_image(drawn, image, self.policy.ranges, self._sampling)
        else:
            result = by_band(partial(self._augment_levels, drawn), image)
        return result[:, :, 0] if grey else result

    def _augment_tensor(self, image: Any, drawn: DrawnImage) -> Any:
        if image.device.type != "cpu":
            raise UserError(
                f"this transform works on the CPU, the image is on {image.device}; for batches on a device "
                "there is augsearch.policies.tensor.TensorPolicy"
            )
        if image.ndim not in (2, 3) or (image.ndim == 3 and not are_channels(image.shape[0])):
            raise UserError(
                f"an image tensor must be (C, H, W) with C 1 to 16, or (H, W), got {shown(image)}"
            )
        torch = sys.modules["torch"]
        floating = image.dtype.is_floating_point
        if not floating and image.dtype not in (torch.uint8, torch.uint16):
            raise UserError(f"an image tensor must be uint8, uint16 or floating, got {shown(image)}")
        plain = image.detach()
        if floating and image.numel() and not (plain.min() >= 0 and plain.max() <= 1):
            raise UserError(
                "a floating image tensor must lie in [0, 1], got "
                f"{float(plain.min()):.3g} to {float(plain.max()):.3g}; augment before normalising"
            )
        levels = (plain * 255).round().to(torch.uint8) if floating else plain
        colour = image.ndim == 3 and image.shape[0] > 1 and image.numel()
        array = levels.numpy()
        if colour:  # OpenCV puts channels together and takes them apart ten times as fast as a copy does
            augmented = np.stack(cv2.split(self._augment(cv2.merge(list(array)), drawn)))
        else:
            augmented = self._augment(array.reshape(*array.shape[-2:]), drawn).reshape(array.shape)
        augmented = torch.from_numpy(augmented)
        result = augmented.to(image.dtype) / 255 if floating else augmented
        return result.as_subclass(type(image))


class BatchTransform:
    """Augments a batch per call, each image by a draw of its own; made by ``Policy.batch_transform``.

    It pickles, with the state of its random stream.
    """

    def __init__(self, policy: PolicyLike, seed: int) -> None:
        self.policy = policy
        self._stream = RandomStream(seed)

    def __call__(self, images: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """A new batch, (B, H, W, C) as the one given; C = 1, 3 for RGB, or up to 16 bands.

        It is uint8, uint16 of which 65,535 is white, or floating in [0, 1]. ``out``, of the same shape and
        dtype, is filled with it and returned: a loop that has a buffer for its batches spares the system
        fetching memory for each.

        Raises:
            UserError: it is no such batch.
        """
        if is_tensor(images):
            raise UserError(
                "batch_transform takes a NumPy array (B, H, W, C); for tensors (B, C, H, W) there is "
                "augsearch.policies.tensor.TensorPolicy"
            )
        with self._stream.turn():
            if out is None:
                return self.policy.augment(images, self._stream.rng)
            policy: Any = self.policy  # ``Policy``, or one of somebody's own that takes a buffer too
            return policy.augment(images, self._stream.rng, out)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"{self.policy!r}.batch_transform(seed={self._stream.seed})"
