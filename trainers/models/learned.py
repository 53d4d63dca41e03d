"""Which images a model has learned from: hashes of them in the file of its weights."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies.errors import check_readable
from augsearch.policies.json_files import parse_json

Keys = NDArray[np.uint64]
"""(N,): the first 8 bytes of each image's content key; see ``augsearch.trainers.data.content``."""

FIELD = "learned_from"
"""The name of these hashes among the metadata of a ``.safetensors`` file."""

MOST_HEADER = 100 * 2**20
"""Bytes that the header of a ``.safetensors`` file may have."""


def written(keys: Keys) -> dict[str, str]:
    """The metadata of a model that has learned from these images, in whatever order."""
    return {FIELD: base64.b64encode(np.unique(keys).astype("<u8").tobytes()).decode()}


def learned_from(path: Path) -> Keys | None:
    """The images that the model at ``path`` has learned from, sorted; None where its file doesn't say."""
    said = metadata_of(path).get(FIELD)
    if not isinstance(said, str):
        return None
    try:
        return np.frombuffer(base64.b64decode(said, validate=True), dtype="<u8").astype(np.uint64)
    except ValueError:
        return None


def metadata_of(path: Path) -> dict[str, Any]:
    """What a ``.safetensors`` file says of itself; nothing where it is none, or isn't there.

    Raises:
        UserError: it may not be read.
    """
    check_readable(path)
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(size)) if size <= MOST_HEADER else None
    except (OSError, ValueError):
        return {}
    said = header.get("__metadata__") if isinstance(header, dict) else None
    return said if isinstance(said, dict) else {}
