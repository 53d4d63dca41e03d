"""Images of other than three channels: multi-band TIFFs, arrays in ``.npy`` files, and which bands are used.

Pictures of one, three or four channels are Pillow's, see ``decode.py``, unless bands are asked for.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile, ImageOps

from augsearch.policies.bands import MOST_BANDS
from augsearch.policies.errors import first_line
from augsearch.trainers.data.form import Reading
from augsearch.trainers.data.image_files import BadImageError, check_pixels, is_numpy, read_image, start_of
from augsearch.trainers.data.no_data import TAG, masked

MOST_PAGES = 4096
"""Pages of a TIFF, each a band where it has several."""
READINGS = 3
"""How often a file is read before Python's own confusion is taken for the file's fault."""
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def read_bands(file: Path | bytes, reading: Reading) -> NDArray[Any] | None:
    """The values of an image of bands, (H, W, C) or (H, W), those that are asked for; None: it is a picture.

    With a mask where the file says that nothing was measured.

    Raises:
        BadImageError: it can't be read, has more than 16 bands, or lacks one that is asked for.
    """
    start = start_of(file)
    if is_numpy(start):
        values = _array(file)
    elif start[:4] in _TIFF and (reading.bands is not None or _has_bands(file)):
        values = _tiff(file, reading)
    elif reading.bands is not None:
        values = read_image(file, _values, reading)
    else:
        return None
    check_pixels(values.shape[1], values.shape[0], reading)
    return chosen(values, reading)


def size_in_bands(file: Path | bytes, reading: Reading) -> tuple[int, int] | None:
    """Width and height of an image of bands, whose pixels are left where they are; None: it is a picture.

    Raises:
        BadImageError: it can't be read.
    """
    start = start_of(file)
    if is_numpy(start):
        height, width = _array(file, mapped=True).shape[:2]
    elif start[:4] in _TIFF and (reading.bands is not None or _has_bands(file)):
        with _opened(file) as tiff:
            width, height = _sides(tiff)
    else:
        return None
    check_pixels(width, height, reading)
    return width, height


def chosen(values: NDArray[Any], reading: Reading) -> NDArray[Any]:
    """The bands of ``values``, (H, W) or (H, W, C), that ``reading`` asks for.

    Raises:
        BadImageError: one of them isn't there, or there are more than 16.
    """
    count = values.shape[2] if values.ndim == 3 else 1
    if reading.bands is None or reading.bands == "all":
        if count > MOST_BANDS:
            raise BadImageError(
                f"{count} bands, and at most {MOST_BANDS} are taken; choose with --bands 4,3,2"
            )
        return values
    missing = [band for band in reading.bands if band > count]
    if missing:
        raise BadImageError(f"has no band {missing[0]}, only {count}; correct --bands")
    return values.reshape(*values.shape[:2], count)[:, :, [band - 1 for band in reading.bands]]


def with_alpha(values: NDArray[Any], reading: Reading) -> bool:
    """Whether the fourth of four channels says how opaque pixels are, and is no band."""
    return values.ndim == 3 and values.shape[-1] == 4 and reading.bands is None


def are_bands_first(shape: tuple[int, ...]) -> bool:
    """Whether an image of this shape, three numbers, is rather (C, H, W) than (H, W, C)."""
    first, second, third = shape
    return first <= MOST_BANDS and (third > MOST_BANDS or first < second == third)


def _values(image: ImageFile.ImageFile) -> NDArray[Any]:
    upright = ImageOps.exif_transpose(image)
    return np.asarray(
        upright.convert("RGBA" if "transparency" in image.info else "RGB") if image.mode == "P" else upright
    )


def _array(file: Path | bytes, *, mapped: bool = False) -> NDArray[Any]:
    opened = io.BytesIO(file) if isinstance(file, bytes) else file
    mode: Literal["r"] | None = "r" if mapped and isinstance(file, Path) else None
    try:
        values = _loaded(opened, mode)
    except Exception as error:  # a broken header is read as Python's text, which may raise anything
        raise BadImageError(f"no array that NumPy can read ({first_line(error)})") from error
    if values.ndim not in (2, 3) or not values.size:
        raise BadImageError(f"an array must be (H, W) or (H, W, C), got {values.shape}")
    if values.ndim == 3 and are_bands_first(values.shape):
        raise BadImageError(f"an array must have its bands last, (H, W, C), got {values.shape}")
    return values


def _loaded(opened: Path | io.BytesIO, mode: Literal["r"] | None) -> NDArray[Any]:
    """What ``np.load`` reads, which parses a header as Python's text.

    Python 3.11 may lose count of how deep such a text is when several threads parse some (CPython's issue
    106905), whatever the file: then it is read again.
    """
    for left in reversed(range(READINGS)):
        try:
            values: NDArray[Any] = np.load(opened, mode, allow_pickle=False)
            break
        except SystemError:
            if not left:
                raise
            if isinstance(opened, io.BytesIO):
                opened.seek(0)
    return values


def _has_bands(file: Path | bytes) -> bool:
    """Whether a TIFF is none of grey, RGB or RGBA of whole numbers, which Pillow reads."""
    # Of a broken one Pillow says what is wrong.
    with suppress(BadImageError), _opened(file) as tiff:
        page = tiff.pages[0]
        return page.samplesperpixel not in (1, 3, 4) or (page.samplesperpixel > 1 and page.dtype.kind == "f")
    return False


def _check_end(tiff: Any) -> None:
    """Pages of a broken file may follow one another in a circle, round which tifffile goes without end."""
    with suppress(IndexError):
        tiff.pages[MOST_PAGES]
        raise BadImageError(f"a TIFF of more than {MOST_PAGES:,} pages, or whose pages lead to one another")


def _sides(tiff: Any) -> tuple[int, int]:
    """Width and height in pixels, as the file says."""
    sides = tiff.pages[0].imagewidth, tiff.pages[0].imagelength
    if not all(isinstance(side, int) for side in sides):
        raise BadImageError("a TIFF whose width or height is no whole number")
    return sides


def _tiff(file: Path | bytes, reading: Reading) -> NDArray[Any]:
    """(H, W, C) of its first series: its samples, or as many pages of one size."""
    with _opened(file) as tiff:
        # Before they are read: a header of a few bytes can ask for any memory.
        check_pixels(*_sides(tiff), reading)
        _check_end(tiff)
        series = tiff.series[0]
        check_pixels(math.prod(series.shape) // MOST_BANDS, 1, reading)
        values, axes = np.asarray(series.asarray()), series.axes
        said = tiff.pages[0].tags.get(TAG)
    depth = [place for place, axis in enumerate(axes) if axis not in "YX"]
    if values.ndim not in (2, 3) or len(depth) != values.ndim - 2:
        raise BadImageError(
            f"a TIFF of {values.ndim} dimensions ({axes}); save it as height, width and bands"
        )
    values = np.moveaxis(values, depth[0], -1) if depth else values
    return values if said is None else masked(values, said.value)


@contextmanager
def _opened(file: Path | bytes) -> Iterator[Any]:
    """A TIFF; whatever tifffile raises, of broken ones anything, becomes a reason."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(file) if isinstance(file, bytes) else file) as tiff:
            yield tiff
    except (BadImageError, MemoryError):
        raise
    except Exception as error:
        raise BadImageError(" ".join(str(error).split()) or type(error).__name__) from error
