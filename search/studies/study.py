"""The Optuna study: created or resumed, never mixed up, and all that is known of it read back.

The study is the one truth of a run. Its trials carry their folds' results, its attributes the
confirmation's and the final figures; whatever else is written (MLflow, files) can be made again from it.
"""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.search.settings.sections import sqlite_file
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import Space
from augsearch.search.studies.pruner import PairedPruner
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

optuna.logging.set_verbosity(optuna.logging.ERROR)

_CONFIRMATION = "confirmation "
"""Begins the attributes of a study that hold the confirmation's results; the trial and the fold follow."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished or stopped trial."""

    number: int
    baseline: str | None
    state: TrialState
    candidate: Candidate
    results: tuple[FoldResult, ...]

    @property
    def score(self) -> float:
        """Mean score over the folds that were run, by the search's metric: higher is better; nan of none."""
        if not self.results:
            return math.nan
        return sum(result.score for result in self.results) / len(self.results)

    @property
    def name(self) -> str:
        """The baseline's name, or the trial's number."""
        return self.baseline or f"trial {self.number}"


def open_storage(url: str) -> RDBStorage:
    """Connect to ``url``, an SQLAlchemy database URL.

    Raises:
        UserError: it can't be opened.
    """
    file = sqlite_file(url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Several drivers of different studies may share one SQLite file: wait for each other's writes.
        wait = {"connect_args": {"timeout": 60}} if file is not None else {}
        return RDBStorage(url, engine_kwargs=wait)
    except Exception as error:
        raise UserError(
            f"storage {url}: can't be opened ({first_line(error)}); give an SQLAlchemy URL"
        ) from None


def open_study(
    storage: RDBStorage,
    name: str,
    identity: dict[str, Any],
    space: Space,
    pruner: BasePruner | None = None,
    *,
    warm_start: bool = True,
) -> optuna.Study:
    """The study ``name``, made now, or taken up where it stands; at a warm start its baselines wait first.

    Raises:
        UserError: it was made from other data or settings; says what differs.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        load_if_exists=True,
        pruner=pruner or PairedPruner(),
    )
    known = study.user_attrs.get("identity")
    if known is None:
        study.set_user_attr("key", uuid.uuid4().hex)  # a study of this name may have been before it
        study.set_user_attr("identity", identity)
        known = identity
    # A field that a study made before doesn't have was None then.
    fields = [field for field in identity | known if identity.get(field) != known.get(field)]
    if fields:
        differences = "; ".join(
            f"{field} was {known.get(field)}, is {identity.get(field)}" for field in fields
        )
        raise UserError(
            f"study {name!r} was made from other data or settings: {differences}; use another --study"
        )
    for name_of, baseline in space.baselines.items() if warm_start else ():
        params = baseline_params(baseline, space)
        study.enqueue_trial(params, user_attrs={"baseline": name_of}, skip_if_exists=True)
    return study


def load_study(storage: RDBStorage, name: str) -> optuna.Study:
    """An existing study.

    Raises:
        UserError: there is none of that name; says which there are.
    """
    try:
        return optuna.load_study(storage=storage, study_name=name)
    except KeyError:
        known = ", ".join(optuna.get_all_study_names(storage)) or "none"
        raise UserError(f"no study {name!r} in this storage; there are: {known}") from None


def take_up(study: optuna.Study, trial: FrozenTrial) -> optuna.trial.Trial:
    """A handle on a trial that was left running when its driver died."""
    return optuna.trial.Trial(study, trial._trial_id)


def fold_results(trial: FrozenTrial | optuna.trial.Trial) -> list[FoldResult]:
    """The results of the folds that the trial has run, in order."""
    results: list[FoldResult] = []
    while (document := trial.user_attrs.get(f"fold {len(results)}")) is not None:
        results.append(FoldResult.from_json(document))
    return results


def entries(study: optuna.Study) -> list[Entry]:
    """All trials with at least one fold run, oldest first."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        results = fold_results(trial)
        if results:
            candidate = Candidate.model_validate(trial.user_attrs["candidate"])
            baseline = trial.user_attrs.get("baseline")
            found.append(Entry(trial.number, baseline, trial.state, candidate, tuple(results)))
    return found


def finished(study: optuna.Study) -> list[Entry]:
    """The trials that ran all their folds."""
    return [entry for entry in entries(study) if entry.state is TrialState.COMPLETE]


def confirmation_results(study: optuna.Study) -> defaultdict[int, dict[int, FoldResult]]:
    """What the confirmation knows, by trial and fold; the study is read once."""
    found: defaultdict[int, dict[int, FoldResult]] = defaultdict(dict)
    for key, document in study.user_attrs.items():
        if key.startswith(_CONFIRMATION):
            number, fold = key.removeprefix(_CONFIRMATION).split()
            found[int(number)][int(fold)] = FoldResult.from_json(document)
    return found


def keep_confirmation(study: optuna.Study, number: int, fold: Fold, result: FoldResult) -> None:
    """Record a result of the confirmation."""
    assert fold.stage is not Stage.SEARCH
    study.set_user_attr(f"{_CONFIRMATION}{number} {fold.index}", result.to_json())
