"""What candidates that take more than a policy are measured against: the best baseline with the same help.

A teacher, images without labels and longer training make a baseline better too. So a candidate's lead is
divided: what its policy brings beside the same help, what that help brings a baseline, and what as many image
passes without it do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from augsearch.policies import UserError
from augsearch.search.studies.study import Entry, entries
from augsearch.trainers.workspace.candidate import Candidate

FIRST_CONTROL = 1_000_000
"""The number of the first control: beyond those of all trials."""
WORTH_A_CONTROL = 1.1
"""How many times a baseline's image passes a candidate must take for another control to train as long."""

_ATTRIBUTE = "controls"


@dataclass(frozen=True, slots=True)
class Control:
    """A baseline with the same help as some candidates."""

    entry: Entry
    of: frozenset[int]
    """The candidates that must be better than it."""
    same_help: bool
    """Whether it has their teacher and unlabeled images; else it trains for as many image passes."""
    base: int | None = None
    """The number of the baseline that it is, but for that; None: of an older version's it isn't known."""


def is_control(entry: Entry) -> bool:
    """Whether it is a control, and no trial."""
    return entry.number >= FIRST_CONTROL


def controls(study: optuna.Study) -> list[Control]:
    """The controls that ``study`` knows."""
    return [_read(document) for document in study.user_attrs.get(_ATTRIBUTE, [])]


def with_controls(study: optuna.Study) -> list[Entry]:
    """All trials with at least one fold run, oldest first, and then the controls."""
    return [*entries(study), *(one.entry for one in controls(study))]


def by_number(study: optuna.Study) -> dict[int, Entry]:
    """All that a verdict may recommend, trials and controls, by number."""
    return {entry.number: entry for entry in with_controls(study)}


def check_known(study: optuna.Study, number: int, known: Mapping[int, Entry]) -> None:
    """Check that ``number`` is among those ``known`` of the study.

    Raises:
        UserError: it has no such trial with results; says which it has.
    """
    if number not in known:
        having = ", ".join(map(str, sorted(known))) or "none"
        raise UserError(f"study {study.study_name!r} has no trial {number} with results; it has {having}")


def controls_for(study: optuna.Study, finalists: Sequence[Entry]) -> list[Control]:
    """The controls of ``finalists``, kept in the study; those that it knows keep their numbers.

    A study that an older version brought to its verdict gets none: it would have to be confirmed anew.
    """
    if "verdict" in study.user_attrs and _ATTRIBUTE not in study.user_attrs:
        return []
    known = controls(study)
    found: list[Control] = []
    for candidate, of, same_help, name in _wanted(finalists):
        before = next((one for one in known if one.entry.candidate == candidate), None)
        number = before.entry.number if before else FIRST_CONTROL + len(known)
        entry = Entry(number, name, TrialState.COMPLETE, candidate, ())
        control = Control(entry, of, same_help, best_of_search(finalists).number)
        found.append(control)
        known = [one for one in known if one is not before] + [control]
    known.sort(key=lambda one: one.entry.number)
    documents = [_written(one) for one in known]
    if documents != study.user_attrs.get(_ATTRIBUTE):
        study.set_user_attr(_ATTRIBUTE, documents)
    return found


def best_of_search(finalists: Sequence[Entry]) -> Entry:
    """The baseline of ``finalists`` that scored best in the search, of those that ran most folds; one there
    must be."""
    tried = (one for one in finalists if one.baseline and one.results)
    return max(tried, key=lambda one: one.standing)


def helped_alike(finalists: Sequence[Entry]) -> dict[int, frozenset[int]]:
    """Candidates that are the best baseline with help, and so what a control would be: by number, whose help
    is the same, themselves included."""
    found: dict[int, set[int]] = {}
    for one, same in _with_help(finalists):
        for other in finalists:
            if not other.baseline and other.candidate == same:
                found.setdefault(other.number, set()).add(one.number)
    return {number: frozenset(of) for number, of in found.items()}


def _with_help(finalists: Sequence[Entry]) -> Iterator[tuple[Entry, Candidate]]:
    """Each candidate that has help, and the best baseline with the same."""
    if not any(one.baseline and one.results for one in finalists):
        return
    best = best_of_search(finalists)
    for one in finalists:
        helped = one.candidate.distillation is not None or (
            (one.candidate.semi, one.candidate.class_balance)
            != (best.candidate.semi, best.candidate.class_balance)
        )
        if helped and not one.baseline:
            yield one, one.candidate.model_copy(update={"policy": best.candidate.policy, "passes": 1.0})


def _wanted(finalists: Sequence[Entry]) -> list[tuple[Candidate, frozenset[int], bool, str]]:
    """What each control is, whose, whether it has the same help, and what people call it."""
    wanted: dict[Candidate, tuple[set[int], bool, str]] = {}

    def want(candidate: Candidate, of: Entry, same_help: bool, name: str) -> None:
        if all(candidate != other.candidate for other in finalists):
            wanted.setdefault(candidate, (set(), same_help, name))[0].add(of.number)

    for one, same in _with_help(finalists):
        best = best_of_search(finalists)
        want(same, one, True, f"{best.name} with the help of {one.name}")
        times = _passes_over(one, best)
        if times >= WORTH_A_CONTROL:
            longer = best.candidate.model_copy(update={"passes": times})
            want(longer, one, False, f"{best.name}, {times:g} × the passes")
    return [(one, frozenset(of), same, name) for one, (of, same, name) in wanted.items()]


def _passes_over(one: Entry, best: Entry) -> float:
    """How many times the image passes of ``best`` a fold of ``one`` takes, its teacher's among them."""
    own, other = one.results[0], best.results[0]
    return round((own.images + own.teacher_images) / max(1, other.images + other.teacher_images), 1)


def _written(control: Control) -> dict[str, Any]:
    return {
        "number": control.entry.number,
        "name": control.entry.name,
        "candidate": control.entry.candidate.model_dump(mode="json"),
        "of": sorted(control.of),
        "same_help": control.same_help,
        "base": control.base,
    }


def _read(document: dict[str, Any]) -> Control:
    candidate = Candidate.model_validate(document["candidate"])
    entry = Entry(document["number"], document["name"], TrialState.COMPLETE, candidate, ())
    return Control(entry, frozenset(document["of"]), document["same_help"], document.get("base"))
