"""Tables that name images and labels: read whole as text, and what their columns are for."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augsearch.policies import UserError
from augsearch.policies.errors import first_line, some
from augsearch.policies.json_files import parse_json
from augsearch.trainers.data.part_names import part_named
from augsearch.trainers.system.names import printable

IMAGE_NAMES = (
    *("image", "file", "filename", "file_name", "path", "image_path", "filepath", "file_path", "img"),
    *("image_name", "image_file", "image_id", "img_id", "id", "name"),
)
LABEL_NAMES = (
    *("label", "class", "target", "category", "labels", "class_name", "label_name", "classname", "y"),
    *("class_id", "category_id", "diagnosis", "species", "breed", "dx"),
)
SPLIT_NAMES = ("split", "part", "subset", "partition", "set", "usage", "phase")
GROUP_NAMES = ("group", "patient", "patient_id", "subject", "subject_id", "group_id", "case_id", "lesion_id")
"""What columns are called that are found without being named, the likeliest first."""

Table = dict[str, list[str]]
"""Its columns by name; a value that is missing is empty."""
Numbers = Sequence[int]
"""Of its rows, as a person counts them: what is blank counts too, and a line of names."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a table are for."""

    image: str
    labels: tuple[str, ...]
    """One; or several of which each row has a 1 in the one of its class."""
    split: str | None
    group: str | None


def read_table(path: Path) -> tuple[Table, Numbers]:
    """Read a table: CSV with any usual separator, TSV, JSON Lines or Parquet. Blank rows are passed over.

    Raises:
        UserError: it can't be read, or has no rows or no names of columns.
    """
    reader = Callable[[Path], tuple[Table, Numbers]]
    readers: dict[str, reader] = {".parquet": _parquet, ".jsonl": _json, ".ndjson": _json}
    try:
        table, numbers = readers.get(path.suffix.lower(), _separated)(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    if not table or not numbers:
        raise UserError(f"{path} has no rows: give a table with a line of names and a row for each image")
    return table, numbers


def _separated(path: Path) -> tuple[Table, Numbers]:
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    first = text.partition("\n")[0]
    usual = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
    try:
        read = enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=usual), 1)
        rows = [(number, row) for number, row in read if any(value.strip() for value in row)]
    except csv.Error as error:
        raise UserError(f"{path} is no table: {error}") from None
    if not rows:
        return {}, ()
    (_, first_row), *rows = rows
    names = [name.strip() for name in first_row]
    if len(set(names)) != len(names):
        raise UserError(f"{path} has two columns of one name ({', '.join(names)}): rename one of them")
    for number, row in rows:
        if len(row) != len(names):
            raise UserError(
                f"{path} has {len(row)} values in row {number} and {len(names)} columns: correct that row"
            )
    table = {name: [row[place].strip() for _, row in rows] for place, name in enumerate(names)}
    return table, [number for number, _ in rows]


def _json(path: Path) -> tuple[Table, Numbers]:
    rows: dict[int, dict[str, Any]] = {}
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise UserError(f"{path} line {number} is no JSON ({error}): correct it") from None
        if not isinstance(row, dict):
            raise UserError(f"{path} line {number} is no JSON object: write one, with a name for each value")
        rows[number] = row
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    return {name: [_text(row.get(name)) for row in rows.values()] for name in names}, list(rows)


def _parquet(path: Path) -> tuple[Table, Numbers]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"{path} needs a package that is not installed: pip install pyarrow") from None
    try:
        held = parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise UserError(f"{path} is no Parquet file: {first_line(error)}") from None
    table = {name: [_text(value) for value in held[name].to_pylist()] for name in held.column_names}
    return table, range(1, held.num_rows + 1)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return "" if value != value else f"{value:.15g}"
    return "" if value is None else str(value).strip()


