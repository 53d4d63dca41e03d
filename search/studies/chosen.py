"""What a trial chose, by the names that a policy file has: how tables and MLflow name it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from augsearch.search.studies.study import Entry


def chosen(entry: Entry) -> dict[str, Any]:
    """``policy.num_ops``, ``policy.mixing.kind``, ``distillation.temperature`` … and their values."""
    candidate = entry.candidate
    said: dict[str, Any] = {"policy": candidate.policy.model_dump(mode="json")}
    said |= candidate.training.model_dump(mode="json", exclude_none=True)
    return dict(_flat(said))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", value
