"""Picture sheets: what a policy does to real images, with the operations' names under each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from augsearch.policies.describe import shown_magnitude
from augsearch.policies.planner import DrawnOperation
from augsearch.policies.policy import Policy
from augsearch.policies.registry import OPERATIONS, Operation
from augsearch.policies.sheets import FAINT, INK, LINE, MARGIN, PAPER, font_for, put, sheet

__all__ = ["operations_sheet", "sheet"]

SHOWN_MAGNITUDES = (6, 12, 18, 24, 30)

SMALL_CELL = 96
_BEYOND = (128, 128, 128)
"""Shows where pixels come from outside the image: neither paper nor ink."""


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
    width = max(len(block.cells) for block in blocks) * (SMALL_CELL + gap) + 2 * MARGIN
    height = title_height + SMALL_CELL + LINE + MARGIN
    head = MARGIN * 2 + 20
    rows = -(-len(blocks) // 2)
    picture = Image.new("RGB", (2 * width, head + rows * height), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN), title, fill=INK, font=font_for(16))
    for number, block in enumerate(blocks):
        column, row = divmod(number, rows)
        left, top = column * width + MARGIN, head + row * height
        pen.text((left, top), block.title, fill=INK, font=font_for(14))
        for place, (image, lines) in enumerate(block.cells):
            at = left + place * (SMALL_CELL + gap), top + title_height
            put(picture, image, lines, at, SMALL_CELL, 11, FAINT)
    return picture
