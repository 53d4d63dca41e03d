"""What was confirmed on the same images before: on record, as reads of the test part are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import optuna

from augsearch.search.console import how_often
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.sealed_test import hash_of_test
from augsearch.search.settings.sections import HOME
from augsearch.search.studies.study import Entry
from augsearch.trainers.system.hashing import digest

ATTRIBUTE = "confirmed before"
"""The attribute of a study that holds which finalists it confirmed, and how many others had been before."""

_NOBODY = digest([])
"""What earlier versions wrote down where no candidate was confirmed."""


def record_confirmation(
    study: optuna.Study, source: str | None, data: Data, finalists: Sequence[Entry]
) -> int:
    """Write down that ``finalists`` are about to be confirmed.

    Returns:
        How often other candidates had been confirmed on the same images before, in this study or in others of
        the same working directory. For the same finalists it is always the same number.
    """
    candidates = [one.candidate.model_dump(mode="json") for one in finalists if not one.baseline]
    if not candidates:
        return 0
    chosen = digest(candidates)
    known: dict[str, int] = study.user_attrs.get(ATTRIBUTE, {})
    if chosen in known:
        return known[chosen]
    folder = HOME / "confirmations"
    folder.mkdir(parents=True, exist_ok=True)
    # The same images with the same seed have the same test part, and so the same rest.
    key = [hash_of_test(source, data), data.target.fingerprint if data.target else None]
    path = folder / f"{digest(key)}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    own = {"study": study.user_attrs.get("key", study.study_name), "finalists": chosen}
    looks = [line for line in map(json.loads, lines) if line["finalists"] != _NOBODY]
    before = [line for line in looks if {name: line[name] for name in own} != own]
    if len(before) == len(looks):
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "name": study.study_name, **own}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    study.set_user_attr(ATTRIBUTE, {**known, chosen: len(before)})
    return len(before)


def record_in_words(before: int) -> str | None:
    """What a person is told of it; None: nothing was."""
    if not before:
        return None
    return (
        f"Candidates had been confirmed on the same images {how_often(before)} before: who looks often finds "
        f"something, so the chance of a wrong claim is divided by {before + 1}."
    )
