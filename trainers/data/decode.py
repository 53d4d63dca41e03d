"""From a picture in any format to a square of 8-bit pixels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from augsearch.trainers.system.threads import Result

Pixels = NDArray[np.uint8]
"""An image, (S, S, 1) or (S, S, 3)."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""
FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "QOI")
"""Formats that are tried, whatever the suffix. Some others run programs (EPS) or need a vector renderer."""

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".tga", ".qoi"),
        *(".heic", ".heif"),
    }
)
"""What makes a file an image. Pillow does not read HEIC, but leaving phone photos out unsaid is worse."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what makes the image upright."""


class BadImageError(Exception):
    """An image that cannot be read; the message is the reason."""


def decode_file(file: Path | bytes, size: int) -> Pixels:
    """Decode an image file, turned upright, its shorter side scaled to ``size``, the centre kept.

    Args:
        file: where it is, or its bytes.
        size: side of the result in pixels.

    Returns:
        uint8, (size, size, 1) if all its pixels are grey, else (size, size, 3), RGB.

    Raises:
        BadImageError: it is missing, truncated, too large or in no format that Pillow reads.
    """

    def decode(image: ImageFile.ImageFile) -> Pixels:
        width, height = image.size
        left, top, right, bottom = centre(width, height)
        # Lets a JPEG decode at 1/2, 1/4 or 1/8 of its size; twice what is needed keeps it sharp.
        across, down = 2 * size * width / (right - left), 2 * size * height / (bottom - top)
        drafted = image.draft(None, (round(across), round(down)))
        image.load()
        # A reduced JPEG's size is rounded up: its last column and row may stand for less than a whole one.
        x, y = (drafted[1][2] / width, drafted[1][3] / height) if drafted else (1.0, 1.0)
        return fit(
            image, size, orientation=_orientation(image), box=(left * x, top * y, right * x, bottom * y)
        )

    return _read(file, decode)


def decode_shrunk(file: Path, least: int) -> Pixels:
    """Decode an image file, turned upright and whole, scaled down so that its shorter side is ``least``.

    A smaller one stays as it is.

    Returns:
        uint8, (H, W, 1) if all its pixels are grey, else (H, W, 3), RGB.

    Raises:
        BadImageError: as ``decode_file``.
    """

    def decode(image: ImageFile.ImageFile) -> Pixels:
        size = shrunk_size(*image.size, least)
        # As in ``decode_file``: a JPEG is decoded at twice what is needed.
        drafted = image.draft(None, (2 * size[0], 2 * size[1])) if size != image.size else None
        width, height = image.size if drafted is None else drafted[1][2:]
        image.load()
        pixels, orientation = _eight_bit(image), _orientation(image)
        if pixels.size != size:
            box = (0, 0, width, height)
            pixels = pixels.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
        if orientation in _UPRIGHT:
            pixels = pixels.transpose(_UPRIGHT[orientation])
        return _grey_if_grey(np.asarray(pixels))

    return _read(file, decode)


def shrunk_size(width: int, height: int, least: int) -> tuple[int, int]:
    """Width and height when the shorter of both is ``least``, if it is more."""
    short = min(width, height)
    if short <= least:
        return width, height
    return max(1, round(width * least / short)), max(1, round(height * least / short))


def shorter_side(path: Path) -> int:
    """Read the shorter side in pixels from an image file's header.

    Raises:
        BadImageError: as ``decode_file``.
    """
    return min(size_of(path))


def size_of(path: Path) -> tuple[int, int]:
    """Read width and height in pixels from an image file's header, before it is turned upright.

    Raises:
        BadImageError: as ``decode_file``.
    """
    return _read(path, lambda image: image.size)


