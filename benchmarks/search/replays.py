"""Searches replayed: the real driver, pruner and sampler, with an engine that knows the answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from augsearch.search.engines.tasks import evaluate
from augsearch.search.race.race import Race, TrialDone
from augsearch.search.settings.settings import Settings
from augsearch.search.space.same import in_effect
from augsearch.search.space.space import Space
from augsearch.search.studies.study import open_study
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult
from benchmarks.recordings import Recording, candidates_of

Answer = Callable[[Candidate, int], tuple[float, float, float]]
"""What a fold of a candidate comes to: its accuracy, its log-loss (NaN: not known) and its image passes."""


class ReplayEngine:
    """Has every answer at once, and counts what it would have cost."""

    def __init__(self, answer: Answer, slots: int = 1) -> None:
        self.slots, self.images, self._answer = slots, 0.0, answer

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """The fold's result; a teacher takes no time."""
        assert function is evaluate
        future: Future[Any] = Future()
        future.set_result(self._fold(*args))
        return future

    def _fold(self, folder: Path, candidate: Candidate, fold: Fold) -> FoldResult:
        accuracy, log_loss, images = self._answer(candidate, fold.index)
        self.images += images
        return FoldResult(accuracy, log_loss, math.nan, 0.0, int(images), np.zeros(0, dtype=np.bool_))

    def close(self) -> None:
        """Nothing runs on."""


@dataclass(frozen=True)
class Answered:
    """In a workspace's place: folds whose answers are known need no images and no teachers."""

    folder: Path = Path("replay")
    trains_teachers: bool = False

    def left_teacher(self, fold: Fold) -> None:
        """There is none."""


@dataclass(frozen=True, slots=True)
class SearchState:
    """Where a search stands after one of its trials."""

    trials: int
    images: float
    """Image passes so far."""
    best: Candidate | None
    """The trial with the best mean of those that ran all their folds; None: none has yet."""
    found: Candidate | None
    """The best of those that are no baselines."""


def replay(
    study: optuna.Study, engine: ReplayEngine, settings: Settings, images: float = float("inf")
) -> Iterator[SearchState]:
    """Run the driver to its end, or until ``images`` passes are reached; a state for every trial."""
    ended: list[tuple[float, str | None, Candidate]] = []
    events = (event for event in Race(study, engine, Answered(), settings) if isinstance(event, TrialDone))
    for number, event in enumerate(events):
        trial = study.get_trials(deepcopy=False)[event.number]
        if event.state is TrialState.COMPLETE:
            candidate = Candidate.model_validate(trial.user_attrs["candidate"])
            ended.append((cast(float, trial.value), event.baseline, candidate))
        found = [one for one in ended if one[1] is None]
        yield SearchState(
            number + 1,
            engine.images,
            _first_best(ended),
            _first_best(found),
        )
        if engine.images >= images:
            return


def _first_best(ended: Sequence[tuple[float, str | None, Candidate]]) -> Candidate | None:
    return max(ended, key=lambda one: one[0])[2] if ended else None


def new_study(space: Space, pruner: BasePruner, *, baselines: bool = True) -> optuna.Study:
    """A study in memory, as a run would begin it."""
    storage = cast(Any, optuna.storages.InMemoryStorage())
    return open_study(storage, "replay", {}, space, pruner, warm_start=baselines)


@dataclass(frozen=True)
class FoldTable:
    """Every fold of every candidate, of which no two are the same; the baselines come first."""

    space: Space
    """What they were chosen from."""
    params: tuple[dict[str, Any], ...]
    candidates: tuple[Candidate, ...]
    baselines: int
    """How many there are."""
    accuracy: NDArray[np.float64]
    """(C, F)."""
    log_loss: NDArray[np.float64]
    """(C, F)."""
    images: NDArray[np.float64]
    """(C, F): image passes."""
    longer: NDArray[np.float64]
    """(B, F): accuracy of the baselines when they train for twice as long."""

    @classmethod
    def of(cls, recording: Recording, space: Space) -> FoldTable:
        """A recording's; of equal candidates the first is kept."""
        candidates = candidates_of(recording.params, recording.baselines, space)
        rows: dict[Candidate, int] = {}
        for row, candidate in enumerate(candidates):
            rows.setdefault(in_effect(candidate), row)
        kept = list(rows.values())
        return cls(
            space,
            tuple(recording.params[row] for row in kept),
            tuple(candidates[row] for row in kept),
            sum(recording.baselines[row] is not None for row in kept),
            recording.accuracy[kept],
            recording.log_loss[kept],
            recording.images[kept],
            recording.longer,
        )

    @cached_property
    def rows(self) -> dict[Candidate, int]:
        """The row of each candidate."""
        return {candidate: row for row, candidate in enumerate(self.candidates)}

    @property
    def gains_of_longer(self) -> NDArray[np.float64]:
        """(B,): what training for twice as long brings each baseline."""
        gains: NDArray[np.float64] = (self.longer - self.accuracy[: self.baselines]).mean(axis=1)
        return gains

    @property
    def means(self) -> NDArray[np.float64]:
        """(C,): over all folds."""
        means: NDArray[np.float64] = self.accuracy.mean(axis=1)
        return means


@dataclass(frozen=True, slots=True)
class RaceOutcome:
    """What a race over rows of a table came to."""

    images: float
    """Image passes."""
    best: int
    """The row with the best mean, a baseline's among them."""
    found: int | None
    """The best that is no baseline's; None: none of those ran all its folds."""


def race(table: FoldTable, count: int, pruner: BasePruner, seed: int, slots: int = 1) -> RaceOutcome:
    """Race the baselines, then ``count`` others, on all folds; ``seed`` says which, and in what order."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.arange(table.baselines, len(table.candidates)))[:count]
    folds = rng.permutation(table.accuracy.shape[1])
    # What is asked for is waiting, so the sampler has no say.
    settings = Settings.of(trials=table.baselines + len(rows), folds=len(folds), sampler="random")
    study = new_study(table.space, pruner)
    for row in rows:
        study.enqueue_trial(table.params[row])

    def answer(candidate: Candidate, fold: int) -> tuple[float, float, float]:
        place = table.rows[candidate], folds[fold]
        return float(table.accuracy[place]), float(table.log_loss[place]), float(table.images[place])

    engine = ReplayEngine(answer, slots)
    *_, last = replay(study, engine, settings)
    assert last.best is not None  # a baseline, if nothing else
    found = None if last.found is None else table.rows[last.found]
    return RaceOutcome(engine.images, table.rows[last.best], found)
