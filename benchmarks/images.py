"""The images that every contestant gets, each in the form that its library takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

COUNT = 256
"""Images: enough that a policy shows most of its draws, and at 224 px more than a processor's cache holds."""

Array = NDArray[np.uint8]
"""(H, W, 3), RGB."""


def smooth_images(side: int, count: int = COUNT) -> list[Array]:
    """Random smooth images with a little noise.

    They leave the darkest and brightest grey values out, or stretching the contrast would have nothing to do.
    """
    rng = np.random.default_rng(0)
    images = []
    for _ in range(count):
        coarse = rng.integers(60, 196, (8, 8, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(int)
        images.append(np.clip(image + rng.integers(-12, 12, image.shape), 0, 255).astype(np.uint8))
    return images


def photos(folder: Path, side: int, count: int = COUNT) -> list[Array]:
    """The middle squares of ``count`` photos below ``folder``, spread evenly over its files.

    Raises:
        ValueError: there is no photo.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not files:
        raise ValueError(f"no .jpg or .png below {folder.name}")
    chosen = [files[index * len(files) // count] for index in range(count)]
    return [_middle_square(file, side) for file in chosen]


def _middle_square(file: Path, side: int) -> Array:
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    box = (left, top, left + short, top + short)
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, box=box))


@dataclass(frozen=True)
class Images:
    """The same square images in every library's form, made once and never changed."""

    arrays: list[Array]

    @property
    def side(self) -> int:
        """Height and width in pixels."""
        return int(self.arrays[0].shape[0])

    @cached_property
    def pictures(self) -> list[Image.Image]:
        """Pillow's."""
        return [Image.fromarray(array) for array in self.arrays]

    @cached_property
    def tensors(self) -> list[torch.Tensor]:
        """torch's uint8 (3, H, W)."""
        return [torch.from_numpy(array).permute(2, 0, 1).contiguous() for array in self.arrays]

    def batches(self, size: int) -> list[Array]:
        """Arrays (B, H, W, 3), all of ``size`` images, or one of all images where there are fewer."""
        stacked = np.stack(self.arrays)
        size = min(size, len(stacked))
        return [stacked[start : start + size] for start in range(0, len(stacked) - size + 1, size)]

    def tensor_batches(self, size: int) -> list[torch.Tensor]:
        """``batches`` as torch's uint8 (B, 3, H, W)."""
        return [torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous() for batch in self.batches(size)]

    def float_batches(self, size: int) -> list[torch.Tensor]:
        """``batches`` as torch's float32 (B, 3, H, W) from 0 to 1, the form that kornia works on."""
        return [batch.float() / 255 for batch in self.tensor_batches(size)]


def as_arrays(output: Any) -> list[Array]:
    """What any contestant gave back, an image or a batch, as uint8 arrays (H, W, 3)."""
    if isinstance(output, Image.Image):
        return [np.asarray(output)]
    if isinstance(output, torch.Tensor):
        if output.is_floating_point():
            output = (output * 255).round().clamp(0, 255).to(torch.uint8)
        batch = output if output.ndim == 4 else output[None]
        return list(batch.permute(0, 2, 3, 1).numpy())
    if isinstance(output, list):
        return output
    return list(output) if output.ndim == 4 else [output]
