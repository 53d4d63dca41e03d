"""The Optuna study: created or resumed, never mixed up, and all that is known of it read back.

The study is the one truth of a run. Its trials carry their folds' results, its attributes the
confirmation's and the final figures; whatever else is written (MLflow, files) can be made again from it.
"""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count, takewhile
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from augsearch.policies import UserError
from augsearch.policies.errors import OWN_PLACE, first_line, lacks_right
from augsearch.search.settings.addresses import redacted, sqlite_file
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import Space
from augsearch.search.studies.driver_storage import together
from augsearch.search.studies.pruner import PairedPruner
from augsearch.search.studies.rows import make_room
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

optuna.logging.set_verbosity(optuna.logging.ERROR)

SAME_AS = "same as"
"""The attribute of a trial that took over the folds of an equal one: that one's number."""
BESIDE = "beside"
"""The attribute of a study that a comparison made beside another: that one's name."""
TAKES_UP = "takes up"
"""The attribute of a baseline's trial that has the folds of its trial that failed: that one's number."""
_FOLD = "fold "
"""Begins the attributes of a trial that hold its folds' results."""
_SPACE = "space"
"""The attribute of a study that says what there was to choose from when it was made."""
_CONFIRMATION = "confirmation "
"""Begins the attributes of a study that hold the confirmation's results; the trial and the fold follow."""


RAN = (TrialState.COMPLETE, TrialState.PRUNED)
"""The states of trials that ran all their folds, or until others were clearly ahead."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A trial with folds that were run."""

    number: int
    baseline: str | None
    state: TrialState
    candidate: Candidate
    results: tuple[FoldResult, ...]
    """In the order of folds, up to the first that is missing."""
    same_as: int | None = None
    """The trial that was the same training, and whose folds these are."""

    @property
    def score(self) -> float:
        """Mean score over the folds that were run, by the search's metric: higher is better; nan of none."""
        if not self.results:
            return math.nan
        return sum(result.score for result in self.results) / len(self.results)

    @property
    def standing(self) -> tuple[int, float]:
        """What trials are ranked by, higher is better: who was stopped early has no score to compare."""
        return len(self.results), self.score

    @property
    def name(self) -> str:
        """The baseline's name, or the trial's number."""
        return self.baseline or f"trial {self.number}"


