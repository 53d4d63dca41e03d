"""Image files of any format: which there are, and opening one with a reason where that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from augsearch.trainers.data.form import AS_USUAL, Reading
from augsearch.trainers.system.threads import Result

for _library in ("PIL", "tifffile"):
    # They log each thing that they stumble over in a broken file, and raise what counts.
    logging.getLogger(_library).setLevel(logging.CRITICAL)

MOST_PIXELS = 89_478_485
"""That an image may have unless more are asked for: as Pillow has it."""

MOST_AT_ONCE = 2**24
"""Bytes of a file that are read at once; of a larger one Pillow reads what it needs."""

FORMATS = (
    "JPEG",
    "MPO",
    "PNG",
    "BMP",
    "DIB",
    "GIF",
    "WEBP",
    "TIFF",
    "PPM",
    "JPEG2000",
    "AVIF",
    "TGA",
    "QOI",
    "HEIF",
)
"""Formats that are tried, whatever the suffix. Some others run programs (EPS) or need a vector renderer."""

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".tga", ".qoi"),
        *(".heic", ".heif", ".npy"),
    }
)
"""What makes a file an image. HEIC needs augsearch[heif], and leaving phone photos out unsaid is worse."""


class BadImageError(Exception):
    """An image that cannot be read; the message is the reason."""


@cache
def _formats() -> tuple[str, ...]:
    """The formats that this build of Pillow has, those of pillow-heif too where it is installed."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif  # type: ignore[import-not-found,unused-ignore]

        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def read_image(
    file: Path | bytes, read: Callable[[ImageFile.ImageFile], Result], reading: Reading = AS_USUAL
) -> Result:
    """Open an image file and ``read`` it, turning whatever Pillow raises into a reason.

    Raises:
        BadImageError: it can't be opened or read.
    """
    try:
        with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=_formats()) as image:
            check_pixels(*image.size, reading)
            return read(image)
    except (BadImageError, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadImageError("so many pixels that it is taken for a decompression bomb") from error
    except UnidentifiedImageError as error:
        raise BadImageError(_unidentified(file)) from error
    # Decoders of broken files raise OSError, SyntaxError, ValueError, struct.error, EOFError and more.
    except Exception as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if any(words in reason for words in _TOO_MUCH_TEXT):
            content = file if isinstance(file, bytes) else file.read_bytes()
            shorter = without_text(content)
            if len(shorter) < len(content):
                return read_image(shorter, read, reading)
        raise BadImageError(" ".join(reason.split()) or type(error).__name__) from error


_TOO_MUCH_TEXT = ("Decompressed data too large", "Too much memory used in text chunks")
"""What Pillow says of a PNG with long texts beside the picture."""


def without_text(png: bytes) -> bytes:
    """A PNG file without the texts and the colour profile that it has beside the picture."""
    kept, place = [png[:8]], 8
    while place + 8 <= len(png):
        length = int.from_bytes(png[place : place + 4])
        if png[place + 4 : place + 8] not in {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}:
            kept.append(png[place : place + 12 + length])
        place += 12 + length
    return b"".join(kept)


def check_pixels(width: int, height: int, reading: Reading) -> None:
    """Check that an image has pixels, and not too many.

    Raises:
        BadImageError: it has none, or too many.
    """
    most, pixels = reading.max_pixels or MOST_PIXELS, width * height
    if pixels < 1:
        raise BadImageError("has no pixels")
    if pixels > most:
        raise BadImageError(
            f"{pixels:,} pixels, and more than {most:,} may be an attack (a decompression bomb); "
            f"--max-pixels {pixels} takes it"
        )


def _unidentified(file: Path | bytes) -> str:
    """Why Pillow does not know a file."""
    try:
        start = start_of(file)
    except BadImageError as error:
        return str(error)
    if not start:
        return "the file is empty"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        return "HEIC pictures need one more package: pip install 'augsearch[heif]'"
    return "cut off, or not an image that Pillow can read"


_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"}


def start_of(file: Path | bytes) -> bytes:
    """The first 16 bytes.

    Raises:
        BadImageError: it can't be opened.
    """
    if isinstance(file, bytes):
        return file[:16]
    try:
        with file.open("rb") as opened:
            return opened.read(16)
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from error


def content_of(file: Path | bytes) -> Path | bytes:
    """The bytes of a file, which is opened more than once otherwise; or itself, where they are many.

    Raises:
        BadImageError: it can't be read.
    """
    if isinstance(file, bytes):
        return file
    try:
        return file if file.stat().st_size > MOST_AT_ONCE else file.read_bytes()
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from error


def is_numpy(start: bytes) -> bool:
    """Whether a file that begins like this is an array of NumPy, ``.npy``."""
    return start.startswith(b"\x93NUMPY")


def is_image_content(start: bytes) -> bool:
    """Whether a file that begins with these 16 bytes is an image of a common format."""
    boxes = start[4:8] == b"ftyp" and start[8:12] in {*_HEIF_BRANDS, b"avif", b"avis"}
    riff = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return boxes or riff or is_numpy(start) or start.startswith(_BEGINNINGS)


_BEGINNINGS = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*"),
    *(b"\x00\x00\x00\x0cjP  ", b"qoif"),
)
"""What files of common formats begin with."""
