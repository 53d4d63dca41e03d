"""An engine that trains final models and decides how good they are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from augsearch.policies import Policy
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.engines.tasks import evaluate_final
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.workspace.folds import FoldResult


class FinalEngine(InlineEngine):
    """Trains here, and gives final models the accuracies that a test wants."""

    def __init__(self) -> None:
        self.asked: list[tuple[Policy, int]] = []
        self.most = 1_000_000
        self.fails = False
        self.is_good: Callable[[Policy], bool] = lambda policy: False

    def submit(self, function: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(function, *args, **kwargs)
        if function is not evaluate_final:
            return future
        if len(self.asked) == self.most:
            raise KeyboardInterrupt
        if self.fails:
            failed: Future[Any] = Future()
            failed.set_exception(TrainingDivergedError("the loss became nan"))
            return failed
        policy = args[0].file.policy
        self.asked.append((policy, args[0].seed))
        result: FoldResult = future.result()
        hits = 0.9 if self.is_good(policy) else 0.5
        # The same images each time, a few more or fewer by the seed.
        correct = np.arange(len(result.correct)) < hits * len(result.correct) - args[0].seed % 7 % 2
        made: Future[Any] = Future()
        made.set_result(FoldResult(float(correct.mean()), 0.5, 0.05, 1.0, result.images, correct))
        return made
