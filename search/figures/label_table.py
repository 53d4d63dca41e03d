"""A table of the labels that a model gave to images."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from augsearch.policies.atomic import whole_file
from augsearch.search.figures.labels import PseudoLabels


def write_labels(path: Path, files: Callable[[int], str], pseudo: PseudoLabels) -> None:
    """Write a table, CSV in UTF-8: ``file,label,confidence,learned_from`` and with truths ``true_label``.

    In the images' order, without those that could not be read. ``learned_from`` is ``true`` or ``false``,
    ``true_label`` is empty where it is not known. The file is written whole or not at all, and one that was
    there stays until then.

    A spreadsheet takes what begins with one of ``=+-@`` for a formula, and a data set may come from a
    stranger. So a file's name that does is written with ``./`` before it, which is the same file, and a
    class's name with an apostrophe, which spreadsheets hide.

    Args:
        path: the file.
        files: the file, or other name, of image ``i``.
        pseudo: the labels.
    """
    labels, classes, truth, learned = pseudo.labels, pseudo.classes, pseudo.truth, pseudo.learned
    # Names of files are bytes; those that are no UTF-8 are written as they are.
    with (
        whole_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        # Python 3.11 would not quote a carriage return, at which readers end a line too.
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        more = [] if truth is None else ["true_label"]
        table.writerow(["file", "label", "confidence", "learned_from", *more])
        for row in map(int, np.flatnonzero(labels >= 0)):
            label = _no_formula(classes[labels[row]], "'")
            cells = [_no_formula(files(row), "./"), label, f"{pseudo.confidence[row]:.6f}"]
            cells.append("true" if learned[row] else "false")
            if truth is not None:
                cells.append(_no_formula(classes[truth[row]], "'") if truth[row] >= 0 else "")
            (quoted if any("\r" in cell for cell in cells) else table).writerow(cells)


def _no_formula(text: str, before: str) -> str:
    """``text``, with ``before`` in front of it where it would be a formula."""
    return f"{before}{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
