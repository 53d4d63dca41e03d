"""What tells folders and files of one suffix apart: shards, saved data sets, tables with images inside."""

from __future__ import annotations

import os
import tarfile
from contextlib import suppress
from itertools import islice
from pathlib import Path

MOST_NAMES = 40
"""Of a tar file, or of a folder, that are looked at."""
LABELS = (".cls", ".json")
"""What stands beside an image in a shard."""
MARKS = ("dataset_dict.json", "state.json")
"""A file that Hugging Face's ``save_to_disk`` leaves."""


def is_saved(folder: Path) -> bool:
    """Whether ``datasets`` saved a data set there, or it holds Parquet files with images."""
    return any((folder / mark).is_file() for mark in MARKS) or bool(parquet_in(folder))


def parquet_in(folder: Path) -> list[Path]:
    """The Parquet files with images in a folder, or in its ``data/``."""
    for place in (folder, folder / "data"):
        found = sorted(place.glob("*.parquet"))
        if found and holds_images(found[0]):
            return found
    return []


def holds_images(table: Path) -> bool:
    """Whether a Parquet file has a column of encoded images."""
    if table.suffix.lower() != ".parquet":
        return False
    try:
        import pyarrow
        from pyarrow import parquet

        schema = parquet.read_schema(table)
    except (ImportError, OSError, pyarrow.ArrowException):
        return False
    return any(is_encoded(field.type) for field in schema)


def is_encoded(kind: object) -> bool:
    """Whether a type of Arrow is that of files' bytes, alone or beside their path."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)  # type: ignore[attr-defined]
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def shards_in(folder: Path) -> list[Path]:
    """The shards in a folder, or in folders of its parts; none if the first tar file is no shard."""
    with os.scandir(folder) as children:
        inner = [folder / child.name for child in children if child.is_dir()]
    # A folder of a million images is not listed for it: where there are shards there is little else.
    found = sorted(file for place in (folder, *inner) if _has_tars(place) for file in place.glob("*.tar"))
    return found if found and is_shard(found[0]) else []


def _has_tars(folder: Path) -> bool:
    with suppress(OSError), os.scandir(folder) as children:
        return any(child.name.endswith(".tar") for child in islice(children, MOST_NAMES))
    return False


def is_shard(path: Path) -> bool:
    """Whether a tar file has labels beside its images, as WebDataset writes it."""
    try:
        with tarfile.open(path, "r:") as tar:
            for _ in range(MOST_NAMES):
                member = tar.next()
                if member is None:
                    return False
                if os.path.splitext(member.name)[1].lower() in LABELS:  # noqa: PTH122
                    return True
    except (OSError, tarfile.TarError):
        return False
    return False
