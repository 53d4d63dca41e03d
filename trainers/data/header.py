"""What an image is as it lies on disk: its size, its channels and their depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from PIL import Image, ImageFile

_WORDS = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with transparency",
    "La": "grey with transparency",
    "P": "palette",
    "PA": "palette with transparency",
    "RGBA": "RGB with transparency",
    "RGBa": "RGB with transparency",
    "I": "32-bit grey",
    "F": "float grey",
}
_CHANNELS = {2: "grey", 3: "RGB", 4: "RGB with transparency"}


@dataclass(frozen=True, slots=True)
class Header:
    """An image as it lies on disk."""

    width: int
    """This and the height are in pixels, before it is turned upright."""
    height: int
    mode: str
    """Channels and depth in words: ``RGB``, ``16-bit grey``, ``palette``."""
    missing: float = 0.0
    """The share of its values that were not measured, 0 to 1."""


def header_of(image: Image.Image) -> Header:
    """Of an image that Pillow opened, and did not load yet."""
    mode = _WORDS.get(image.mode, image.mode)
    if image.mode.startswith("I;16"):
        mode = "16-bit grey"
    elif is_deep_colour(image):
        mode = f"16-bit {mode}"
    elif "transparency" in image.info and "transparency" not in mode:
        mode = f"{mode} with transparency"
    return Header(image.width, image.height, mode)


def header_of_array(values: NDArray[Any]) -> Header:
    """Of pixels, (H, W) or (H, W, C)."""
    channels = _CHANNELS.get(values.ndim if values.shape[-1] == 3 or values.ndim == 2 else values.shape[-1])
    if values.ndim == 3 and values.shape[-1] == 1:
        channels = "grey"
    depth = {"u1": "", "u2": "16-bit ", "b1": "one-bit "}.get(values.dtype.str[1:], f"{values.dtype} ")
    return Header(values.shape[1], values.shape[0], f"{depth}{channels or f'{values.shape[-1]} channels'}")


def is_deep_colour(image: Image.Image) -> bool:
    """Whether it is coloured and has 16 bits, of which Pillow keeps 8."""
    if image.mode not in {"RGB", "RGBA"} or not isinstance(image, ImageFile.ImageFile):
        return False
    raw = image.tile[0].args if image.tile else None
    mode = raw[0] if isinstance(raw, tuple) and raw else raw
    return isinstance(mode, str) and ";16" in mode
