"""The model that ships: trained from a policy file on all that may be trained on, tested once."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from augsearch.policies import PolicyFile, UserError
from augsearch.trainers.decode import pillow_without_warnings
from augsearch.trainers.devices import quickest_threads, resolve_device
from augsearch.trainers.distributed import agreed, device_of, others, sharing_gradients
from augsearch.trainers.folds import Workspace, content_of, open_workspace
from augsearch.trainers.inputs import spec_for
from augsearch.trainers.learner import Learner
from augsearch.trainers.loop import EpochResult, Shard, train
from augsearch.trainers.models import ModelSpec, add_to_card, load_model, prepared, save_model
from augsearch.trainers.pixels import Pixels
from augsearch.trainers.recipe import Recipe
from augsearch.trainers.scores import Logits, Scores, predict, score
from augsearch.trainers.splits import Splits
from augsearch.trainers.teachers import listened_to
from augsearch.trainers.weights import Loaded


class FinalPlan(BaseModel):
    """How the final model is trained, beside what the policy file says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    weights: str = "none"
    """``none``, ``hub`` or a file."""
    input_size: int | None = None
    """Side to which the network resizes the images; None: what suits it."""
    recipe: Recipe = Recipe()
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better one after which it stops; None: it runs the whole schedule."""
    processes: int = Field(default=1, ge=1)
    """How many share the training, each with a GPU of its own (DDP)."""


@dataclass(frozen=True, slots=True)
class FinalEpoch:
    """One epoch of the final training and how the model did after it."""

    training: EpochResult
    validation: Scores
    best: bool
    """Whether it is the best so far, and so the one that is kept."""
    loaded: Loaded | None
    """What of the weights was loaded; None where it is trained from scratch."""


@dataclass(frozen=True, slots=True)
class FinalModel:
    """The final model, not tested yet."""

    path: Path
    spec: ModelSpec
    best_epoch: int
    epochs: int
    """Trained; fewer than planned where it stopped early."""
    validation: Scores
    """Of the best epoch, on the images that chose it: flattering."""
    trained_on: int
    """Training images."""
    images: int
    """Image passes."""
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """The final model on the test part."""

    scores: Scores
    logits: Logits
    """(N, K), of the test part's images in order."""


def final_training_part(splits: Splits, limit: int | None) -> NDArray[np.int64]:
    """Train and validation together; with ``limit``, at most that many training images, so train alone."""
    return splits.train if limit is not None else np.sort(np.concatenate((splits.train, splits.validation)))


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """What every process of a training must know."""

    workspace: Path
    file: PolicyFile
    plan: FinalPlan
    pixels: Pixels
    chosen: NDArray[np.int64]
    path: Path

    @property
    def checkpoint(self) -> Path:
        """The last epoch, until the training ends."""
        return self.path.with_name(f".{self.path.stem}.checkpoint")


@dataclass(slots=True)
class _Best:
    """The best epoch so far; its weights lie at the model's path."""

    epoch: int
    accuracy: float
    log_loss: float
    scores: Scores | None = None

    def beaten_by(self, scores: Scores) -> bool:
        """More right, and where that ties, surer of it."""
        return (scores.accuracy, -scores.log_loss) > (self.accuracy, -self.log_loss)


