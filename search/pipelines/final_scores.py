"""Final models that are trained to be compared: what is missing is run, and each result kept in the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.search.console import Display
from augsearch.search.engines.registry import opened
from augsearch.search.engines.tasks import evaluate_final
from augsearch.search.final.scored import A_WEEK, ScoredFinals
from augsearch.search.pipelines.trainings import Training, run_trainings
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import FoldResult, Stage


@dataclass(frozen=True, eq=False)
class FinalScores:
    """The scores of final models, by candidate and seed, as far as they are known."""

    study: optuna.Study
    finals: ScoredFinals
    kept_as: str
    """Begins the names of the study's attributes that hold results."""
    flag: str
    """What a person leaves out to go on without."""

    def missing(self, candidates: Mapping[str, Candidate], seeds: Sequence[int]) -> list[tuple[str, int]]:
        """The names and seeds that are still to be trained, seed by seed."""
        return [
            (name, seed)
            for seed in seeds
            for name, candidate in candidates.items()
            if self._known(candidate, seed) is None
        ]

    def train(self, candidates: Mapping[str, Candidate], seeds: Sequence[int], display: Display) -> None:
        """Run what is missing; ``candidates``: by what a person calls them.

        Raises:
            UserError: a training can't be run; what others came to is kept.
        """
        missing = self.missing(candidates, seeds)
        if not missing:
            return
        total, engine_settings = len(candidates) * len(seeds), self.finals.settings.engine
        longer = {"fold_timeout": max(A_WEEK, engine_settings.fold_timeout)}
        with (
            opened(engine_settings.model_copy(update=longer), display.line) as engine,
            display.bar("comparing final models", total, total - len(missing)) as bar,
        ):
            tasks = [self._task(name, candidates[name], seed) for name, seed in missing]
            for (name, seed), result in run_trainings(tasks, engine, self.finals.data.workspace):
                if not isinstance(result, FoldResult):
                    raise UserError(
                        f"{name} could not be trained: {first_line(result)}; run the same command again, "
                        f"or {self.flag}"
                    )
                self.study.set_user_attr(self._key(candidates[name], seed), result.to_json())
                bar.advance(1, name)

    def results(self, candidate: Candidate, seeds: Sequence[int]) -> list[FoldResult]:
        """Those that are known."""
        known = [self._known(candidate, seed) for seed in seeds]
        return [result for result in known if result is not None]

    def scores(self, candidate: Candidate, seeds: Sequence[int]) -> tuple[float, ...]:
        """By seed."""
        return tuple(result.score for result in self.results(candidate, seeds))

    def _task(self, name: str, candidate: Candidate, seed: int) -> Training[tuple[str, int]]:
        job, scored = self.finals.job(candidate, seed), self.finals.images(Stage.CONFIRMATION)
        return Training((name, seed), evaluate_final, (job, scored, self.finals.settings.search.metric))

    def _key(self, candidate: Candidate, seed: int) -> str:
        # The name of the model's file follows from all that decides the training.
        return f"{self.kept_as} {self.finals.job(candidate, seed).path.stem}"

    def _known(self, candidate: Candidate, seed: int) -> FoldResult | None:
        document = self.study.user_attrs.get(self._key(candidate, seed))
        return None if document is None else FoldResult.from_json(document)
