"""What was confirmed on the same images before: on record, as reads of the test part are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
        How often other candidates had been confirmed on these images or some of them before, in this study or
        in others of the same working directory. For the same finalists it is always the same number.
    """
    candidates = [one.candidate.model_dump(mode="json") for one in finalists if not one.baseline]
    if not candidates:
        return 0
    chosen = digest(candidates)
    known: dict[str, int] = study.user_attrs.get(ATTRIBUTE, {})
    if chosen in known:
        return known[chosen]
    paths, own = _paths(source, data), (_name(study), chosen)
    looks = {path: _looks(path) for path in paths}
    for path in paths:
        if own not in looks[path]:
            _append(path, study, chosen)
    before = set[tuple[str, str]]().union(*looks.values()) - {own}
    study.set_user_attr(ATTRIBUTE, {**known, chosen: len(before)})
    return len(before)


def withdraw_confirmation(
    study: optuna.Study, source: str | None, data: Data, finalists: Sequence[Entry]
) -> None:
    """Write down that ``finalists`` were not confirmed: one of them could not be trained, others take its
    place. So nothing was found out about them, and the others are not the second to be looked at."""
    chosen = digest([one.candidate.model_dump(mode="json") for one in finalists if not one.baseline])
    known: dict[str, int] = study.user_attrs.get(ATTRIBUTE, {})
    if chosen in known:
        for path in _paths(source, data):
            _append(path, study, chosen, withdrawn=True)
        study.set_user_attr(ATTRIBUTE, {one: before for one, before in known.items() if one != chosen})


def _paths(source: str | None, data: Data) -> list[Path]:
    """The records of these images: of those with the same test part, and so with the same rest however they
    were decoded; and of those of the same data set, which another seed divides otherwise."""
    folder = HOME / "confirmations"
    folder.mkdir(parents=True, exist_ok=True)
    target = data.target
    divided = [hash_of_test(source, data), target.fingerprint if target else None]
    whole = ["data set", data.images.fingerprint, target.data.fingerprint if target else None]
    return [folder / f"{digest(key)}.jsonl" for key in (divided, whole)]


def _looks(path: Path) -> set[tuple[str, str]]:
    """Which study confirmed which finalists, as far as that was not withdrawn."""
    looks: dict[tuple[str, str], bool] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        document = json.loads(line)
        looks[document["study"], document["finalists"]] = "withdrawn" not in document
    return {look for look, stands in looks.items() if stands and look[1] != _NOBODY}


def _append(path: Path, study: optuna.Study, chosen: str, *, withdrawn: bool = False) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line: dict[str, Any] = {"time": now, "name": study.study_name, "study": _name(study), "finalists": chosen}
    if withdrawn:
        line["withdrawn"] = True
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _name(study: optuna.Study) -> str:
    return str(study.user_attrs.get("key", study.study_name))


def record_in_words(before: int) -> str | None:
    """What a person is told of it; None: nothing was."""
    if not before:
        return None
    return (
        f"Candidates had been confirmed on these images or some of them {how_often(before)} before: who "
        f"looks often finds something, so the chance of a wrong claim is divided by {before + 1}."
    )
