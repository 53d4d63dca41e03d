"""From a picture in any format to a square of 8-bit pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from augsearch.policies.bands import COLOURS, by_band, may_become
from augsearch.policies.pictures import image_of
from augsearch.trainers.data.bands import chosen, read_bands, size_in_bands, with_alpha
from augsearch.trainers.data.form import AS_USUAL, Reading
from augsearch.trainers.data.header import Header, header_of, header_of_array, is_deep_colour
from augsearch.trainers.data.image_files import BadImageError as BadImageError
from augsearch.trainers.data.image_files import content_of, read_image
from augsearch.trainers.data.levels import to_uint8
from augsearch.trainers.data.no_data import grey_of, share_missing, with_gaps

Pixels = NDArray[np.uint8]
"""An image, (S, S, 1) or (S, S, 3); of bands (S, S, C), see ``bands.py``."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""

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


def decode_file(file: Path | bytes, size: int, reading: Reading = AS_USUAL) -> Pixels:
    """Decode an image file, turned upright, its shorter side scaled to ``size``, the centre kept.

    Args:
        file: where it is, or its bytes.
        size: side of the result in pixels.
        reading: what lies behind transparent pixels, what becomes black and white, and what else is kept than
            the centre.

    Returns:
        uint8, (size, size, 1) if all its pixels are grey, else (size, size, 3), RGB; of bands
        (size, size, C).

    Raises:
        BadImageError: it is missing, truncated, too large or in no format that Pillow reads.
    """
    return decode_whole(file, size, reading)[0]


def decode_whole(file: Path | bytes, size: int, reading: Reading = AS_USUAL) -> tuple[Pixels, Header]:
    """Do as ``decode_file``, and tell what the image is as it lies on disk.

    Raises:
        BadImageError: as ``decode_file``.
    """
    file = content_of(file)
    values = read_bands(file, reading)
    if values is not None:
        return fit_whole(values, size, reading)

    def decode(image: ImageFile.ImageFile) -> tuple[Pixels, Header]:
        header = header_of(image)
        width, height = image.size
        box = {
            "crop": centre(width, height),
            "pad": (0, 0, max(width, height), max(width, height)),
            "squash": (0, 0, width, height),
        }[reading.fit]
        left, top, right, bottom = box
        # Twice what is needed keeps it sharp.
        across, down = 2 * size * width / (right - left), 2 * size * height / (bottom - top)
        pixels, stands_for = _loaded(image, file, (round(across), round(down)), reading)
        x, y = stands_for[0] / width, stands_for[1] / height
        box = (left * x, top * y, right * x, bottom * y)
        square = fit(pixels, size, orientation=_orientation(image), box=box, reading=reading)
        missing = share_missing(pixels)
        return square, replace(header, missing=missing) if missing else header

    return read_image(file, decode, reading)


def _loaded(
    image: ImageFile.ImageFile, file: Path | bytes, wanted: tuple[int, int], reading: Reading
) -> tuple[Image.Image | NDArray[Any], tuple[float, float]]:
    """The pixels of ``image``; a JPEG decoded at 1/2, 1/4 or 1/8 of its size, where ``wanted`` is no more.

    Returns:
        The pixels, an array where there are more than 8 bits of colours or something was not measured, and
        how many of them the whole image is, across and down: a reduced JPEG's size is rounded up, so its last
        column and row may stand for less than a whole one.
    """
    size = image.size
    drafted = image.draft(None, wanted)
    # Before the EXIF is read, for which Pillow loads a PNG.
    deep = deep_colour(image, file) if reading.value_range is not None else None
    image.load()
    return with_gaps(image, image if deep is None else deep), (drafted[1][2:] if drafted else size)


def decode_shrunk(file: Path, least: int, reading: Reading = AS_USUAL) -> Pixels:
    """Decode an image file, turned upright and whole, scaled down so that its shorter side is ``least``.

    A smaller one stays as it is. Where images are padded or squashed it is the square, of at most that side.

    Returns:
        uint8, (H, W, 1) if all its pixels are grey, else (H, W, 3), RGB; of bands (H, W, C).

    Raises:
        BadImageError: as ``decode_file``.
    """
    content = content_of(file)
    values = read_bands(content, reading)
    if values is not None:
        return _shrunk_values(values, least, reading)

    def decode(image: ImageFile.ImageFile) -> Pixels:
        size = _scaled_size(*image.size, least, reading)
        loaded, (width, height) = _loaded(image, content, (2 * size[0], 2 * size[1]), reading)
        pixels, orientation = _eight_bit(loaded, reading), _orientation(image)
        if pixels.size != size:
            box = (0, 0, width, height)
            pixels = pixels.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
        if reading.fit == "pad":
            pixels = _padded(pixels, reading)
        if orientation in _UPRIGHT:
            pixels = pixels.transpose(_UPRIGHT[orientation])
        return _grey_if_grey(np.asarray(pixels))

    return read_image(content, decode, reading)


