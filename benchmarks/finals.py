"""Final models as ``augsearch`` trains them, scored on images that they have not seen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augsearch.policies import PolicyFile
from augsearch.trainers import FinalPlan, ImageData, Splits, open_images
from augsearch.trainers.data.views import Decoded
from augsearch.trainers.tasks.final_job import FinalJob, SelectionSet
from augsearch.trainers.tasks.final_score import train_and_score
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import FoldResult


@dataclass(frozen=True)
class Place:
    """A data set, and where what is made of it lies; a process is sent this, not the pixels."""

    source: str
    work: Path

    def images(self, side: int) -> ImageData:
        """All images at ``side`` pixels."""
        return open_images(self.source, image_size=side, cache=self.work / "cache")


def final_scored(
    workspace: Workspace, data: ImageData, splits: Splits, file: PolicyFile, plan: FinalPlan, seed: int
) -> FoldResult:
    """A final model, trained on the training images; the validation images pick its epoch by the metric of
    ``plan``, and all others that it hasn't seen score it."""
    pixels = Decoded(data.images)
    held_out = np.concatenate((splits.confirmation, splits.test))
    final = FinalJob(
        workspace.folder,
        file,
        plan,
        pixels,
        splits.train,
        workspace.folder / "model.safetensors",
        selection=SelectionSet(pixels, splits.validation, data.labels[splits.validation]),
        seed=seed,
    )
    return train_and_score(final, SelectionSet(pixels, held_out, data.labels[held_out]), plan.metric)


def figures(result: FoldResult, began: float) -> dict[str, Any]:
    """What an ``Outcome`` says of a training; ``began``: the processor's seconds before it."""
    return {
        "accuracy": result.accuracy,
        "log_loss": round(result.log_loss, 5),
        "tested": len(result.correct),
        "passes": result.images,
        "seconds": round(result.seconds, 2),
        "cpu_seconds": round(time.process_time() - began, 2),
    }
