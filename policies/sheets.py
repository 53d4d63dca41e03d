"""Picture sheets of a policy, and the picture that shows it where no images are at hand."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from augsearch.policies.bands import seen
from augsearch.policies.effects import Size
from augsearch.policies.pictures import image_of
from augsearch.policies.planner import Draws, Happened

CELL = 128
"""Pixels that each picture gets at least; small images are enlarged by whole factors, to show pixels."""
MARGIN = 12
LINE = 15
LINES = 4
INK, FAINT, PAPER = (28, 28, 30), (110, 110, 118), (255, 255, 255)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Shown(Protocol):
    """What a sheet asks of a policy."""

    def draw(self, count: int, rng: np.random.Generator) -> Draws:
        """Draw what happens to each of ``count`` images."""

    def apply(self, operations: Iterable[Happened], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``image``, uint8 (H, W, C), after ``operations`` in turn."""

    def describe(self, drawn: Happened, size: Size) -> str:
        """An operation and its value for an image of ``size``."""


def sheet(
    policy: Shown,
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
    return drawn_rows(rows, title)


def sheet_in_html(policy: Shown, words: str) -> str:
    """A sheet of ``policy`` on a picture of its own, as an ``<img>`` that holds it; ``words`` tell it."""
    buffer = io.BytesIO()
    sheet(policy, [picture_to_show()] * 2).save(buffer, "JPEG", quality=80, optimize=True)
    said = escape(words, quote=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<div><code>{said}</code></div><img alt='{said}' src='data:image/jpeg;base64,{data}'>"


@lru_cache
def picture_to_show() -> NDArray[np.uint8]:
    """A picture, uint8 (128, 128, 3), on which operations can be seen: colours, edges, an up, a left."""
    side = CELL
    picture = np.empty((side, side, 3), dtype=np.uint8)
    picture[:] = np.linspace((90, 150, 230), (215, 230, 250), side)[:, None]
    cv2.circle(picture, (98, 28), 14, (250, 205, 70), -1, cv2.LINE_AA)
    cv2.rectangle(picture, (0, 96), (side, side), (96, 150, 70), -1)
    cv2.rectangle(picture, (22, 56), (78, 104), (196, 92, 70), -1)
    cv2.fillPoly(picture, [np.array([(14, 58), (50, 26), (86, 58)], np.int32)], (110, 60, 56), cv2.LINE_AA)
    cv2.rectangle(picture, (32, 74), (46, 104), (70, 46, 40), -1)
    cv2.rectangle(picture, (56, 68), (70, 82), (240, 236, 200), -1)
    cv2.rectangle(picture, (108, 74), (113, 104), (92, 66, 48), -1)
    cv2.circle(picture, (110, 68), 13, (44, 104, 58), -1, cv2.LINE_AA)
    return picture


def drawn_rows(rows: list[list[tuple[NDArray[np.uint8], list[str]]]], title: str) -> Image.Image:
    """Rows of pictures, with words under each."""
    cell_height = CELL + LINES * LINE + MARGIN
    head = MARGIN * 2 + 20 if title else MARGIN
    width = MARGIN + len(rows[0]) * (CELL + MARGIN)
    picture = Image.new("RGB", (width, head + len(rows) * cell_height + MARGIN), PAPER)
    if title:
        ImageDraw.Draw(picture).text((MARGIN, MARGIN), title, fill=INK, font=font_for(16, title))
    for row, cells in enumerate(rows):
        for column, (image, names) in enumerate(cells):
            more = len(names) - LINES
            lines = names if more <= 0 else [*names[: LINES - 1], f"+ {more + 1} more"]
            at = MARGIN + column * (CELL + MARGIN), head + row * cell_height
            put(picture, image, lines, at, CELL, 12, FAINT if column else INK)
    return picture


def put(
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
    picture.paste(at_cell_size(image, cell), at)
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        font = font_for(size, line)
        pen.text((left, top + cell + 3 + number * LINE), fitted(line, font, cell), fill=ink, font=font)


def at_cell_size(image: NDArray[np.uint8], cell: int) -> Image.Image:
    """The image at the cell's size: enlarged by a whole factor where small, shrunk where large."""
    image = seen(image)
    picture = image_of(image).convert("RGB")
    longest = max(picture.size)
    if longest > cell:
        picture.thumbnail((cell, cell), Image.Resampling.LANCZOS)
        return picture
    factor = cell // longest
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


@lru_cache
def font_for(size: int, text: str = "") -> Font:
    """Pillow's own, or for what it has no letters for, such as an α or a class named café, Matplotlib's."""
    package = None if text.translate({ord("…"): None, ord("°"): None}).isascii() else find_spec("matplotlib")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


def fitted(text: str, font: Font, width: int) -> str:
    """``text``, shortened until it is no wider than ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
