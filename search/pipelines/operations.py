"""Every operation as a table, as JSON and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich import box
from rich.table import Table

from augsearch.policies import OPERATION_SETS, OPERATIONS, UserError
from augsearch.policies.describe import shown_range
from augsearch.policies.preview import operations_sheet
from augsearch.policies.registry import Range
from augsearch.search.console import Display
from augsearch.search.pipelines.preview import save_picture
from augsearch.trainers.data.decode import (
    BadImageError,
    decode_file,
    fit,
    pillow_without_warnings,
    shorter_side,
)

SIDE = 192
"""Pixels to which a larger image is shrunk before operations are shown on it: twice a cell of the sheet."""


def print_operations(display: Display) -> None:
    """Print all operations as a table that fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("operation", "kind", "magnitude 0 to 30", "wide ranges", "sets"):
        table.add_column(column, no_wrap=True)
    for operation in OPERATIONS.values():
        standard, wide = shown_range(operation, "standard"), shown_range(operation, "wide")
        sets = " ".join(name[0] for name in operation.sets)
        table.add_row(operation.name, operation.kind, standard, "" if wide == standard else wide, sets)
    display.table(table)
    display.result(
        "±: negated half of the time.\n"
        f"Sets, by first letter: {', '.join(OPERATION_SETS)}.\n"
        "b: basic, a transform with a probability of its own in every policy.\n"
        "Wide ranges are TrivialAugment's. What each does: --json, or --sheet FILE.png."
    )


def operations_as_plain() -> list[dict[str, Any]]:
    """All operations as plain values."""
    return [
        {
            "name": operation.name,
            "kind": operation.kind,
            "standard": _ends(operation.standard),
            "wide": _ends(operation.wide),
            "unit": operation.unit or None,
            "signed": operation.signed,
            "sets": operation.sets,
            "summary": operation.summary,
        }
        for operation in OPERATIONS.values()
    ]


def _ends(chosen: Range | None) -> dict[str, Any] | None:
    """What magnitudes 0 and 30 stand for."""
    if chosen is None:
        return None
    times = f"the image's {chosen.side}" if chosen.side else None
    return {"magnitude 0": chosen.weakest, "magnitude 30": chosen.strongest, "times": times}


def draw_operations(output: Path | None, image: Path | None) -> str:
    """Write a sheet of all operations on ``image``, or on a sample photo; returns a line that says where.

    The image is decoded as for a search: upright, 8 bits, the square in its centre.

    Raises:
        UserError: the image can't be read, or the sheet not written.
    """
    if output is None:
        raise UserError("--image is what to draw the --sheet on; give --sheet FILE.png too")
    return save_picture(operations_sheet(_opened(image) if image else _sample()), output)


def _sample() -> NDArray[np.uint8]:
    """A photo of temple roofs, which scikit-learn brings along: it has an up, a left, detail and colour."""
    from sklearn.datasets import load_sample_image

    return fit(Image.fromarray(load_sample_image("china.jpg")), SIDE)


def _opened(path: Path) -> NDArray[np.uint8]:
    try:
        with pillow_without_warnings():
            return decode_file(path, min(shorter_side(path), SIDE))
    except BadImageError as error:
        reason = str(error)
        raise UserError(
            f"{path}: {reason[0].lower()}{reason[1:]}; give an image such as a .jpg or .png"
        ) from None