def train_final(
    workspace: Workspace,
    splits: Splits,
    file: PolicyFile,
    plan: FinalPlan,
    *,
    pixels: Pixels,
    limit: int | None,
    path: Path,
    card: dict[str, JsonValue] | None = None,
) -> Generator[FinalEpoch, None, FinalModel]:
    """Train as ``file`` and ``plan`` say and keep the epoch that is best on the confirmation part.

    Yields every epoch; returns the model and leaves it at ``path`` (``.safetensors``) with its card beside
    it, from the first epoch on the best so far. A checkpoint beside it holds the last epoch until the end:
    the same call goes on from it, with the same result as if it had never stopped. The test part is not
    touched.

    Raises:
        TrainingDivergedError: the loss became no number; the best model so far stays at ``path``.
        UserError: the weights don't fit, or there is not enough memory.
    """
    started = time.perf_counter()
    device = resolve_device(workspace.proxy.device)
    chosen = final_training_part(splits, limit)
    job = _Job(workspace.folder, file, plan, pixels, chosen, path)
    if device.type == "cuda" and plan.processes > torch.cuda.device_count():
        raise UserError(
            f"--processes {plan.processes}: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    listened_to(workspace, file.training.distillation, device)  # made ready once, not by every process
    with pillow_without_warnings(), others(_follow, plan.processes, device, (job,)):
        shard = Shard(0, plan.processes)
        device = device_of(device, shard) if plan.processes > 1 else device
        learner, spec, loaded = _prepared(job, device, shard)
        key = _key(job, spec)
        best, passes, before = _taken_up(job, key, learner)
        if learner.epoch == 0:
            _choose_threads(learner, spec, device)
        labels = workspace.data.labels
        for epoch in _training(job, learner, shard, device, best):
            passes += epoch.images
            held_out = score(
                predict(learner.best, pixels.clean(splits.confirmation), device), labels[splits.confirmation]
            )
            better = best is None or best.beaten_by(held_out)
            if better:
                best = _Best(epoch.epoch, held_out.accuracy, held_out.log_loss, held_out)
                figures = _figures(best, epoch.epochs, len(chosen))
                save_model(learner.best, spec, path, {**(card or {}), "training": figures})
            assert best is not None
            taken = before + time.perf_counter() - started
            _keep(job.checkpoint, key, learner, best, passes, taken)
            yield FinalEpoch(epoch, held_out, better, loaded)
            if not agreed(not _given_up(plan, best, learner), device, shard):
                break
    assert best is not None
    job.checkpoint.unlink(missing_ok=True)
    model, _ = load_model(path)
    validation = best.scores or score(
        predict(model.to(device), pixels.clean(splits.confirmation), device), labels[splits.confirmation]
    )
    return FinalModel(
        path=path,
        spec=spec,
        best_epoch=best.epoch,
        epochs=learner.epoch,
        validation=validation,
        trained_on=len(chosen),
        images=passes,
        seconds=before + time.perf_counter() - started,
    )


def _prepared(job: _Job, device: torch.device, shard: Shard) -> tuple[Learner, ModelSpec, Loaded | None]:
    workspace, plan = open_workspace(job.workspace), job.plan
    spec = spec_for(workspace, plan.model, plan.weights, plan.input_size, job.pixels.side)
    model, loaded = prepared(spec, plan.weights, _seeds(workspace)[0])
    learner = Learner.prepare(model, plan.recipe, job.file.training.transfer, device)
    learner.parallel = sharing_gradients(learner.model, device, shard)
    return learner, spec, loaded


def _choose_threads(learner: Learner, spec: ModelSpec, device: torch.device) -> None:
    """Have torch use one thread where more are slower now, by some steps on a copy of the network."""
    if device.type != "cpu" or torch.get_num_threads() == 1 or learner.parallel is not None:
        return
    network = copy.deepcopy(learner.model)
    images = torch.zeros(16, spec.channels, spec.image_size, spec.image_size, dtype=torch.uint8)

    def step() -> None:
        lower = learner.precision != torch.float32
        with torch.random.fork_rng(devices=[]), torch.autocast("cpu", learner.precision, enabled=lower):
            network(images).float().sum().backward()

    torch.set_num_threads(quickest_threads(step))


def _seeds(workspace: Workspace) -> list[int]:
    """Of the weights and of the training."""
    return [int(seed) for seed in np.random.SeedSequence([workspace.proxy.seed, 99]).generate_state(2)]


def _given_up(plan: FinalPlan, best: _Best | None, learner: Learner) -> bool:
    """Whether no better epoch is waited for any more."""
    return best is not None and plan.patience is not None and learner.epoch - best.epoch >= plan.patience


def _training(
    job: _Job, learner: Learner, shard: Shard, device: torch.device, best: _Best | None
) -> Generator[EpochResult, None, None]:
    if _given_up(job.plan, best, learner):  # killed between its last epoch and its end
        return
    workspace, distillation = open_workspace(job.workspace), job.file.training.distillation
    teacher, logits = listened_to(workspace, distillation, device)
    data = job.pixels.training(job.chosen, workspace.data.labels, len(workspace.data.classes), logits)
    yield from train(
        learner,
        data,
        job.file.policy,
        job.plan.recipe,
        seed=_seeds(workspace)[1],
        device=device,
        distillation=distillation,
        teacher=teacher,
        shard=shard,
    )


def _follow(shard: Shard, device: torch.device, job: _Job) -> None:
    """The part of a rank that is not the first: the same epochs, and rank 0 says when to stop."""
    with pillow_without_warnings():
        learner, spec, _ = _prepared(job, device, shard)
        best, _, _ = _taken_up(job, _key(job, spec), learner)
        for _ in _training(job, learner, shard, device, best):
            if not agreed(False, device, shard):
                break


def _key(job: _Job, spec: ModelSpec) -> str:
    """A hash of all that decides the training."""
    workspace = open_workspace(job.workspace)
    parts = [
        workspace.data.fingerprint,
        workspace.folder.name,
        workspace.proxy.model_dump_json(exclude={"device"}),
        job.file.policy.model_dump_json(),
        job.file.training.model_dump_json(),
        job.plan.model_dump_json(),
        content_of(job.plan.weights),
        job.pixels.made_by,
        spec.model_dump_json(),
    ]
    images = job.chosen.tobytes() + workspace.confirmation.tobytes()
    return hashlib.blake2b(json.dumps(parts).encode() + images, digest_size=16).hexdigest()


def _keep(checkpoint: Path, key: str, learner: Learner, best: _Best, passes: int, seconds: float) -> None:
    document = {
        "key": key,
        "learner": learner.state_dict(),
        "best": [best.epoch, best.accuracy, best.log_loss],
        "passes": passes,
        "seconds": seconds,
        "threads": torch.get_num_threads(),
    }
    temporary = checkpoint.with_name(f"{checkpoint.name}.part")
    torch.save(document, temporary)
    temporary.replace(checkpoint)


def _taken_up(job: _Job, key: str, learner: Learner) -> tuple[_Best | None, int, float]:
    """Bring ``learner`` to where a checkpoint of the very same training left it.

    Returns:
        The best epoch, image passes and seconds until there; none of each without such a checkpoint.
    """
    try:
        document: dict[str, Any] = torch.load(job.checkpoint, map_location="cpu", weights_only=True)
        same = document["key"] == key and job.path.exists()
    except Exception:  # There is none, or of a damaged one torch raises anything.
        return None, 0, 0.0
    if not same:
        return None, 0, 0.0
    learner.load_state_dict(document["learner"])
    if learner.parallel is None:
        torch.set_num_threads(document["threads"])  # sums over others come out differently
    epoch, accuracy, log_loss = document["best"]
    return _Best(epoch, accuracy, log_loss), document["passes"], document["seconds"]


def _figures(best: _Best, epochs: int, trained_on: int) -> dict[str, JsonValue]:
    return {
        "best_epoch": best.epoch,
        "epochs": epochs,
        "trained_on": trained_on,
        "validation_accuracy": best.accuracy,
    }


def test_final(workspace: Workspace, splits: Splits, final: FinalModel, pixels: Pixels) -> Tested:
    """Score the final model on the test part, and write the figures on its card.

    The only function that looks at the test part. Say on record that it is read before calling this.
    """
    device = resolve_device(workspace.proxy.device)
    model, _ = load_model(final.path)
    with pillow_without_warnings():
        logits = predict(model.to(device), pixels.clean(splits.test), device)
    test = score(logits, workspace.data.labels[splits.test])
    figures: dict[str, JsonValue] = {
        "images": len(splits.test),
        "accuracy": test.accuracy,
        "log_loss": test.log_loss,
        "ece": test.ece,
        "macro_f1": test.macro_f1,
    }
    add_to_card(final.path, {"test": figures})
    return Tested(test, logits)
