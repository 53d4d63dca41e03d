"""Picture sheets: what a policy does to real images, with the operations' names under each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from augsearch.policies.kinds import Size
from augsearch.policies.policy import Policy

_CELL = 128
"""Pixels that each picture gets at least; small images are enlarged by whole factors, to show pixels."""
_MARGIN = 12
_LINE = 15
_LINES = 4
_INK, _FAINT, _PAPER = (28, 28, 30), (110, 110, 118), (255, 255, 255)


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
        for recipe in map(draws.recipe, range(columns)):
            names = [policy.describe(drawn, size) for drawn in recipe]
            cells.append((policy.apply(recipe, image), names or ["unchanged"]))
        rows.append(cells)
    return _draw(rows, title)


def _draw(rows: list[list[tuple[NDArray[np.uint8], list[str]]]], title: str) -> Image.Image:
    font, heading = ImageFont.load_default(12), ImageFont.load_default(16)
    cell_height = _CELL + _LINES * _LINE + _MARGIN
    head = _MARGIN * 2 + 20 if title else _MARGIN
    width = _MARGIN + len(rows[0]) * (_CELL + _MARGIN)
    picture = Image.new("RGB", (width, head + len(rows) * cell_height + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(picture)
    if title:
        pen.text((_MARGIN, _MARGIN), title, fill=_INK, font=heading)
    for row, cells in enumerate(rows):
        for column, (image, names) in enumerate(cells):
            left, top = _MARGIN + column * (_CELL + _MARGIN), head + row * cell_height
            shown = _shown(image)
            picture.paste(shown, (left, top))
            lines = (
                names if len(names) <= _LINES else [*names[: _LINES - 1], f"+ {len(names) - _LINES + 1} more"]
            )
            for line, name in enumerate(lines):
                fitted = _fit(name, font)
                pen.text(
                    (left, top + _CELL + 3 + line * _LINE), fitted, fill=_FAINT if column else _INK, font=font
                )
    return picture


def _shown(image: NDArray[np.uint8]) -> Image.Image:
    """The image at the cell's size: enlarged by a whole factor where small, shrunk where large."""
    picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0]).convert("RGB")
    longest = max(picture.size)
    if longest > _CELL:
        picture.thumbnail((_CELL, _CELL), Image.Resampling.LANCZOS)
        return picture
    factor = _CELL // longest
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """``text``, shortened until it is no wider than a cell."""
    if font.getlength(text) <= _CELL:
        return text
    while font.getlength(text + "…") > _CELL:
        text = text[:-1]
    return text + "…"
