"""The model that ships: trained from a policy file on all that may be trained on, tested once."""

from __future__ import annotations

import copy
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from augsearch.policies import PolicyFile
from augsearch.trainers.folds import Workspace
from augsearch.trainers.loop import EpochResult, LabeledImages, Recipe, train
from augsearch.trainers.models import ModelSpec, add_to_card, build_model, load_model, save_model
from augsearch.trainers.proxy import distillation_logits, resolve_device, spec_for
from augsearch.trainers.scores import Scores, predict, score
from augsearch.trainers.splits import Splits


@dataclass(frozen=True, slots=True)
class FinalEpoch:
    """One epoch of the final training and how the model did after it."""

    training: EpochResult
    validation: Scores


@dataclass(frozen=True, slots=True)
class FinalModel:
    """The final model, not tested yet."""

    path: Path
    spec: ModelSpec
    best_epoch: int
    validation: Scores
    """Of the best epoch, on the images that chose it: flattering."""
    trained_on: int
    """Training images."""
    images: int
    """Image passes."""
    seconds: float


def final_training_part(splits: Splits, limit: int | None) -> NDArray[np.int64]:
    """Train and validation together; with ``limit``, at most that many training images, so train alone."""
    return splits.train if limit is not None else np.sort(np.concatenate((splits.train, splits.validation)))


def train_final(
    workspace: Workspace,
    splits: Splits,
    file: PolicyFile,
    *,
    model_name: str,
    epochs: int,
    limit: int | None,
    path: Path,
    card: dict[str, JsonValue] | None = None,
) -> Generator[FinalEpoch, None, FinalModel]:
    """Train as ``file`` says and keep the epoch that is best on the confirmation part.

    Yields every epoch; returns the model and leaves it at ``path`` (``.safetensors``) with its card beside
    it. ``epochs`` is the whole one-cycle schedule. The test part is not touched.
    """
    started = time.perf_counter()
    device = resolve_device(workspace.proxy.device)
    data = workspace.data
    chosen = final_training_part(splits, limit)
    teacher = distillation_logits(workspace, file.training.distillation)
    labeled = LabeledImages(
        data.images[chosen],
        data.labels[chosen],
        len(data.classes),
        None if teacher is None else teacher[chosen],
    )
    spec = spec_for(workspace, model_name)
    weights_seed, training_seed = (
        np.random.SeedSequence([workspace.proxy.seed, 99]).generate_state(2).tolist()
    )
    model = build_model(spec, weights_seed).to(device)
    best: FinalEpoch | None = None
    best_state: dict[str, torch.Tensor] = {}
    passes = 0
    for epoch in train(
        model,
        labeled,
        file.policy,
        Recipe(epochs=epochs),
        seed=training_seed,
        device=device,
        distillation=file.training.distillation,
    ):
        passes += epoch.images
        held_out = score(
            predict(model, data.images[splits.confirmation], device), data.labels[splits.confirmation]
        )
        result = FinalEpoch(epoch, held_out)
        if best is None or _better(held_out, best.validation):
            best, best_state = result, copy.deepcopy(model.state_dict())
        yield result
    assert best is not None
    model.load_state_dict(best_state)
    figures: dict[str, JsonValue] = {
        "best_epoch": best.training.epoch,
        "epochs": epochs,
        "trained_on": len(chosen),
        "validation_accuracy": best.validation.accuracy,
    }
    save_model(model, spec, path, {**(card or {}), "training": figures})
    return FinalModel(
        path=path,
        spec=spec,
        best_epoch=best.training.epoch,
        validation=best.validation,
        trained_on=len(chosen),
        images=passes,
        seconds=time.perf_counter() - started,
    )


def test_final(workspace: Workspace, splits: Splits, final: FinalModel) -> Scores:
    """Score the final model on the test part, and write the figures on its card.

    The only function that looks at the test part. Say on record that it is read before calling this.
    """
    device = resolve_device(workspace.proxy.device)
    model, _ = load_model(final.path)
    data = workspace.data
    test = score(predict(model.to(device), data.images[splits.test], device), data.labels[splits.test])
    add_to_card(
        final.path,
        {
            "test": {
                "images": len(splits.test),
                "accuracy": test.accuracy,
                "log_loss": test.log_loss,
                "ece": test.ece,
            }
        },
    )
    return test


def _better(scores: Scores, best: Scores) -> bool:
    """More right, and where that ties, surer of it."""
    return (scores.accuracy, -scores.log_loss) > (best.accuracy, -best.log_loss)
