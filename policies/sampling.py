"""How warps sample an image: between pixels, and outside the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Interpolation = Literal["nearest", "bilinear"]
Border = Literal["fill", "reflect"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How warps and patches meet pixels that do not exist."""

    interpolation: Interpolation = "nearest"
    border: Border = "fill"
    fill: tuple[int, int, int] = (0, 0, 0)
    """RGB; grey images take the first."""
    fuse_warps: bool = True
    """Warps in a row are one sampling; else each is its own, and what leaves the image is lost."""