def shrunk_size(width: int, height: int, least: int, reading: Reading = AS_USUAL) -> tuple[int, int]:
    """Width and height of what ``decode_shrunk`` makes of an image, before it is turned upright."""
    scaled = _scaled_size(width, height, least, reading)
    return (max(scaled),) * 2 if reading.fit == "pad" else scaled


def _scaled_size(width: int, height: int, least: int, reading: Reading) -> tuple[int, int]:
    if reading.fit == "squash":
        return (min(max(width, height), least),) * 2
    side = max(width, height) if reading.fit == "pad" else min(width, height)
    if side <= least:
        return width, height
    return max(1, round(width * least / side)), max(1, round(height * least / side))


def shorter_side(file: Path | bytes, reading: Reading = AS_USUAL) -> int:
    """Read the side in pixels of an image's square from its header: the shorter one, the longer if padded.

    Raises:
        BadImageError: as ``decode_file``.
    """
    size = size_of(file, reading)
    return max(size) if reading.fit == "pad" else min(size)


def size_of(file: Path | bytes, reading: Reading = AS_USUAL) -> tuple[int, int]:
    """Read width and height in pixels from an image file's header, before it is turned upright.

    Raises:
        BadImageError: as ``decode_file``.
    """
    return size_in_bands(file, reading) or read_image(file, lambda image: image.size, reading)


def centre(width: int, height: int) -> Box:
    """The largest square in the middle."""
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def fit(
    image: Image.Image | NDArray[Any],
    size: int,
    *,
    orientation: int = 1,
    box: Box | None = None,
    reading: Reading = AS_USUAL,
) -> Pixels:
    """Make a square of an image with one antialiased resize: its shorter side scaled, the centre kept.

    Args:
        image: of any mode; or an array, (H, W) or (H, W, 3 or 4), of more than 8 bits.
        size: side of the result in pixels.
        orientation: EXIF orientation, 1 to 8.
        box: the part to scale instead of the centre; of the square where the image is padded.
        reading: what else may become of it.

    Returns:
        uint8, (size, size, 1) if all its pixels are grey, else (size, size, 3), RGB.

    Raises:
        BadImageError: its floating-point or 32-bit values have no known range.
    """
    image = _eight_bit(image, reading)
    if reading.fit == "pad":
        image = _padded(image, reading)
        box = box and (box[0], box[1], min(box[2], image.width), min(box[3], image.height))
    whole = (0.0, 0.0, float(image.width), float(image.height))
    chosen = box or (whole if reading.fit == "squash" else centre(*image.size))
    square = image.resize((size, size), Image.Resampling.BICUBIC, box=chosen, reducing_gap=3.0)
    # Turning the small square gives what turning the large image first would, for less.
    if orientation in _UPRIGHT:
        square = square.transpose(_UPRIGHT[orientation])
    return _grey_if_grey(np.asarray(square))


def fit_array(values: NDArray[Any], size: int, reading: Reading = AS_USUAL) -> Pixels:
    """Do as ``fit`` for an array, (H, W) or (H, W, C), of a type that ``to_uint8`` takes.

    Raises:
        BadImageError: its values have no known range, or it lacks a band that is asked for.
    """
    return fit_pixels(_opaque(chosen(values, reading), reading), size, reading)


def fit_whole(values: NDArray[Any], size: int, reading: Reading) -> tuple[Pixels, Header]:
    """Do as ``fit_array`` with the bands that were chosen, and tell what the image is."""
    header = replace(header_of_array(values), missing=share_missing(values))
    return fit_pixels(_opaque(values, reading), size, reading), header


def fit_pixels(pixels: Pixels, size: int, reading: Reading = AS_USUAL, box: Box | None = None) -> Pixels:
    """Do as ``fit`` for pixels, (H, W) or (H, W, C), with bands one by one."""

    pixels = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    reading = _of_bands(pixels, reading)

    def fitted(image: Pixels) -> Pixels:
        if image.shape[:2] == (size, size) and box is None:
            return _grey_if_grey(image)
        return fit(image_of(image), size, box=box, reading=reading)

    return by_band(fitted, pixels)


