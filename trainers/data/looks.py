"""What images have that decides how all of a data set are read: their values, and transparent pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from augsearch.policies.bands import COLOURS
from augsearch.trainers.data.bands import read_bands, with_alpha
from augsearch.trainers.data.decode import deep_colour, has_alpha, is_deep
from augsearch.trainers.data.form import AS_USUAL, Range, Reading
from augsearch.trainers.data.image_files import read_image
from augsearch.trainers.data.no_data import missing_in, with_gaps

NOTHING: Range = (np.inf, -np.inf)
"""The range of a channel in which nothing was measured: less than any other."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of an image that decides how its data set is read."""

    ranges: tuple[Range, ...]
    """The least and the largest value of each channel; empty where pixels have 8 bits."""
    transparent: bool
    """Whether a pixel is transparent."""
    floating: bool = False
    """Whether values are no whole numbers, so usually in 0..1."""
    of_bands: bool = False
    """Whether channels are bands, and no colours."""


def look_at(file: Path | bytes, reading: Reading = AS_USUAL) -> Look:
    """Look at an image file, whose pixels are read only where that matters.

    Raises:
        BadImageError: as ``decode_file``.
    """
    values = read_bands(file, reading)
    if values is not None:
        return look_at_array(values, reading)

    def look(image: ImageFile.ImageFile) -> Look:
        deep = image if is_deep(image) else deep_colour(image, file)
        if deep is not None:
            image.load()
            return look_at_array(np.asanyarray(with_gaps(image, deep)))
        if not has_alpha(image):
            return Look((), False)
        return look_at_array(np.asarray(image.convert("RGBa" if image.mode == "RGBa" else "RGBA")))

    return read_image(file, look, reading)


def look_at_array(values: NDArray[Any], reading: Reading = AS_USUAL) -> Look:
    """Look at pixels, (H, W) or (H, W, C), whose bands were chosen."""
    has_opacity = with_alpha(values, reading)
    opaque = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
    transparent = bool(has_opacity and (values[..., 3] < opaque).any())
    if values.dtype.kind not in "uif" or values.dtype == np.uint8:
        return Look((), transparent)
    missing, plain = missing_in(values), np.ma.getdata(values)
    channels = values.shape[2] if values.ndim == 3 else 1
    ranges = []
    for band in range(3 if has_opacity else channels):
        place = np.s_[..., band] if values.ndim == 3 else np.s_[...]
        ranges.append(_range(plain[place] if missing is None else plain[place][~missing[place]]))
    of_bands = channels > 1 and not has_opacity and (channels not in COLOURS or reading.bands is not None)
    return Look(tuple(ranges), transparent, values.dtype.kind == "f", of_bands)


def _range(values: NDArray[Any]) -> Range:
    """The least and the largest of the finite ones; of an infinite one is told where it is read."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else NOTHING
