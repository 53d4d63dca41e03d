"""All that a report shows, gathered from a study at whatever stage it is; what is not known yet is None."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from augsearch.search.budget.session import Record, record_of
from augsearch.search.figures.search import importance_shares
from augsearch.search.inputs.sealed_test import ATTRIBUTE as TEST
from augsearch.search.inputs.sealed_test import reads_of_test
from augsearch.search.inputs.summary import ATTRIBUTE as DATA
from augsearch.search.inputs.summary import near_in_words
from augsearch.search.settings.addresses import ADDRESSES, redacted
from augsearch.search.settings.durations import duration_flag
from augsearch.search.settings.sections import HOME
from augsearch.search.settings.settings import DEFAULTS, Settings
from augsearch.search.statistics.paired import Difference, compare
from augsearch.search.statistics.verdict import Part
from augsearch.search.studies.ablation import Ablation, known_ablation
from augsearch.search.studies.controls import is_control, with_controls
from augsearch.search.studies.costs import Spent, ledger
from augsearch.search.studies.final_check import FinalCheck, known_final_check
from augsearch.search.studies.policy_file import provenance
from augsearch.search.studies.proxy_check import ProxyCheck, known_check
from augsearch.search.studies.refinement import Refinement, known_refinement
from augsearch.search.studies.study import Entry, confirmation_results, entries
from augsearch.trainers.evaluation.metrics import METRICS, Metric
from augsearch.trainers.workspace.folds import FoldResult

MOST_UNCONFIRMED = 5
"""Candidates in the table before anything is confirmed."""
PICTURES = ("preview", "preview-unlabeled", "reliability", "confusion", "mistakes", "pseudo-labels")
"""The pictures in a run's folder that a report shows."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a baseline, or a candidate that was confirmed or may come to be."""

    entry: Entry
    recommended: bool
    results: tuple[FoldResult, ...]
    """The results of the confirmation, one a fold."""
    scores: tuple[float, ...]
    """Their scores by the search's metric."""
    lead: Difference | None
    """Over the best baseline; None for that itself, and where nothing is confirmed."""
    beside: float | None
    """Mean score on the data's own images, where those of a target are what counts."""

    @property
    def mean(self) -> float | None:
        """Mean confirmed score."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def sd(self) -> float | None:
        """Its standard deviation between folds."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    def average(self, figure: str) -> float | None:
        """Mean of another figure over the confirmation's folds, such as ``ece``."""
        values = [getattr(result, figure) for result in self.results]
        return statistics.fmean(values) if values else None


@dataclass(frozen=True, slots=True)
class Facts:
    """A study as a report shows it."""

    study: str
    metric: Metric
    identity: dict[str, Any]
    settings: Settings | None
    """The settings of the study's last run; None where they were not kept yet."""
    entries: tuple[Entry, ...]
    """All trials with at least one fold, oldest first."""
    states: Counter[TrialState]
    failures: tuple[tuple[int, str], ...]
    """Trials that failed, and why."""
    span: tuple[datetime, datetime] | None
    """From the first trial's beginning to the last one's end."""
    verdict: dict[str, Any] | None
    rows: tuple[Row, ...]
    """Best first."""
    leads: tuple[Difference, ...]
    """The best candidate against each baseline."""
    parts: tuple[Part, ...]
    """What its lead is made of."""
    importances: dict[str, float]
    costs: dict[str, Spent]
    final: dict[str, Any] | None
    data: dict[str, Any] | None
    test: dict[str, Any] | None
    pictures: dict[str, Path]
    """Those that are there, by name."""
    versions: dict[str, str]
    budget: Record | None = None
    """What was planned and spent; None: there is no budget."""
    ablation: Ablation | None = None
    """What removing parts of the winner costs; None: nobody asked."""
    proxy_check: ProxyCheck | None = None
    """Whether short trainings rank as final models do; None: nobody asked."""
    refinement: Refinement | None = None
    """What tuning N and M on the final network came to; None: nobody asked."""
    final_check: FinalCheck | None = None
    """What comparing the best policies on the final network came to; None: that was not done."""

    @property
    def near_duplicates(self) -> str | None:
        """One line on held-out images that look like some that are trained on; None: there are none."""
        return None if self.data is None else near_in_words(self.data)

    @property
    def folds(self) -> int:
        """The most folds that a trial may run."""
        if self.budget is not None and self.budget.sizes is not None:
            return self.budget.sizes.folds
        known = self.identity.get("folds")
        if isinstance(known, int):
            return known
        return max((len(entry.results) for entry in self.entries), default=0)

    @property
    def ended(self) -> int:
        """Trials that are over."""
        return sum(count for state, count in self.states.items() if state.is_finished())

    @property
    def unfinished(self) -> bool:
        """Whether the search is to go on."""
        if any(not state.is_finished() for state in self.states):
            return True
        if self.verdict is not None:
            return False
        return not self.entries or (self.trials is not None and self.ended < self.trials)

    @property
    def trials(self) -> int | None:
        """How many trials there are to be, as far as that is known."""
        if self.budget is not None:
            planned = self.budget.sizes.trials if self.budget.sizes else None
            return self.budget.trials or planned
        return self.settings.search.trials if self.settings else None

    @property
    def chosen(self) -> Row | None:
        """The row that the verdict recommends."""
        return next((row for row in self.rows if row.recommended), None)

    @property
    def best_baseline(self) -> Row | None:
        """The baseline of the highest confirmed mean."""
        return next((row for row in self.rows if row.entry.baseline and not is_control(row.entry)), None)