def centre(width: int, height: int) -> Box:
    """The largest square in the middle."""
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def fit(image: Image.Image, size: int, *, orientation: int = 1, box: Box | None = None) -> Pixels:
    """Scale an image's shorter side to ``size`` with one antialiased resize, and keep the centre.

    Args:
        image: of any mode; transparency is dropped, as by ``convert("RGB")``.
        size: side of the result in pixels.
        orientation: EXIF orientation, 1 to 8.
        box: the part to scale instead of the centre.

    Returns:
        uint8, (size, size, 1) if all its pixels are grey, else (size, size, 3), RGB.

    Raises:
        BadImageError: its floating-point or 32-bit values have no known range.
    """
    image = _eight_bit(image)
    chosen = box or centre(*image.size)
    square = image.resize((size, size), Image.Resampling.BICUBIC, box=chosen, reducing_gap=3.0)
    # Turning the small square gives what turning the large image first would, for less.
    if orientation in _UPRIGHT:
        square = square.transpose(_UPRIGHT[orientation])
    return _grey_if_grey(np.asarray(square))


def fit_array(values: NDArray[Any], size: int, box: Box | None = None) -> Pixels:
    """Do as ``fit`` for an array, (H, W) or (H, W, 1, 3 or 4), of a type that ``to_uint8`` takes."""
    pixels = to_uint8(values)
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3]
    if pixels.shape[:2] == (size, size) and box is None:
        return _grey_if_grey(pixels)
    return fit(Image.fromarray(np.ascontiguousarray(pixels)), size, box=box)


def to_uint8(values: NDArray[Any]) -> Pixels:
    """Scale pixel values to 0..255: uint8 as it is, uint16 and bool from their whole range, floats from 0..1.

    Raises:
        BadImageError: a float is NaN or not in 0..1, or the type is another one.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if values.dtype.kind == "f":
        wrong = ~((values >= 0) & (values <= 1))
        if wrong.any():
            raise BadImageError(f"floating-point pixels must be in 0..1, found {float(values[wrong][0]):g}")
        return np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    raise BadImageError(f"pixels must be uint8, uint16, bool or floating point, not {values.dtype}")


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """(S, S, 1 or 3) with ``channels``, 1 or 3: grey in all three of them, or colours as grey (ITU-R 601)."""
    if channels == 1 and pixels.shape[-1] == 3:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., np.newaxis]
    return np.broadcast_to(pixels, (*pixels.shape[:2], channels))


@contextmanager
def pillow_without_warnings() -> Iterator[None]:
    """Turn Pillow's warning of a decompression bomb into an error, and silence its others.

    To be entered once round a whole pool of threads, because warning filters belong to the process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _eight_bit(image: Image.Image) -> Image.Image:
    """Convert to mode L or RGB."""
    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        # Pillow's own convert("L") would clip these at 255.
        values = np.asarray(image)
        if image.mode == "I":
            if values.min() < 0 or values.max() > 65535:
                raise BadImageError("32-bit pixels must be in 0..65535")
            values = values.astype(np.uint16)
        return Image.fromarray(to_uint8(values))
    if image.mode in {"RGBa", "La"}:
        image = image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode])
    return image.convert("L" if image.mode in {"1", "L", "LA"} else "RGB")


def _grey_if_grey(pixels: Pixels) -> Pixels:
    """Drop two of three channels that are equal everywhere; (H, W) becomes (H, W, 1)."""
    if pixels.ndim == 2:
        return pixels[..., np.newaxis]
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    grey = np.array_equal(red, green) and np.array_equal(red, blue)
    return pixels[..., :1] if grey else pixels


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or the EXIF block is broken."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # A broken EXIF block raises anything, and the picture is none the worse for it.
        return 1


@cache
def _formats() -> tuple[str, ...]:
    """The formats that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _read(file: Path | bytes, read: Callable[[ImageFile.ImageFile], Result]) -> Result:
    """Open an image file and ``read`` it, turning whatever Pillow raises into a reason."""
    try:
        with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=_formats()) as image:
            return read(image)
    except (BadImageError, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadImageError("so many pixels that it is taken for a decompression bomb") from error
    except UnidentifiedImageError as error:
        empty = not (file if isinstance(file, bytes) else file.stat().st_size)
        raise BadImageError(
            "the file is empty" if empty else "cut off, or not an image that Pillow can read"
        ) from error
    # Decoders of broken files raise OSError, SyntaxError, ValueError, struct.error, EOFError and more.
    except Exception as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise BadImageError(" ".join(reason.split()) or type(error).__name__) from error
