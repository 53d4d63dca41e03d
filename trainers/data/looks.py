"""What images have that decides how all of a data set are read: their values, and transparent pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from augsearch.trainers.data.bands import read_bands, with_alpha
from augsearch.trainers.data.decode import deep_colour, has_alpha, is_deep
from augsearch.trainers.data.form import AS_USUAL, Reading
from augsearch.trainers.data.image_files import read_image


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of an image that decides how its data set is read."""

    values: tuple[float, float] | None
    """The least and the largest, where pixels have more than 8 bits."""
    transparent: bool
    """Whether a pixel is transparent."""
    floating: bool = False
    """Whether values are no whole numbers, so usually in 0..1."""


def look_at(file: Path | bytes, reading: Reading = AS_USUAL) -> Look:
    """Look at an image file, whose pixels are read only where that matters.

    Raises:
        BadImageError: as ``decode_file``.
    """
    values = read_bands(file, reading)
    if values is not None:
        return look_at_array(values, reading)

    def look(image: ImageFile.ImageFile) -> Look:
        if is_deep(image):
            return look_at_array(np.asarray(image))
        coloured = deep_colour(image, file)
        if coloured is not None:
            return look_at_array(coloured)
        if not has_alpha(image):
            return Look(None, False)
        return look_at_array(np.asarray(image.convert("RGBa" if image.mode == "RGBa" else "RGBA")))

    return read_image(file, look)


def look_at_array(values: NDArray[Any], reading: Reading = AS_USUAL) -> Look:
    """Look at pixels, (H, W) or (H, W, C), whose bands were chosen."""
    has_opacity = with_alpha(values, reading)
    opaque = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
    transparent = bool(has_opacity and (values[..., 3] < opaque).any())
    colours = values[..., :3] if has_opacity else values
    if values.dtype.kind == "f":
        colours = colours[np.isfinite(colours)]
    if values.dtype.kind not in "uif" or values.dtype == np.uint8 or not colours.size:
        return Look(None, transparent)
    return Look((float(colours.min()), float(colours.max())), transparent, values.dtype.kind == "f")