def gather(study: optuna.Study, folder: Path | None = None) -> Facts:
    """All of ``study``; its pictures are in ``folder``, or where its run left them."""
    known = study.user_attrs
    found = entries(study)
    trials = study.get_trials(deepcopy=False)
    verdict = known.get("verdict")
    rows = _confirmed(study, verdict, with_controls(study)) if verdict else _not_confirmed(found)
    chosen = next((row.entry for row in rows if row.recommended), None)
    times = [trial.datetime_start for trial in trials if trial.datetime_start]
    times += [trial.datetime_complete for trial in trials if trial.datetime_complete]
    where = folder or folder_of(study)
    return Facts(
        study=study.study_name,
        metric=METRICS[(verdict or {}).get("metric") or known["identity"].get("metric") or "accuracy"],
        identity=known["identity"],
        settings=_settings_of(study),
        entries=tuple(found),
        states=Counter(trial.state for trial in trials),
        failures=tuple(
            (trial.number, trial.user_attrs.get("reason", "no reason was kept"))
            for trial in trials
            if trial.state is TrialState.FAIL
        ),
        span=(min(times), max(times)) if times else None,
        verdict=verdict,
        rows=tuple(rows),
        leads=_leads(verdict),
        parts=tuple(Part(one["of"], difference_of(one)) for one in (verdict or {}).get("parts", [])),
        importances=importance_shares(study),
        costs=ledger(study),
        final=known.get("final"),
        data=known.get(DATA),
        test={**known[TEST], "reads": reads_of_test(study)} if TEST in known else None,
        pictures={name: path for name in PICTURES if (path := where / f"{name}.png").is_file()},
        versions=provenance(study, chosen or found[0])["versions"] if found else {},
        budget=record_of(study),
        ablation=known_ablation(study, with_controls(study)),
        proxy_check=known_check(study),
        refinement=None if chosen is None else known_refinement(study, chosen.number),
        final_check=known_final_check(study),
    )


def folder_of(study: optuna.Study) -> Path:
    """Where the study's run left its results."""
    known = study.user_attrs
    if "output" in known:
        return Path(known["output"])
    return Path(known["final"]["model"]).parent if "final" in known else HOME / study.study_name


def _settings_of(study: optuna.Study) -> Settings | None:
    """The last run's settings, unchecked: what they name may be gone by now, and fields come and go."""
    said = study.user_attrs.get("settings") or study.user_attrs.get("tracked")
    if said is None:
        return None
    return Settings.recorded(said)


def _confirmed(study: optuna.Study, verdict: dict[str, Any], found: Sequence[Entry]) -> list[Row]:
    by_number = {entry.number: entry for entry in found}
    documents = [one for one in verdict["confirmation"] if one["number"] in by_number]
    results = confirmation_results(study)
    told = [*_leads(verdict), *map(difference_of, verdict.get("over_best", []))]
    said = {(lead.better, lead.worse): lead for lead in told}
    baselines = (by_number[one["number"]] for one in documents if one["baseline"])
    best = next((entry for entry in baselines if not is_control(entry)), None)

    def lead_of(entry: Entry) -> Difference | None:
        if best is None or entry is best:
            return None
        if (known := said.get((entry.name, best.name))) is not None:
            return known
        own, others = results[entry.number], results[best.number]
        both = sorted(own.keys() & others.keys())
        if not both:
            return None
        return compare(entry.name, [own[fold] for fold in both], best.name, [others[fold] for fold in both])

    rows = []
    for document in documents:
        number = document["number"]
        scores = tuple(document.get("scores") or document["accuracies"])  # verdicts of old
        folds = [results[number][fold] for fold in sorted(results[number])]
        entry, chosen = by_number[number], number == verdict["recommended"]
        rows.append(Row(entry, chosen, tuple(folds), scores, lead_of(entry), document.get("beside")))
    return rows


def _not_confirmed(found: Sequence[Entry]) -> list[Row]:
    """The baselines and the best of the others by what the search says of them, most folds first."""
    ranked = sorted(found, key=lambda entry: entry.standing, reverse=True)
    candidates = [entry for entry in ranked if not entry.baseline][:MOST_UNCONFIRMED]
    shown = [entry for entry in ranked if entry.baseline or entry in candidates]
    return [Row(entry, False, (), (), None, None) for entry in shown]


def _leads(verdict: dict[str, Any] | None) -> tuple[Difference, ...]:
    return tuple(difference_of(one) for one in (verdict or {}).get("differences", []))


def difference_of(document: dict[str, Any]) -> Difference:
    """A difference that a verdict tells; those of old say less."""
    folds, p = document.get("folds", 0), document.get("p", math.nan)
    better, worse = document["better"], document["worse"]
    return Difference(better, worse, document["mean"], document["low"], document["high"], folds, p)


def changed_settings(settings: Settings | None) -> list[tuple[str, str, str]]:
    """What was set otherwise than by default: the flag, its value, the default."""
    if settings is None:
        return []
    return [
        (name.replace("_", "-"), _shown(name, settings.value(name)), _plain(default))
        for name, default in DEFAULTS.items()
        if settings.value(name) != default
    ]


def _shown(name: str, value: Any) -> str:
    if name in ADDRESSES:  # older versions recorded them with their passwords
        return redacted(_plain(value))
    return duration_flag(value) if name == "budget" and value != "none" else _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "automatic"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
