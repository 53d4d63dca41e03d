"""A final training as a person and MLflow follow it: its epochs, labelings and rounds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from augsearch.search.console import Bar, Display
from augsearch.search.tracking.runs import Tracker
from augsearch.trainers.evaluation.metrics import ACCURACY, METRICS, Metric, Scores
from augsearch.trainers.semi.labeler import Labeling

if TYPE_CHECKING:  # they import torch, which the driver of a search does without
    from augsearch.trainers.tasks.final import FinalEpoch, FinalModel
    from augsearch.trainers.tasks.final_job import FinalPlan
    from augsearch.trainers.tasks.self_training import RoundDone, StudentTraining


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
        """Those that were shown."""

    def labeled(self, done: int, of: int) -> None:
        """Show that so many unlabeled images are labeled."""
        if self._bar is not None:
            self._bar.advance(0, f"labeling: {done:,} of {of:,} images")

    def follow(self, training: StudentTraining) -> FinalModel:
        """Show and log ``training`` to its end."""
        from augsearch.trainers.tasks.self_training import RoundDone

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
        self._display.line(round_in_words(done, METRICS[self._plan.metric]))
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
        held_out = held_out_in_words(epoch.validation, METRICS[plan.metric])
        self._bar.advance(0, held_out)
        self._display.detail(f"epoch {done:3d}  {held_out}")
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


MOST_CLASSES = 200
"""With more classes than these the runs of rounds say only how many images all of them gained."""


def labeled_in_words(labeling: Labeling) -> str:
    """One line on a labeling."""
    words = (
        f"labeled {int((labeling.labels >= 0).sum()):,} images, {len(labeling.chosen):,} of them learned from"
    )
    if unreadable := int((labeling.labels < 0).sum()):
        words += f" ({unreadable:,} more can't be read)"
    if labeling.accuracy is not None:
        words += f", {100 * labeling.accuracy:.1f} % of those rightly"
    if labeling.changed is not None:
        words += f"; {100 * labeling.changed:.1f} % of the labels changed"
    return words


def held_out_in_words(scores: Scores, metric: Metric) -> str:
    """How a model does on what selects the epoch, by ``metric``."""
    return f"held-out {metric.label} {metric.shown(metric.score(scores))}"


def round_in_words(done: RoundDone, metric: Metric = ACCURACY) -> str:
    """One line on a round of self-training, which ``metric`` compares with the others."""
    who = f"student {done.round}" if done.round else "first teacher"
    verdict = "the best so far" if done.best else "no better: the rounds end"
    return (
        f"{who} ({done.network}): {held_out_in_words(done.validation, metric)} "
        f"(epoch {done.best_epoch} of {done.epochs}), {verdict}"
    )


def log_round(tracker: Tracker, training: str, done: RoundDone, classes: Sequence[str]) -> None:
    """Log a round as a run below the parent; ``training`` tells it from another training's."""
    metrics = {
        "held_out_accuracy": done.validation.accuracy,
        "held_out_macro_f1": done.validation.macro_f1,
        "held_out_log_loss": done.validation.log_loss,
        "held_out_ece": done.validation.ece,
        "best_epoch": done.best_epoch,
        "epochs": done.epochs,
        "images": done.images,
        "unlabeled_images": done.unlabeled,
        "seconds": done.seconds,
    }
    if done.labeling is not None:
        metrics |= labeling_metrics(done.labeling, classes)
    name = f"student {done.round}" if done.round else "first teacher"
    tracker.child(name, f"{training} round {done.round}", metrics, {"network": done.network})


def log_labeling(tracker: Tracker, training: str, labeling: Labeling, classes: Sequence[str]) -> None:
    """Log a labeling within a training as a run below the parent."""
    metrics = {"after_epochs": float(labeling.after), "seconds": labeling.seconds}
    name = f"labeling {labeling.number}"
    tracker.child(name, f"{training} {name}", metrics | labeling_metrics(labeling, classes))


def labeling_metrics(labeling: Labeling, classes: Sequence[str]) -> dict[str, float]:
    """The figures of a labeling: how many, what each class gained, how many changed, how many are right."""
    metrics = {
        "labeled": float((labeling.labels >= 0).sum()),
        "learned_from": float(len(labeling.chosen)),
    }
    if labeling.changed is not None:
        metrics["labels_changed"] = labeling.changed
    if labeling.accuracy is not None:
        metrics["pseudo_label_accuracy"] = labeling.accuracy
    if len(classes) <= MOST_CLASSES:
        for label, name in enumerate(classes):
            # Characters that MLflow allows in the name of a metric.
            plain = re.sub(r"[^\w\-. /:]", "_", name)
            metrics[f"gained/{plain}"] = float(labeling.gained[label])
            metrics[f"learned_from/{plain}"] = float(labeling.by_class[label])
    return metrics
