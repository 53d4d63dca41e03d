"""``augsearch run --refine``: N and M around the winner, tuned on the network that ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import optuna

from augsearch.policies import MAX_MAGNITUDE, UserError
from augsearch.policies.errors import first_line
from augsearch.search.console import Display
from augsearch.search.engines.registry import opened
from augsearch.search.engines.tasks import evaluate_final
from augsearch.search.final.scored import A_WEEK, ScoredFinals, remove_model
from augsearch.search.pipelines.trainings import Training, run_trainings
from augsearch.search.statistics.paired import compare
from augsearch.search.studies.refinement import (
    ATTRIBUTE,
    Magnitude,
    Point,
    Refinement,
    refinement_in_words,
)
from augsearch.search.studies.study import Entry
from augsearch.trainers.evaluation.metrics import METRICS
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import FoldResult, Stage

SCREENED, FRESH = 2, 5
"""Seeds on which all points are trained; and others, on which the best and the winner are compared."""
FURTHER, MOST_OPS = 4, 4
"""How far M goes to either side; and the most operations, as in the search."""

Place = tuple[int, Magnitude]
"""N and M."""


def refine(study: optuna.Study, entry: Entry, finals: ScoredFinals, display: Display) -> None:
    """Tune N and M of the winner, ``entry``, on the final network, and keep what came of it in ``study``.

    All points around it are trained as final models with the same seeds. The one that looks best is compared
    with the winner on other seeds, because it was chosen by those. What is trained already is not trained
    again. The test part is not read.

    Raises:
        UserError: a training can't be run.
    """
    policy = entry.candidate.policy
    if not policy.num_ops:
        display.line(f"{entry.name} has no operations, so there are no N and M to refine")
        return
    if not policy.draws_names:
        display.line(f"{entry.name} has operations with strengths of their own, so there is no M to refine")
        return
    job = _Refining(study, entry, finals, display)
    winner: Place = (policy.num_ops, policy.magnitude)
    places = around(winner)
    job.train([winner, *places], range(SCREENED))
    best = max(places, key=lambda place: fmean(job.scores(place, range(SCREENED))))
    fresh, lead = range(SCREENED, SCREENED + FRESH), None
    seeds = range(SCREENED)
    if fmean(job.scores(best, seeds)) > fmean(job.scores(winner, seeds)):
        job.train([best, winner], fresh)
        first, second = (job.results(place, fresh) for place in (best, winner))
        lead = compare(_words(best), first, _words(winner), second)
    ranked = sorted(places, key=lambda place: -fmean(job.scores(place, seeds)))
    points = [Point(*place, job.scores(place, seeds)) for place in (winner, *ranked)]
    found = Refinement(entry.number, points[0], tuple(points[1:]), lead)
    study.set_user_attr(ATTRIBUTE, found.to_json())
    display.line(refinement_in_words(found, METRICS[finals.settings.search.metric]))


def around(place: Place) -> list[Place]:
    """The points around N and M within their ranges; a random M stays random."""
    num_ops, magnitude = place
    counts = [n for n in (num_ops - 1, num_ops, num_ops + 1) if 1 <= n <= max(MOST_OPS, num_ops)]
    magnitudes: Sequence[Magnitude] = [magnitude]
    if isinstance(magnitude, int):
        steps = (magnitude - FURTHER, magnitude, magnitude + FURTHER)
        magnitudes = sorted({min(max(step, 0), MAX_MAGNITUDE) for step in steps})
    return [one for one in product(counts, magnitudes) if one != place]


def _words(place: Place) -> str:
    return f"N = {place[0]}, M = {place[1]}"


@dataclass(frozen=True, eq=False)
class _Refining:
    """One refinement: what its steps share."""

    study: optuna.Study
    entry: Entry
    finals: ScoredFinals
    display: Display

    def train(self, places: Sequence[Place], seeds: range) -> None:
        """Run what is missing of these points and seeds."""
        missing = [(place, seed) for seed in seeds for place in places if self._known(place, seed) is None]
        if not missing:
            return
        total = len(places) * len(seeds)
        self.display.line(
            f"refining N and M of {self.entry.name} on {self.finals.plan(self.entry.candidate).model}: "
            f"{len(missing)} final trainings of {len(places)} points with {len(seeds)} seeds"
        )
        settings = self.finals.settings
        engine_settings = settings.engine.model_copy(
            update={"fold_timeout": max(A_WEEK, settings.engine.fold_timeout)}
        )
        with (
            opened(engine_settings) as engine,
            self.display.bar("refining", total, total - len(missing)) as bar,
        ):
            for (place, seed), result in run_trainings(map(self._task, missing), engine):
                if not isinstance(result, FoldResult):
                    raise UserError(
                        f"{_words(place)} could not be trained: {first_line(result)}; run the same command "
                        "again, or without --refine"
                    )
                self.study.set_user_attr(self._key(place, seed), result.to_json())
                remove_model(self.finals.job(self._candidate(place), seed).path)
                bar.advance(1, _words(place))

    def results(self, place: Place, seeds: range) -> list[FoldResult]:
        """Those that are known."""
        known = [self._known(place, seed) for seed in seeds]
        return [result for result in known if result is not None]

    def scores(self, place: Place, seeds: range) -> tuple[float, ...]:
        """By seed."""
        return tuple(result.score for result in self.results(place, seeds))

    def _candidate(self, place: Place) -> Candidate:
        whole = self.entry.candidate
        changed = {"num_ops": place[0], "magnitude": place[1]}
        return whole.model_copy(update={"policy": whole.policy.model_copy(update=changed)})

    def _task(self, which: tuple[Place, int]) -> Training[tuple[Place, int]]:
        job = self.finals.job(self._candidate(which[0]), which[1])
        scored, metric = self.finals.images(Stage.CONFIRMATION), self.finals.settings.search.metric
        return Training(which, evaluate_final, (job, scored, metric))

    def _key(self, place: Place, seed: int) -> str:
        # The name of the model's file follows from all that decides the training.
        return f"{ATTRIBUTE} {self.finals.job(self._candidate(place), seed).path.stem}"

    def _known(self, place: Place, seed: int) -> FoldResult | None:
        document = self.study.user_attrs.get(self._key(place, seed))
        return None if document is None else FoldResult.from_json(document)