def _of_bands(pixels: Pixels, reading: Reading) -> Reading:
    """``reading`` with a background that a band can have, grey, where ``pixels`` are of bands."""
    if pixels.shape[-1] in COLOURS:
        return reading
    return reading.model_copy(update={"background": (grey_of(reading),) * 3})


def _opaque(values: NDArray[Any], reading: Reading) -> Pixels:
    """8-bit pixels, (H, W, C), of which none is transparent."""
    pixels = to_uint8(values, reading)
    if with_alpha(pixels, reading):
        return np.asarray(on_background(Image.fromarray(np.ascontiguousarray(pixels)), reading))
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def _shrunk_values(values: NDArray[Any], least: int, reading: Reading) -> Pixels:
    """Do as ``decode_shrunk`` for an array, with bands one by one."""

    pixels = _opaque(values, reading)
    reading = _of_bands(pixels, reading)

    def shrunk(band: Pixels) -> Pixels:
        image = image_of(band)
        size = _scaled_size(*image.size, least, reading)
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        return _grey_if_grey(np.asarray(_padded(image, reading) if reading.fit == "pad" else image))

    return by_band(shrunk, pixels)


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """(S, S, 1 or 3) with ``channels``, 1 or 3: grey in all three of them, or colours as grey (ITU-R 601).

    Raises:
        BadImageError: it has another number of bands than ``channels``.
    """
    own = pixels.shape[-1]
    if not may_become(own, channels):
        raise BadImageError(f"has {own} channels instead of {channels}")
    if channels == 1 and pixels.shape[-1] == 3:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., np.newaxis]
    return np.broadcast_to(pixels, (*pixels.shape[:2], channels))


@contextmanager
def pillow_without_warnings() -> Iterator[None]:
    """Silence Pillow's warnings, and leave the size of images to ``Reading.max_pixels``.

    To be entered once round a whole pool of threads, because warning filters belong to the process.
    """
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _eight_bit(image: Image.Image | NDArray[Any], reading: Reading) -> Image.Image:
    """Convert to mode L or RGB."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(to_uint8(image, reading))
    if is_deep(image):
        # Pillow's own convert("L") would clip these at 255.
        return Image.fromarray(to_uint8(np.asarray(image), reading))
    if has_alpha(image):
        return on_background(image, reading)
    return image.convert("L" if image.mode in {"1", "L"} else "RGB")


def is_deep(image: Image.Image) -> bool:
    """Whether an image has one channel of more than 8 bits."""
    return image.mode.startswith("I;16") or image.mode in {"I", "F"}


def has_alpha(image: Image.Image) -> bool:
    """Whether pixels of an image may be transparent."""
    return image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info


def on_background(image: Image.Image, reading: Reading) -> Image.Image:
    """RGB: what an image with transparent pixels looks like on a background."""
    if image.mode in {"RGBa", "La"}:
        image = image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode])
    coloured = image.convert("RGBA")
    behind = Image.new("RGBA", image.size, (*reading.background, 255))
    return Image.alpha_composite(behind, coloured).convert("RGB")


def _padded(image: Image.Image, reading: Reading) -> Image.Image:
    """A square with the image in its middle."""
    red, green, blue = reading.background
    if not red == green == blue:
        image = image.convert("RGB")
    side = max(image.size)
    square = Image.new(image.mode, (side, side), red if image.mode == "L" else reading.background)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def deep_colour(image: ImageFile.ImageFile, file: Path | bytes) -> NDArray[np.uint16] | None:
    """(H, W, 3 or 4): the pixels of a coloured image of 16 bits, of which Pillow keeps 8; else None."""
    if not is_deep_colour(image):
        return None
    content = np.frombuffer(file if isinstance(file, bytes) else file.read_bytes(), np.uint8)
    found = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3 or found.dtype != np.uint16:
        return None
    order = cv2.COLOR_BGRA2RGBA if found.shape[-1] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(found, order))


def _grey_if_grey(pixels: Pixels) -> Pixels:
    """Drop two of three channels that are equal everywhere; (H, W) becomes (H, W, 1)."""
    if pixels.ndim == 2:
        return pixels[..., np.newaxis]
    if pixels.shape[-1] == 1:
        return pixels
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    grey = np.array_equal(red, green) and np.array_equal(red, blue)
    return pixels[..., :1] if grey else pixels


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or the EXIF block is broken."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # A broken EXIF block raises anything, and the picture is none the worse for it.
        return 1