def open_storage(url: str, *, pre_ping: bool = True) -> RDBStorage:
    """Connect to ``url``, an SQLAlchemy database URL.

    ``pre_ping``: whether a server is asked before each use of a connection if it is still there; it may
    have been restarted. Needless where whoever uses it tries again, as the driver does.

    Raises:
        UserError: it can't be opened.
    """
    file = sqlite_file(url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Several drivers of different studies may share one SQLite file: wait for each other's writes.
        how = {"connect_args": {"timeout": 60}} if file is not None else {"pool_pre_ping": pre_ping}
        storage = RDBStorage(url, engine_kwargs=how)
        make_room(storage.engine)
        return storage
    except Exception as error:
        advice = OWN_PLACE if lacks_right(error) else "give an SQLAlchemy URL"
        raise UserError(
            f"storage {redacted(url)}: can't be opened ({redacted(first_line(error))}); {advice}"
        ) from None


def open_to_read(url: str) -> BaseStorage:
    """``open_storage`` for who only reads: a database that isn't there is an empty one, and is not made.

    Raises:
        UserError: it can't be opened.
    """
    file = sqlite_file(url)
    return InMemoryStorage() if file is not None and not file.exists() else open_storage(url)


def open_study(
    storage: BaseStorage,
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
        with together(study):
            study.set_user_attr("key", uuid.uuid4().hex)  # a study of this name may have been before it
            made = {"edition": space.edition, "mean": list(space.mean)}
            study.set_user_attr(_SPACE, made | {"photos": space.photos, "resized": space.resized})
            study.set_user_attr("identity", identity)
        known = identity
    check_same(name, known, identity)
    if warm_start:
        with together(study):
            _enqueue_baselines(study, space_of(study, space))
    return study


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The fields in which two studies' identities differ; one that is not there was None then."""
    fields = [field for field in {**other, **one} if one.get(field) != other.get(field)]
    return {field: (one.get(field), other.get(field)) for field in fields}


def check_same(name: str, known: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Check that the study ``name``, which was made from ``known``, may go on with ``identity``.

    Raises:
        UserError: it was made from other data or settings; says what differs.
    """
    found = differences(known, identity)
    if found:
        said = "; ".join(f"{field} was {was}, is {now}" for field, (was, now) in found.items())
        raise UserError(f"study {name!r} was made from other data or settings: {said}; use another --study")


def _enqueue_baselines(study: optuna.Study, space: Space) -> None:
    """Have the baselines wait that were not tried yet, or failed."""
    trials = study.get_trials(deepcopy=False)
    there = {baseline_of(trial) for trial in trials if trial.state is not TrialState.FAIL}
    for name, baseline in space.baselines.items():
        if name not in there:
            study.enqueue_trial(baseline_params(baseline, space), user_attrs={"baseline": name})


def baseline_of(trial: FrozenTrial) -> str | None:
    """The name of the baseline that a trial is."""
    return trial.user_attrs.get("baseline")


def space_of(study: optuna.Study, space: Space) -> Space:
    """``space`` as it was when ``study`` was made: what there is to choose from has grown since."""
    known = study.user_attrs.get(_SPACE)
    if known is not None:
        photos = {name: known.get(name, False) for name in ("photos", "resized")}
        return replace(space, edition=known["edition"], mean=tuple(known["mean"]), **photos)
    return replace(space, edition=1) if "identity" in study.user_attrs else space


def edition_of(study: optuna.Study) -> int:
    """The edition of the space that ``study`` was made with."""
    return int(study.user_attrs.get(_SPACE, {"edition": 1})["edition"])


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """The trials but for those of baselines that failed and were, or are to be, tried again."""
    trials = study.get_trials(deepcopy=False)
    last = {name: trial.number for trial in trials if (name := baseline_of(trial)) is not None}
    return [trial for trial in trials if last.get(baseline_of(trial) or "", trial.number) == trial.number]


def load_study(storage: BaseStorage, name: str) -> optuna.Study:
    """An existing study.

    Raises:
        UserError: there is none of that name; says which there are.
    """
    try:
        return optuna.load_study(storage=storage, study_name=name)
    except KeyError:
        known = ", ".join(optuna.get_all_study_names(storage)) or "none yet; augsearch run makes one"
        raise UserError(f"no study {name!r} in this storage; there are: {known}") from None


def find_study(address: str, name: str | None) -> optuna.Study | None:
    """The study ``name`` in the storage at ``address``; None: there is none, and none is made.

    Raises:
        UserError: the storage can't be opened.
    """
    if name is None or name not in study_names(address):
        return None
    return optuna.load_study(storage=open_storage(address), study_name=name)


def study_names(address: str) -> list[str]:
    """The names of the studies in the storage at ``address``, which is not made if it isn't there.

    Raises:
        UserError: the storage can't be opened.
    """
    file = sqlite_file(address)
    if file is not None and not file.exists():
        return []
    return optuna.get_all_study_names(open_storage(address))


def check_own(study: optuna.Study) -> None:
    """Check that a search made ``study``.

    Raises:
        UserError: another program did.
    """
    if "identity" not in study.user_attrs:
        raise UserError(f"study {study.study_name!r} was not made by augsearch run")


def take_up(study: optuna.Study, trial: FrozenTrial) -> optuna.trial.Trial:
    """A handle on a trial that was left running when its driver died."""
    return optuna.trial.Trial(study, trial._trial_id)


def fold_results(trial: FrozenTrial | optuna.trial.Trial) -> dict[int, FoldResult]:
    """The results of the folds that the trial has run; of several side by side any may be missing yet."""
    return {
        int(key.removeprefix(_FOLD)): FoldResult.from_json(document)
        for key, document in trial.user_attrs.items()
        if key.startswith(_FOLD)
    }


def failed_baselines(study: optuna.Study) -> set[str]:
    """The names of the baselines of which a trial has failed."""
    failed = (trial for trial in study.get_trials(deepcopy=False) if trial.state is TrialState.FAIL)
    return {name for trial in failed if (name := baseline_of(trial)) is not None}


def take_over_failed(study: optuna.Study, trial: optuna.trial.Trial) -> None:
    """Have a baseline's new trial keep the folds that its last one ran before it failed."""
    name = trial.user_attrs.get("baseline")
    before = [
        one
        for one in study.get_trials(deepcopy=False)
        if one.state is TrialState.FAIL and name is not None and baseline_of(one) == name
    ]
    if not before or before[-1].user_attrs.get("candidate") != trial.user_attrs["candidate"]:
        return
    trial.set_user_attr(TAKES_UP, before[-1].number)
    for key, document in before[-1].user_attrs.items():
        if key.startswith(_FOLD):
            trial.set_user_attr(key, document)


def in_order(results: Mapping[int, FoldResult]) -> list[FoldResult]:
    """The results by fold, up to the first that is missing."""
    return [results[fold] for fold in takewhile(results.__contains__, count())]


def entries(study: optuna.Study) -> list[Entry]:
    """All trials with at least one fold run, oldest first."""
    found = (_entry(trial) for trial in study.get_trials(deepcopy=False))
    return [entry for entry in found if entry is not None]


def entry_of(study: optuna.Study, number: int) -> Entry | None:
    """The trial of this number; None: it has no fold run."""
    return _entry(study.get_trials(deepcopy=False)[number])


def reasons(study: optuna.Study) -> dict[int, str]:
    """Why trials were stopped or failed, by number."""
    trials = study.get_trials(deepcopy=False)
    return {trial.number: said for trial in trials if (said := trial.user_attrs.get("reason"))}


def _entry(trial: FrozenTrial) -> Entry | None:
    results = in_order(fold_results(trial))
    if not results:
        return None
    candidate = Candidate.model_validate(trial.user_attrs["candidate"])
    known = trial.user_attrs
    return Entry(
        trial.number, known.get("baseline"), trial.state, candidate, tuple(results), known.get(SAME_AS)
    )


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