def columns_of(where: str, table: Table, image: str, asked: dict[str, str | None]) -> Columns:
    """What the columns are for, those that are not ``asked`` for found by their names and what is in them.

    Args:
        where: the table, as messages call it.
        table: its columns.
        image: the one that names the images.
        asked: ``label``, ``split``, ``group`` and ``weight``, as they were given.

    Raises:
        UserError: the label can't be told, or the parts are none.
    """
    split = asked["split"]
    if split is None:
        split = _named(table, SPLIT_NAMES, lambda name: _are_parts(table[name]))
    elif not _are_parts(table[split]):
        odd = next(value for value in table[split] if value and part_named(value) is None)
        raise UserError(f"{where}: column {split} has '{odd}', which is none of train, validation and test")
    group = asked["group"]
    if asked["label"] is not None:
        labels = (
            tuple(part.strip() for part in asked["label"].split(",")) if asked["label"] not in table else ()
        )
        labels = labels or (asked["label"],)
    else:
        others = (image, split, group, asked["weight"])
        labels = _labels(where, table, [name for name in others if name is not None])
    for name in labels:
        check_column(where, table, name, "--label-column")
    return Columns(image, labels, split, group)


def check_column(where: str, table: Table, name: str, flag: str) -> None:
    """Check that there is a column of this name.

    Raises:
        UserError: there is none.
    """
    if name not in table:
        raise UserError(f"{where} has no column {name} ({flag}): it has {some(list(table), 12)}")


def _labels(where: str, table: Table, others: Sequence[str]) -> tuple[str, ...]:
    """The column of labels, or those of one-hot labels."""
    free = [name for name in table if name not in others]
    named = _named(table, LABEL_NAMES, lambda name: name in free)
    if named is not None:
        return (named,)
    numbers = [name for name in free if set(table[name]) <= {"0", "1", "0.0", "1.0"}]
    if len(numbers) > 1 and all(
        sum(map(float, row)) == 1 for row in zip(*(table[n] for n in numbers), strict=True)
    ):
        return tuple(numbers)
    rows = len(next(iter(table.values())))
    likely = [
        name for name in free if 2 <= len({value for value in table[name] if value}) <= max(2, rows // 2)
    ]
    likely = [name for name in likely if name.lower() not in GROUP_NAMES]
    if len(likely) == 1:
        return (likely[0],)
    raise UserError(
        f"{where}: which column is the label? Give --label-column, one of "
        f"{some(likely or free or list(table), 12)}"
    )


def _named(table: Table, names: Sequence[str], fits: Callable[[str], bool]) -> str | None:
    """The column with the likeliest of ``names`` that ``fits``."""
    by_name = {name.lower().replace(" ", "_").replace("-", "_"): name for name in table}
    return next((by_name[name] for name in names if name in by_name and fits(by_name[name])), None)


def _are_parts(values: Sequence[str]) -> bool:
    found = set(values) - {""}
    return bool(found) and all(part_named(value) is not None for value in found)


def numbered_labels(where: str, values: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """The names of the classes, and the number of each label, -1 where it is empty.

    Raises:
        UserError: there are fewer than two; ``where`` says what has them.
    """
    named = sorted(set(values) - {""}, key=_in_order)
    if len(named) < 2:
        raise UserError(
            f"{where} has {'one label' if named else 'no labels'}: a classifier needs at least 2; "
            "give another --label-column"
        )
    numbers = {name: number for number, name in enumerate(named)} | {"": -1}
    return tuple(map(printable, named)), [numbers[value] for value in values]


def weights_in(
    where: str, numbers: Numbers, table: Table, column: str | None, labels: Sequence[int]
) -> list[float | None] | list[None]:
    """How much each row's image counts in a training's loss; None where it has no label, or nothing is said.

    Raises:
        UserError: the weight of an image with a label is no number above 0; names its row.
    """
    if column is None:
        return [None] * len(labels)
    return [
        _weight(f"{where} row {number}", column, value) if label >= 0 else None
        for number, value, label in zip(numbers, table[column], labels, strict=True)
    ]


def _weight(where: str, column: str, written: str) -> float:
    try:
        weight = float(written)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise UserError(
            f"{where}: column {column} must be a number above 0, how much the image counts, got '{written}'; "
            "correct it, or leave the row out"
        )
    return weight


def _in_order(label: str) -> tuple[float, str]:
    """Numbers by size, and before words."""
    try:
        number = float(label)
    except ValueError:
        number = math.inf
    return (math.inf if math.isnan(number) else number), label
