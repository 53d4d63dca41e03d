"""The pictures of a final training: its test, its teacher, its labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import Distillation, Semi
from augsearch.search.inputs.run_data import Data
from augsearch.trainers.data.unlabeled.dataset import Unlabeled
from augsearch.trainers.data.views import Pixels
from augsearch.trainers.semi.labeling import label
from augsearch.trainers.semi.techniques import technique_of

if TYPE_CHECKING:  # it imports torch, which the driver of a search does without
    from augsearch.trainers.tasks.final import FinalModel, Tested


SOFTENED_AT = (1.0, 2.0, 4.0, 10.0)
"""The temperatures at which the figure shows what the teacher knows."""

MOST_DRAWN = 5_000
"""Unlabeled images that a final model is asked about for the sheet, where its training labeled none."""


def draw_test(data: Data, pixels: Pixels, tested: Tested, output: Path) -> list[Path]:
    """The final model's figures: what it confuses, how sure it is, where it errs."""
    from augsearch.search.figures import model as model_figures

    images, classes = data.images, data.images.classes
    test = data.splits.test
    labels = images.labels[test]
    paths = {name: output / f"{name}.png" for name in ("confusion", "reliability", "mistakes")}
    model_figures.confusion(labels, tested.logits.argmax(axis=1), classes, paths["confusion"])
    model_figures.reliability(tested.logits, labels, paths["reliability"])

    def shown(index: int) -> Any:
        return next(iter(pixels.clean(test[index : index + 1])))[0]

    model_figures.worst_mistakes(shown, labels, tested.logits, classes, paths["mistakes"])
    return list(paths.values())


def draw_teacher(data: Data, pixels: Pixels, teacher: Path, distillation: Distillation, output: Path) -> Path:
    """Draw what the teacher says, softened, of images that it has not learned from."""
    from augsearch.search.figures import model as model_figures
    from augsearch.trainers.evaluation.inference import predict
    from augsearch.trainers.system.devices import device_here
    from augsearch.trainers.tasks.teacher import load_teacher

    chosen = data.splits.confirmation
    device = device_here(data.workspace.proxy.device)
    network = load_teacher(teacher, data.images.classes).to(device)
    path = output / "teacher.png"

    def shown(index: int) -> Any:
        return next(iter(pixels.clean(chosen[index : index + 1])))[0]

    model_figures.softened(
        shown,
        data.images.labels[chosen],
        predict(network, pixels.clean(chosen), device),
        data.images.classes,
        sorted({*SOFTENED_AT, round(distillation.temperature, 1)}),
        path,
    )
    return path


@dataclass(frozen=True, slots=True, eq=False)
class _Labels:
    """What was made of unlabeled images in the end."""

    images: NDArray[np.int64]
    """(N,): which of the unlabeled images."""
    labels: NDArray[np.int64]
    """(N,): their likeliest classes, −1 where one can't be read."""
    confidence: NDArray[np.float32]
    """(N,): how likely those are, 0 to 1."""
    learned: NDArray[np.int64]
    """The rows among these that are learned from, or are as sure as those must be."""
    title: str


def draw_labels(unlabeled: Unlabeled, final: FinalModel, semi: Semi, data: Data, output: Path) -> list[Path]:
    """The sheet and the list of what was made of unlabeled images, and how that changed; returns the files.

    Where the training labeled none by itself, they show what the final model says of a sample.
    """
    from augsearch.search.figures.label_rounds import label_rounds
    from augsearch.search.figures.label_table import write_labels
    from augsearch.search.figures.labels import PseudoLabels, pseudo_labels

    classes = data.images.classes
    files = [output / "pseudo-labels.png", output / "pseudo-labels.csv"]
    # Each student learned from the labeling of its number; those after the best one were in vain.
    students = technique_of(semi).most_students
    labelings = final.labelings[: final.round] if students else final.labelings
    threshold: float | None = semi.model_dump().get("threshold")
    if labelings:
        last = labelings[-1]
        title = "What the training learned from in the end"
        drawn = _Labels(unlabeled.chosen, last.labels, last.confidence, last.chosen, title)
    else:
        drawn = _predicted(unlabeled, final, threshold or 0.0, data)
    labels, confidence, learned, chosen = drawn.labels, drawn.confidence, drawn.learned, drawn.images
    truth = unlabeled.truth[chosen]

    def shown(index: int) -> Any:
        return next(iter(unlabeled.pixels.clean(chosen[index : index + 1])))[0]

    pseudo = PseudoLabels(labels, confidence, learned, classes, truth)
    pseudo_labels(shown, pseudo, files[0], threshold=threshold, title=drawn.title)
    listed = pseudo if (truth >= 0).any() else replace(pseudo, truth=None)
    write_labels(files[1], lambda index: unlabeled.files(int(chosen[index])), listed)
    if label_rounds(labelings, classes, output / "pseudo-labels-rounds.png"):
        files.append(output / "pseudo-labels-rounds.png")
    return files


def _predicted(unlabeled: Unlabeled, final: FinalModel, threshold: float, data: Data) -> _Labels:
    """What the final model says of unlabeled images, of a sample where they are many."""
    from augsearch.trainers.models.saved import load_model
    from augsearch.trainers.system.devices import device_here

    chosen = unlabeled.chosen
    if len(chosen) > MOST_DRAWN:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_DRAWN, replace=False))
    device = device_here(data.workspace.proxy.device)
    model, _ = load_model(final.path)
    readable, predictions = label(model.to(device), replace(unlabeled, chosen=chosen), device)
    learned = np.flatnonzero(predictions.confidence >= threshold)
    title = "What the final model says of unlabeled images"
    return _Labels(readable, predictions.hard, predictions.confidence, learned, title)
