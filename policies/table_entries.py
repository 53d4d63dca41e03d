"""PIL's ``blend``, ``autocontrast`` and ``equalize`` as tables: what each of the 256 grey values becomes.

They are written against the array API standard, over any leading axes: NumPy arrays and tensors on any device
go through the same lines. Beside them is what they do to images (H, W, C) of more than 8 bits, in NumPy
alone: to grey levels that are floats in 0 to 255.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray


def blend_entries(grey: Any, factor: float) -> Any:
    """PIL's ``Image.blend`` of constant greys (...,) and each grey value, float32 and truncated as there."""
    xp = array_namespace(grey)
    values = xp.arange(256, dtype=xp.float32, device=device(grey))
    greys = xp.astype(grey, xp.float32)[..., None]
    # The factor as float32 before it meets anything, as in PIL.
    blended = greys + float(np.float32(factor)) * (values - greys)
    return xp.astype(_clipped(xp, blended), xp.uint8)


def auto_contrast_entries(extremes: Any) -> Any:
    """PIL's ``ImageOps.autocontrast`` from the lowest and highest grey values (..., 2)."""
    xp = array_namespace(extremes)
    low, high = extremes[..., :1], extremes[..., 1:]
    values = xp.arange(256, dtype=xp.float64, device=device(extremes))
    span = xp.astype(xp.maximum(high - low, xp.ones_like(low)), xp.float64)
    scale = xp.full_like(span, 255.0) / span  # of 255.0 / span, torch makes a product that rounds twice
    stretched = _clipped(xp, values * scale + -xp.astype(low, xp.float64) * scale)
    return xp.astype(xp.where(high > low, stretched, values), xp.uint8)


def equalize_entries(histogram: Any) -> Any:
    """PIL's ``ImageOps.equalize`` from histograms (..., 256)."""
    xp = array_namespace(histogram)
    return xp.astype(_spread(xp, histogram), xp.uint8)


def blend(grey: NDArray[Any], levels: NDArray[Any], factor: float) -> NDArray[Any]:
    """``blend_entries`` of one grey."""
    blended: NDArray[Any] = grey + factor * (levels - grey)
    return blended


def stretch(extremes: NDArray[Any], levels: NDArray[Any]) -> NDArray[Any]:
    """``auto_contrast_entries`` from the lowest and highest level of each channel, (C, 2)."""
    low, high = extremes.T
    span = np.where(high > low, high - low, 255)
    return (levels - np.where(high > low, low, 0)) * (255 / span)


def equalized(histogram: NDArray[Any], levels: NDArray[Any]) -> NDArray[Any]:
    """``equalize_entries``, not rounded and with straight lines between, from how often the rounded levels
    of each channel occur, (C, 256)."""
    return between(_spread(array_namespace(histogram), histogram), levels)


def between(entries: NDArray[Any], levels: NDArray[Any]) -> NDArray[Any]:
    """Straight lines between the entries (C, 256) of each channel."""
    knots = np.arange(256)
    changed = [np.interp(levels[..., one], knots, own) for one, own in enumerate(entries)]
    return np.stack(changed, axis=-1).astype(levels.dtype)


def _spread(xp: Any, histogram: Any) -> Any:
    """What ``equalize_entries`` truncates."""
    values = xp.arange(256, dtype=xp.int64, device=device(histogram))
    counted = xp.cumulative_sum(histogram, axis=-1)
    without_last = xp.max(xp.where(counted < counted[..., -1:], counted, 0), axis=-1, keepdims=True)
    # Zero for a single grey value, and where there are fewer pixels than grey values: left as they are.
    step = without_last // 255
    # Whole numbers below 2**53: the division rounds down correctly, and is faster than that of integers.
    before = xp.astype(counted - histogram + step // 2, xp.float64)
    spread = before / xp.astype(xp.where(step > 0, step, 1), xp.float64)
    spread = xp.where(spread < 255, spread, 255.0)
    return xp.where(step > 0, spread, values)


def _clipped(xp: Any, values: Any) -> Any:
    """Clip to 0–255; the library's own ``clip`` first makes sure of much that is known here."""
    return xp.where(values < 0, 0.0, xp.where(values > 255, 255.0, values))
