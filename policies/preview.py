"""Picture sheets: what a policy does to real images, with the operations' names under each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from augsearch.policies.describe import shown_magnitude
from augsearch.policies.effects import Size
from augsearch.policies.planner import DrawnOperation
from augsearch.policies.policy import Policy
from augsearch.policies.registry import OPERATIONS, Operation

SHOWN_MAGNITUDES = (6, 12, 18, 24, 30)

_CELL = 128
"""Pixels that each picture gets at least; small images are enlarged by whole factors, to show pixels."""
_SMALL_CELL = 96
_MARGIN = 12
_LINE = 15
_LINES = 4
_INK, _FAINT, _PAPER = (28, 28, 30), (110, 110, 118), (255, 255, 255)
_BEYOND = (128, 128, 128)
"""Shows where pixels come from outside the image: neither paper nor ink."""

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def sheet(
    policy: Policy,
    images: Sequence[NDArray[np.uint8]],
    *,
    labels: Sequence[str] | None = None,
    columns: int = 6,
    seed: int = 0,
    title: str = "",
) -> Image.Image:
    """A picture: one row for each image (H, W, C), the original first, then ``columns`` augmentations.

    Mixing is not shown here: it is no change to one image.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for index, image in enumerate(images):
        size = Size(*image.shape[:2])
        cells = [(image, [labels[index] if labels else "original"])]
        draws = policy.draw(columns, rng)
        for operations in map(draws.operations, range(columns)):
            names = [policy.describe(drawn, size) for drawn in operations]
            cells.append((policy.apply(operations, image), names or ["unchanged"]))
        rows.append(cells)
    return _draw(rows, title)


def operations_sheet(image: NDArray[np.uint8], *, seed: int = 0) -> Image.Image:
    """A picture: every operation on ``image`` (H, W, C) at five magnitudes, its value under each.

    Those without a magnitude follow at the end. Where an operation is random beyond its sign, each cell
    has a draw of its own.
    """
    rng = np.random.default_rng(seed)

    def cell(operation: Operation, magnitude: int) -> NDArray[np.uint8]:
        noise = tuple(rng.random(operation.noise).tolist())
        # Bilinear, to show the operation rather than the sampling.
        show = Policy(interpolation="bilinear", fill=_BEYOND)
        return show.apply((DrawnOperation(operation.name, magnitude, False, noise),), image)

    blocks: list[_Block] = []
    plain = [(image, ["original"])]
    for operation in OPERATIONS.values():
        name = operation.name.replace("_", " ")
        if operation.standard is None and operation.name != "identity":
            plain.append((cell(operation, 0), [name]))
        elif operation.standard:
            cells = [
                (cell(operation, magnitude), [f"{magnitude}: {shown_magnitude(operation, magnitude)}"])
                for magnitude in SHOWN_MAGNITUDES
            ]
            blocks.append(_Block(f"{name}  ({operation.kind})", cells))
    columns = len(SHOWN_MAGNITUDES)
    for begin in range(0, len(plain), columns):
        title = "" if begin else "no magnitude"
        blocks.append(_Block(title, plain[begin : begin + columns]))
    return _draw_blocks(blocks, "Every operation at magnitudes 6 to 30 of 30, and what they mean")


class _Block(NamedTuple):
    """A row of pictures with a title of its own, and lines of words under each picture."""

    title: str
    cells: list[tuple[NDArray[np.uint8], list[str]]]


def _draw_blocks(blocks: list[_Block], title: str) -> Image.Image:
    """Two blocks beside each other, as many rows as it takes."""
    gap, title_height = 6, 20
    width = max(len(block.cells) for block in blocks) * (_SMALL_CELL + gap) + 2 * _MARGIN
    height = title_height + _SMALL_CELL + _LINE + _MARGIN
    head = _MARGIN * 2 + 20
    rows = -(-len(blocks) // 2)
    picture = Image.new("RGB", (2 * width, head + rows * height), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((_MARGIN, _MARGIN), title, fill=_INK, font=_font(16))
    for number, block in enumerate(blocks):
        column, row = divmod(number, rows)
        left, top = column * width + _MARGIN, head + row * height
        pen.text((left, top), block.title, fill=_INK, font=_font(14))
        for place, (image, lines) in enumerate(block.cells):
            at = left + place * (_SMALL_CELL + gap), top + title_height
            _put(picture, image, lines, at, _SMALL_CELL, 11, _FAINT)
    return picture


def _draw(rows: list[list[tuple[NDArray[np.uint8], list[str]]]], title: str) -> Image.Image:
    cell_height = _CELL + _LINES * _LINE + _MARGIN
    head = _MARGIN * 2 + 20 if title else _MARGIN
    width = _MARGIN + len(rows[0]) * (_CELL + _MARGIN)
    picture = Image.new("RGB", (width, head + len(rows) * cell_height + _MARGIN), _PAPER)
    if title:
        ImageDraw.Draw(picture).text((_MARGIN, _MARGIN), title, fill=_INK, font=_font(16, title))
    for row, cells in enumerate(rows):
        for column, (image, names) in enumerate(cells):
            more = len(names) - _LINES
            lines = names if more <= 0 else [*names[: _LINES - 1], f"+ {more + 1} more"]
            at = _MARGIN + column * (_CELL + _MARGIN), head + row * cell_height
            _put(picture, image, lines, at, _CELL, 12, _FAINT if column else _INK)
    return picture


def _put(
    picture: Image.Image,
    image: NDArray[np.uint8],
    lines: list[str],
    at: tuple[int, int],
    cell: int,
    size: int,
    ink: tuple[int, int, int],
) -> None:
    """One image with words of ``size`` under it."""
    left, top = at
    picture.paste(_shown(image, cell), at)
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        font = _font(size, line)
        pen.text((left, top + cell + 3 + number * _LINE), _fit(line, font, cell), fill=ink, font=font)


def _shown(image: NDArray[np.uint8], cell: int) -> Image.Image:
    """The image at the cell's size: enlarged by a whole factor where small, shrunk where large."""
    picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0]).convert("RGB")
    longest = max(picture.size)
    if longest > cell:
        picture.thumbnail((cell, cell), Image.Resampling.LANCZOS)
        return picture
    factor = cell // longest
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


@lru_cache
def _font(size: int, text: str = "") -> _Font:
    """Pillow's own, or for what it has no letters for, such as an α or a class named café, Matplotlib's."""
    package = None if text.translate({ord("…"): None, ord("°"): None}).isascii() else find_spec("matplotlib")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


def _fit(text: str, font: _Font, width: int) -> str:
    """``text``, shortened until it is no wider than ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
