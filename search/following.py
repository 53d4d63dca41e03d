"""A final training as a person and MLflow follow it: its epochs, labelings and rounds."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from augsearch.search.display import Bar, Display
from augsearch.search.semi import labeled_in_words, log_labeling, log_round, round_in_words
from augsearch.search.tracking import Tracker

if TYPE_CHECKING:
    from augsearch.trainers.final import FinalEpoch, FinalModel, FinalPlan
    from augsearch.trainers.rounds import Labeling
    from augsearch.trainers.students import RoundDone

    Following = Generator[FinalEpoch | Labeling | RoundDone, None, FinalModel]


class Follower:
    """Shows one training and logs it."""

    def __init__(
        self, plan: FinalPlan, display: Display, tracker: Tracker | None, key: str, classes: Sequence[str]
    ) -> None:
        """``key`` tells the training's rounds from another's in MLflow."""
        self._plan, self._display, self._tracker = plan, display, tracker
        self._key, self._classes = key, classes
        self._parts = plan.recipe.accumulation
        self._bar: Bar | None = None
        self._in_rounds = False
        self.epochs = 0
        """That were seen."""

    def labeled(self, done: int, of: int) -> None:
        """So many unlabeled images are labeled."""
        if self._bar is not None:
            self._bar.advance(0, f"labeling: {done:,} of {of:,} images")

    def follow(self, training: Following) -> FinalModel:
        """To its end."""
        from augsearch.trainers.rounds import Labeling
        from augsearch.trainers.students import RoundDone

        epochs = self._plan.recipe.epochs
        with self._display.bar("final training", epochs) as self._bar:
            while True:
                try:
                    event = next(training)
                except StopIteration as stop:
                    final: FinalModel = stop.value
                    break
                if isinstance(event, RoundDone):
                    self._round(event)
                elif isinstance(event, Labeling):
                    self._labeling(event)
                else:
                    self._epoch(event)
        if final.epochs < epochs:
            self._display.line(
                f"stopped early, after {final.epochs} epochs: no better one for {self._plan.patience}"
            )
        return final

    def _round(self, done: RoundDone) -> None:
        self._in_rounds = True
        self._display.line(round_in_words(done))
        if self._tracker is not None:
            log_round(self._tracker, self._key, done, self._classes)

    def _labeling(self, labeling: Labeling) -> None:
        self._display.line(labeled_in_words(labeling))
        if self._tracker is not None and not self._in_rounds:  # else it is part of a round
            log_labeling(self._tracker, self._key, labeling, self._classes)

    def _epoch(self, epoch: FinalEpoch) -> None:
        assert self._bar is not None
        plan, done = self._plan, epoch.training.epoch
        if not self.epochs and epoch.loaded is not None:
            self._display.line(f"weights: {epoch.loaded.describe()}")
        if not self.epochs and done > 1:
            self._display.line(f"taken up after epoch {done - 1}")
        self.epochs += 1
        if epoch.training.accumulation > self._parts:
            self._parts = epoch.training.accumulation
            self._display.line(
                f"memory ran out: batches of {plan.recipe.batch_size} go through in {self._parts} parts now; "
                "the gradients are the same"
            )
        self._bar.reach(done, plan.recipe.epochs)
        self._bar.advance(0, f"held-out accuracy {100 * epoch.validation.accuracy:.1f} %")
        if self._tracker is not None:
            # The steps of students follow those of the rounds before them.
            self._tracker.epoch(epoch.round * plan.recipe.epochs + done, _epoch_metrics(epoch))


def _epoch_metrics(epoch: FinalEpoch) -> dict[str, float]:
    training, validation = epoch.training, epoch.validation
    metrics = {
        "final_train_loss": training.loss,
        "final_learning_rate": training.learning_rate,
        "final_images_per_second": training.images / training.seconds,
        "final_held_out_accuracy": validation.accuracy,
        "final_held_out_macro_f1": validation.macro_f1,
        "final_held_out_log_loss": validation.log_loss,
        "final_held_out_ece": validation.ece,
    }
    if training.unlabeled:
        metrics |= {
            "final_unlabeled_share": training.unlabeled / training.images,
            "final_unlabeled_used": training.used,
        }
    if len(training.rates) > 1:
        metrics |= {f"learning_rate/{name}": rate for name, rate in training.rates.items()}
    return metrics
