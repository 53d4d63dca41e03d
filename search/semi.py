"""Unlabeled images in a final training: found, told of as they are labeled, logged and drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augsearch.policies import PolicyFile, Semi, UserError
from augsearch.search.data import Data, find_unlabeled
from augsearch.search.display import Display
from augsearch.search.settings import Settings
from augsearch.search.space import TECHNIQUES
from augsearch.search.tracking import Tracker

if TYPE_CHECKING:
    from augsearch.trainers.final import FinalModel
    from augsearch.trainers.pixels import Pixels
    from augsearch.trainers.rounds import Labeling
    from augsearch.trainers.students import RoundDone
    from augsearch.trainers.unlabeled import Unlabeled

MOST_DRAWN = 5_000
"""Unlabeled images that a final model is asked about for the sheet, where its training labeled none."""

MOST_CLASSES = 200
"""With more classes than these the runs of rounds say only how many images all of them gained."""


def open_for_final(
    settings: Settings, data: Data, file: PolicyFile, pixels: Pixels, display: Display
) -> Unlabeled | None:
    """The unlabeled images as the final training takes them; None where it takes none.

    Raises:
        UserError: there are none, and the policy file wants some.
    """
    semi = file.training.semi
    if semi is None:
        return None
    how = {"side": pixels.side, "crop_scale": settings.crop_scale, "target": data.target}
    found = find_unlabeled(settings, data.images, data.splits, display, **how)
    if found is None:
        where = settings.data or "the embedded data set"
        raise UserError(
            f"the policy learns from unlabeled images ({TECHNIQUES[semi.technique]}), and {where} has none: "
            "give --unlabeled FOLDER, or --semi none"
        )
    left_out = f", {found.refused:,} left out as above" if found.refused and data.unlabeled else ""
    if found.refused and not data.unlabeled:
        left_out = f", {found.refused:,} left out that are also in validation, confirmation or test"
    display.line(
        f"unlabeled images: {len(found.chosen):,} ({found.name}){left_out}, by {TECHNIQUES[semi.technique]}"
    )
    return found


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


def round_in_words(done: RoundDone) -> str:
    """One line on a round of self-training."""
    who = f"student {done.round}" if done.round else "first teacher"
    verdict = "the best so far" if done.best else "no better: the rounds end"
    return (
        f"{who} ({done.network}): held-out accuracy {100 * done.validation.accuracy:.1f} % "
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
            # What MLflow takes in the name of a metric.
            plain = re.sub(r"[^\w\-. /:]", "_", name)
            metrics[f"gained/{plain}"] = float(labeling.gained[label])
            metrics[f"learned_from/{plain}"] = float(labeling.by_class[label])
    return metrics


def draw_labels(unlabeled: Unlabeled, final: FinalModel, semi: Semi, data: Data, output: Path) -> list[Path]:
    """The sheet and the list of what was made of unlabeled images, and how that changed; returns the files.

    Where the training labeled none by itself, they show what the final model says of a sample.
    """
    from augsearch.search.label_figures import gained, pseudo_labels, write_labels
    from augsearch.trainers.devices import resolve_device
    from augsearch.trainers.labeling import label
    from augsearch.trainers.models import load_model

    classes, chosen = data.images.classes, unlabeled.chosen
    files = [output / "pseudo-labels.png", output / "pseudo-labels.csv"]
    # Each student learned from the labeling of its number; those after the best one were in vain.
    in_rounds = semi.technique == "self-training"
    labelings = final.labelings[: final.round] if in_rounds else final.labelings
    title = "What the training learned from in the end"
    threshold: float | None = semi.threshold
    if labelings:
        last = labelings[-1]
        labels, confidence, learned = last.labels, last.confidence, last.chosen
    else:
        if len(chosen) > MOST_DRAWN:
            chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_DRAWN, replace=False))
        device = resolve_device(data.workspace.proxy.device)
        model, _ = load_model(final.path)
        readable, guesses = label(model.to(device), replace(unlabeled, chosen=chosen), device)
        chosen = readable
        labels, confidence = guesses.hard, guesses.confidence
        if semi.technique == "distillation":
            threshold = None
        learned = np.flatnonzero(confidence >= (threshold or 0.0))
        title = "What the final model says of unlabeled images"
    truth = unlabeled.truth[chosen]

    def shown(index: int) -> Any:
        return next(iter(unlabeled.pixels.clean(chosen[index : index + 1])))[0]

    pseudo_labels(
        shown, labels, confidence, learned, classes, files[0], truth=truth, threshold=threshold, title=title
    )
    write_labels(
        files[1],
        lambda index: unlabeled.files(int(chosen[index])),
        labels,
        confidence,
        learned,
        classes,
        truth=truth if (truth >= 0).any() else None,
    )
    if gained(labelings, classes, output / "pseudo-labels-rounds.png"):
        files.append(output / "pseudo-labels-rounds.png")
    return files
