"""Where nothing was measured: NaN, and the value that a TIFF itself says to mean that (``GDAL_NODATA``).

Such pixels travel as the mask of a NumPy array, or as NaN, until values become 8 bits: see ``levels.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augsearch.trainers.data.form import Reading

TAG = 42113
"""Of TIFFs: the number, as text, that stands where nothing was measured."""

_TOLD_BY_VALUE = {"L", "RGB", "I", "F"}
"""Modes of Pillow whose pixels say it; where there is opacity, or a palette, that says what is there."""


def masked(values: NDArray[Any], written: object, *, together: bool = False) -> NDArray[Any]:
    """``values`` with a mask where nothing was measured; as they are where they have no such pixel.

    Args:
        values: (H, W) or (H, W, C).
        written: what the file's tag says: a number as text.
        together: of colours, that all channels have that number, lest a dark red is taken for a gap.
    """
    number = _number(str(written), values.dtype)
    if number is None:
        return values
    gaps = np.asarray(values == number)
    if together and values.ndim == 3:
        gaps = np.broadcast_to(gaps.all(axis=-1, keepdims=True), values.shape)
    return np.ma.masked_array(values, gaps.copy()) if gaps.any() else values


def with_gaps(image: Image.Image, pixels: Image.Image | NDArray[Any]) -> Image.Image | NDArray[Any]:
    """``pixels`` of a picture that Pillow loaded, (H, W[, 3]) with a mask where nothing was measured.

    As they are where all was.
    """
    written = getattr(image, "tag_v2", {}).get(TAG)
    deep = image.mode.startswith("I;16")
    if not (image.mode in _TOLD_BY_VALUE or deep) or (written is None and image.mode != "F"):
        return pixels
    values = np.asarray(pixels)
    found = values if written is None else masked(values, written, together=True)
    return found if missing_in(found) is not None else pixels


def missing_in(values: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where nothing was measured, in the shape of ``values``; None: nowhere."""
    missing: NDArray[np.bool_] = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else _NOWHERE
    if values.dtype.kind == "f":
        missing = missing | np.isnan(np.ma.getdata(values))
    return missing if missing.any() else None


def share_missing(values: Image.Image | NDArray[Any]) -> float:
    """The share of an image's values that were not measured, 0 to 1."""
    missing = None if isinstance(values, Image.Image) else missing_in(values)
    return 0.0 if missing is None else float(missing.mean())


def instead(channels: int, reading: Reading) -> tuple[int, ...]:
    """What is shown where nothing was measured, 0 to 255 a channel: the background, of bands its grey."""
    red, green, blue = reading.background
    if channels == 3 or (channels == 4 and reading.bands is None):
        return (red, green, blue, 255)[:channels]
    return (grey_of(reading),) * channels


def grey_of(reading: Reading) -> int:
    """The background as grey (ITU-R 601), 0 to 255."""
    red, green, blue = reading.background
    return round(0.299 * red + 0.587 * green + 0.114 * blue)


class Gaps:
    """In how many images of a data set something was not measured, and how much of one at most."""

    def __init__(self) -> None:
        self.images = 0
        self.most = 0.0

    def add(self, share: float) -> None:
        """Count an image of which that share was not measured."""
        self.images += share > 0
        self.most = max(self.most, share)

    def in_words(self, reading: Reading) -> tuple[str, ...]:
        """One line; none where everything was measured."""
        if not self.images:
            return ()
        images = "1 image" if self.images == 1 else f"{self.images:,} images"
        percent = f"{100 * self.most:.2g}" if self.most < 0.1 else f"{100 * self.most:.0f}"
        return (
            f"no data (NaN, or the value that a file says to mean it) in {images}, up to {percent} % of an "
            f"image: shown {colour_in_words(reading)}; --background takes another colour",
        )


def colour_in_words(reading: Reading) -> str:
    """``white``, ``black`` or ``#rrggbb``: the background."""
    red, green, blue = reading.background
    named = {(255, 255, 255): "white", (0, 0, 0): "black"}
    return named.get((red, green, blue), f"#{red:02x}{green:02x}{blue:02x}")


_NOWHERE = np.zeros((), np.bool_)


def _number(written: str, dtype: np.dtype[Any]) -> Any:
    """The number of a tag as a value of ``dtype``; None: it is none, or no pixel can have it."""
    try:
        number = float(written.strip("\0 \t\r\n"))
    except ValueError:
        return None
    if np.isnan(number):
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.float64(number).astype(dtype)
    if dtype.kind not in "ui" or not number.is_integer():
        return None
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    return dtype.type(int(number)) if least <= number <= most else None
