"""From pixel values of any type to 8 bits: which become black and white, and what is shown for none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.data.bands import with_alpha
from augsearch.trainers.data.form import AS_USUAL, Reading
from augsearch.trainers.data.image_files import BadImageError
from augsearch.trainers.data.no_data import instead, missing_in

MOST_OF_16_BITS = 65535


def to_uint8(values: NDArray[Any], reading: Reading = AS_USUAL) -> NDArray[np.uint8]:
    """Scale pixel values to 0..255: uint8 as it is, uint16 and bool from their whole range, floats from 0..1.

    Other whole numbers are taken as 16 bits, but not where they may be 8. ``reading.value_range`` is what
    becomes 0 and 255 instead, of all types but uint8 and bool; where nothing was measured, the background is
    shown.

    Raises:
        BadImageError: a float is infinite or not in 0..1, a whole number not in 0..65535, there are ranges
            for another number of bands, nothing was measured, or the type is another one.
    """
    missing = missing_in(values)
    plain: NDArray[Any] = np.ma.getdata(values)
    if missing is None:
        return _scaled(plain, reading)
    if missing.all():
        raise BadImageError(
            "nothing was measured in it: all pixels are NaN, or what the file says means no data"
        )
    channels = values.shape[2] if values.ndim == 3 else 1
    shown = np.array(instead(channels, reading), np.uint8)
    # Zero is a value of every type, and in no way of the others.
    scaled = _scaled(np.where(missing, plain.dtype.type(0), plain), reading)
    return np.where(missing, shown if values.ndim == 3 else shown[0], scaled).astype(np.uint8)


def _scaled(values: NDArray[Any], reading: Reading) -> NDArray[np.uint8]:
    """As ``to_uint8``, of values that were all measured."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadImageError("floating-point pixels must be numbers, found inf: correct it, or make it NaN")
    if reading.value_range is not None and values.dtype.kind in "uif":
        return _in_range(values, reading)
    if values.dtype.kind in "ui":
        if values.dtype != np.uint16 and (values.min() < 0 or values.max() > MOST_OF_16_BITS):
            raise BadImageError(
                f"{8 * values.dtype.itemsize}-bit pixels must be in 0..65535; say with --value-range "
                "LOW,HIGH what is black and white"
            )
        if values.dtype != np.uint16 and values.max() <= 255:
            raise BadImageError(
                f"pixels must be uint8 where they are at most 255, not {values.dtype}: as 16 bits they would "
                "be black; make them uint8, or say with --value-range LOW,HIGH what is black and white"
            )
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if values.dtype.kind == "f":
        wrong = (values < 0) | (values > 1)
        if wrong.any():
            raise BadImageError(
                f"floating-point pixels must be in 0..1, found {float(values[wrong][0]):g}; say with "
                "--value-range LOW,HIGH what is black and white"
            )
        return np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    raise BadImageError(f"pixels must be whole numbers, bool or floating point, not {values.dtype}")


def _in_range(values: NDArray[Any], reading: Reading) -> NDArray[np.uint8]:
    ends = np.array(reading.value_range, np.float64)
    if ends.ndim == 2:
        channels = values.shape[2] if values.ndim == 3 else 1
        if with_alpha(values, reading) and len(ends) == 3:
            opacity = _scaled(values[..., 3:], reading.model_copy(update={"value_range": None}))
            return np.concatenate([_in_range(values[..., :3], reading), opacity], axis=-1)
        if channels != len(ends):
            bands = "1 channel" if channels == 1 else f"{channels} channels"
            raise BadImageError(
                f"has {bands} instead of {len(ends)}, for which there are ranges; --value-range takes a pair "
                "for each band that is used, or one for all"
            )
    low, high = ends[..., 0], ends[..., 1]
    shares = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.rint(shares * 255).astype(np.uint8)
