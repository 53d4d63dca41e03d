"""The studies of a database, in a table; and one of them, as its report begins."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import TrialState
from rich import box
from rich.markup import escape
from rich.table import Table

from augsearch.search.console import Display
from augsearch.search.report.facts import Facts, gather
from augsearch.search.report.sentences import compared, headline
from augsearch.search.settings.sections import TrackingSettings
from augsearch.search.studies.controls import by_number
from augsearch.search.studies.costs import in_words
from augsearch.search.studies.study import check_own, counted, load_study, open_to_read


@dataclass(frozen=True, slots=True)
class Line:
    """A study in a few words."""

    study: str
    data: str
    state: str
    """``searching``, ``searched``, ``confirmed`` or ``trained``."""
    trials: int
    """Those that have ended."""
    verdict: str | None
    """``better``, ``as good`` or ``undecided``; None: there is none yet."""
    recommended: str | None
    last: str | None
    """When a trial last began or ended, to the minute."""


def lines_of(storage: str | None) -> list[Line]:
    """All studies of augsearch, the one last at work first."""
    opened = open_to_read(storage or TrackingSettings().storage)
    studies = [load_study(opened, name) for name in optuna.get_all_study_names(opened)]
    lines = [_line(study) for study in studies if "identity" in study.user_attrs]
    return sorted(lines, key=lambda line: line.last or "", reverse=True)


def _line(study: optuna.Study) -> Line:
    known, trials = study.user_attrs, counted(study)
    verdict: dict[str, Any] | None = known.get("verdict")
    times = [time for one in trials for time in (one.datetime_start, one.datetime_complete) if time]
    chosen = by_number(study).get(verdict["recommended"]) if verdict else None
    return Line(
        study=study.study_name,
        data=str(known["identity"].get("data", "")).rpartition(" ")[0],
        state=_state(study, verdict),
        trials=sum(one.state.is_finished() for one in trials),
        verdict=(verdict or {}).get("kind"),
        recommended=chosen.name if chosen else None,
        last=max(times).isoformat(" ", "minutes") if times else None,
    )


def _state(study: optuna.Study, verdict: dict[str, Any] | None) -> str:
    if "final" in study.user_attrs:
        return "trained"
    if verdict is not None:
        return "confirmed"
    waiting = (TrialState.WAITING, TrialState.RUNNING)
    unfinished = study.get_trials(deepcopy=False, states=waiting) or "search ended" not in study.user_attrs
    return "searching" if unfinished else "searched"


def studies_as_plain(storage: str | None) -> list[dict[str, Any]]:
    """``lines_of`` as plain values."""
    return [asdict(line) for line in lines_of(storage)]


def list_studies(storage: str | None, display: Display) -> None:
    """Print ``lines_of`` as a table."""
    lines = lines_of(storage)
    if not lines:
        display.result("no studies here yet; augsearch run makes one")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("study", "state", "trials", "verdict", "recommended", "last at work"):
        table.add_column(column, justify="right" if column == "trials" else "left")
    for one in lines:
        cells = (one.study, one.state, str(one.trials), one.verdict, one.recommended, one.last)
        table.add_row(*(escape(cell or "–") for cell in cells))
    display.table(table)


def study_as_plain(name: str, storage: str | None) -> dict[str, Any]:
    """What is known of a study: its line, the whole verdict, final figures, settings, identity and cost."""
    study, facts = _facts(name, storage)
    known = study.user_attrs
    return {
        **asdict(_line(study)),
        "evidence": known.get("verdict"),
        "final": (known.get("final") or {}).get("figures"),
        "settings": known.get("settings"),
        "made_from": known["identity"],
        "cost": {stage: asdict(spent) for stage, spent in facts.costs.items()},
        "folder": known.get("output"),
    }


def show_study(name: str, storage: str | None, display: Display) -> None:
    """Print how a study's report begins."""
    study, facts = _facts(name, storage)
    said = headline(facts)
    display.result(f"study {name}: {_state(study, facts.verdict)}")
    display.result(said.sentence)
    for line in (*said.how_much, *said.how_sure):
        display.result(f"  {line}")
    if facts.rows:
        display.table(_table(facts))
    if facts.final is not None:
        display.result(f"final model: test accuracy {100 * facts.final['figures']['test_accuracy']:.1f} %")
    display.result(in_words(facts.costs))
    for step in said.next_steps:
        display.result(f"{step.purpose}:\n  {step.command}")


def _table(facts: Facts) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns, rows = compared(facts, "→")
    for column in columns:
        table.add_column(column)
    for cells in rows:
        table.add_row(*map(escape, cells))
    return table


def _facts(name: str, storage: str | None) -> tuple[optuna.Study, Facts]:
    study = load_study(open_to_read(storage or TrackingSettings().storage), name)
    check_own(study)
    return study, gather(study)
