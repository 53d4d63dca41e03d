"""Finalists that could not be confirmed: kept in the study, named in the verdict, tried again where that
may help. So one that fails on every computer can't keep a study from its verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import optuna

from augsearch.search.engines.failures import Kind, kind_of, reason_of
from augsearch.search.settings.sections import EngineSettings
from augsearch.search.studies.controls import is_control
from augsearch.search.studies.study import Entry

_ATTRIBUTE = "could not be confirmed"


@dataclass(frozen=True, slots=True)
class Lost:
    """An entry that is out, and why."""

    number: int
    name: str
    candidate: bool
    """Whether it is a candidate and not what candidates are measured against."""
    reason: str
    kind: str
    time_limit: float
    """This and the next: seconds and GiB that a fold might take."""
    memory_limit: float | None

    def may_do_better(self, engine: EngineSettings) -> bool:
        """Whether to try it again: what is measured against always, a candidate with higher limits."""
        if not self.candidate:
            return True
        memory, now = self.memory_limit, engine.memory_limit
        more = memory is not None and (now is None or now > memory)
        return self.kind != Kind.CANDIDATE and (more or engine.fold_timeout > self.time_limit)


def lost(study: optuna.Study) -> dict[int, Lost]:
    """Who is out, by number."""
    found = (Lost(**document) for document in study.user_attrs.get(_ATTRIBUTE, []))
    return {one.number: one for one in found}


def lose(study: optuna.Study, entry: Entry, error: BaseException, engine: EngineSettings) -> None:
    """Have ``entry`` be out because of ``error``."""
    known = lost(study)
    if entry.number not in known:
        candidate = entry.baseline is None and not is_control(entry)
        limits = engine.fold_timeout, engine.memory_limit
        known[entry.number] = Lost(
            entry.number, entry.name, candidate, reason_of(error), kind_of(error), *limits
        )
        _keep(study, known)


def another_chance(study: optuna.Study, engine: EngineSettings) -> set[int]:
    """Have those in again who may do better now; returns their numbers."""
    known = lost(study)
    again = {number for number, one in known.items() if one.may_do_better(engine)}
    if again:
        _keep(study, {number: one for number, one in known.items() if number not in again})
    return again


def lost_in_words(study: optuna.Study) -> list[str]:
    """What the verdict says of those who are out."""
    return [
        f"{one.name} could not be confirmed ({one.reason}){', so it lost' if one.candidate else ''}."
        for one in lost(study).values()
    ]


def _keep(study: optuna.Study, known: dict[int, Lost]) -> None:
    study.set_user_attr(_ATTRIBUTE, [asdict(one) for one in known.values()])
