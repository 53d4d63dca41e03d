"""The model that ships: trained from a policy file on all that may be trained on, tested once."""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue

from augsearch.policies import PolicyFile, UserError
from augsearch.trainers.data.dataset import Progress
from augsearch.trainers.data.decode import pillow_without_warnings
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.unlabeled.dataset import Unlabeled
from augsearch.trainers.data.views import Pixels
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.evaluation.metrics import Logits, Scores, score
from augsearch.trainers.models.build import prepared
from augsearch.trainers.models.drop import add_noise
from augsearch.trainers.models.saved import load_model, save_model
from augsearch.trainers.models.spec import ModelSpec, add_to_card
from augsearch.trainers.models.weights import Loaded
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.learn import labeled_until, learn
from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.semi.pseudo_labels import Labeler, Labeling
from augsearch.trainers.system.devices import quickest_threads, resolve_device
from augsearch.trainers.tasks.final_job import FinalPlan, Job, Yardstick, check_alone, final_training_part
from augsearch.trainers.tasks.teacher import Teacher, final_teacher
from augsearch.trainers.training.checkpoints import Best, keep, take_up
from augsearch.trainers.training.distributed import Shard, agreed, device_of, others, sharing_gradients
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import EpochResult
from augsearch.trainers.workspace.folder import Workspace, open_workspace


@dataclass(frozen=True, slots=True)
class FinalEpoch:
    """One epoch of the final training and how the model did after it."""

    training: EpochResult
    validation: Scores
    best: bool
    """Whether it is the best so far, and so the one that is kept."""
    loaded: Loaded | None
    """What of the weights was loaded; None where it is trained from scratch."""
    round: int = 0
    """Of ``self-training``: 0 trains the first teacher, the others a student each."""


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
    unlabeled: int = 0
    """Of the image passes, those of images without a label."""
    labelings: tuple[Labeling, ...] = ()
    """All of them, those before it was taken up again too."""
    round: int = 0
    """Of ``self-training``: the best one, which this model is from; images and seconds are of all."""
    teacher: Path | None = None
    """Whom it listened to; None: nobody."""
    teacher_images: int = 0
    """Image passes of the teacher's training; they come on top, while ``seconds`` has its time."""


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """The final model on the test part."""

    scores: Scores
    logits: Logits
    """(N, K), of the test part's images in order."""


Following = Generator[FinalEpoch | Labeling, None, FinalModel]
"""What is said of a training as it goes, and its model at the end."""


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
    unlabeled: Unlabeled | None = None,
    target: Yardstick | None = None,
    progress: Progress | None = None,
) -> Following:
    """Train as ``file`` and ``plan`` say and keep the epoch that is best on ``target``, or on confirmation.

    Yields every epoch, and every labeling of ``unlabeled``, which needs the side and channels of ``pixels``;
    returns the model and leaves it at ``path`` (``.safetensors``) with its card beside it, from the first
    epoch on the best so far. A checkpoint beside it holds the last epoch until the end: the same call goes on
    from it, with the same result as if it had never stopped, and yields labelings from before again. The test
    part is not touched. Where the file says ``self-training``, use ``train_students``. ``progress`` is called
    with (images done, images in all) while unlabeled images are labeled.

    Raises:
        TrainingDivergedError: the loss became no number; the best model so far stays at ``path``.
        UserError: the weights don't fit, there is not enough memory, or several processes would have to learn
            from unlabeled images.
    """
    chosen = final_training_part(splits, limit)
    job = Job(workspace.folder, file, plan, pixels, chosen, path, unlabeled=unlabeled, target=target)
    if job.semi is None:
        final = yield from trained(job, card)
    elif job.semi.technique == "self-training":
        raise ValueError("self-training is done by train_students")
    else:
        check_alone(plan)
        device, key = resolve_device(workspace.proxy.device), job.key()
        with LabelStore(job.label_file) as store:
            if not job.checkpoint.exists():  # whoever labeled after the first epoch is gone
                store.forget(but=[f"{key} epoch 0"])
            labeler = job.labeler(device, store, f"{key} ", progress)
            final = yield from trained(job, card, pool=job.pool(), labeler=labeler)
    job.checkpoint.unlink(missing_ok=True)
    job.label_file.unlink(missing_ok=True)
    return final


def trained(
    job: Job,
    card: dict[str, JsonValue] | None,
    *,
    pool: Pool | None = None,
    labeler: Labeler | None = None,
    spent: float = 0.0,
) -> Following:
    """One training, from where its checkpoint stands; that is left there, for whoever called to remove.

    ``labeler`` labels the images of ``pool`` if they are to be labeled now and then; ``spent`` are seconds
    that are counted as its own.
    """
    started = time.perf_counter() - spent
    workspace, plan = open_workspace(job.workspace), job.plan
    device = resolve_device(workspace.proxy.device)
    if device.type == "cuda" and plan.processes > torch.cuda.device_count():
        raise UserError(
            f"--processes {plan.processes}: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    teacher = _teacher(job, device)  # made ready once, not by every process
    yardstick = job.yardstick()
    labelings: list[Labeling] = []
    with pillow_without_warnings(), others(_follow, plan.processes, device, (job,)):
        shard = Shard(0, plan.processes)
        device = device_of(device, shard) if plan.processes > 1 else device
        learner, spec, loaded = _prepared(job, device, shard)
        key = job.key()
        standing = take_up(job.checkpoint, key, learner, job.path)
        started -= standing.seconds
        if learner.epoch == 0:
            _choose_threads(learner, spec, device)
        for event in _training(job, learner, shard, device, standing.best, pool, labeler):
            if isinstance(event, Labeling):
                labelings.append(event)
                yield event
                continue
            held_out = yardstick.scores(learner.best, device)
            better = standing.best is None or standing.best.beaten_by(held_out)
            if better:
                standing.best = Best(event.epoch, held_out.accuracy, held_out.log_loss, held_out)
                figures = _figures(job, standing.best, event.epochs, pool)
                save_model(learner.best, spec, job.path, {**(card or {}), "training": figures})
            standing.images += event.images
            standing.unlabeled += event.unlabeled
            standing.seconds = time.perf_counter() - started
            keep(job.checkpoint, key, learner, standing)
            yield FinalEpoch(event, held_out, better, loaded, job.round)
            if not agreed(not _given_up(plan, standing.best, learner), device, shard):
                break
    best = standing.best
    assert best is not None
    model, _ = load_model(job.path)
    validation = best.scores or yardstick.scores(model.to(device), device)
    return FinalModel(
        path=job.path,
        spec=spec,
        best_epoch=best.epoch,
        epochs=learner.epoch,
        validation=validation,
        trained_on=len(job.chosen),
        images=standing.images,
        seconds=time.perf_counter() - started,
        unlabeled=standing.unlabeled,
        labelings=tuple(labelings),
        round=job.round,
        teacher=teacher.path if teacher else None,
        teacher_images=teacher.images if teacher else 0,
    )


def _prepared(job: Job, device: torch.device, shard: Shard) -> tuple[Learner, ModelSpec, Loaded | None]:
    plan, spec = job.plan, job.spec()
    model, loaded = prepared(spec, plan.weights, job.seeds()[0])
    learner = Learner.prepare(model, plan.recipe, job.file.training.transfer, device)
    if job.semi is not None and job.labeled_by:
        add_noise(model, job.semi.dropout, job.semi.stochastic_depth)
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


def _given_up(plan: FinalPlan, best: Best | None, learner: Learner) -> bool:
    """Whether no better epoch is waited for any more."""
    return best is not None and plan.patience is not None and learner.epoch - best.epoch >= plan.patience


def _teacher(job: Job, device: torch.device) -> Teacher | None:
    """Whom it listens to, trained now if there is none yet; None: nobody."""
    if not job.file.training.model_copy(update={"semi": job.semi}).asks_teacher:
        return None
    workspace, plan = open_workspace(job.workspace), job.plan
    return final_teacher(workspace, (plan.model, plan.weights), job.chosen, plan.recipe.epochs, device)


def _logits(job: Job, teacher: Teacher | None, device: torch.device) -> Logits | None:
    """(N, K): what the teacher says of the clean images, where those are what it looks at; of others NaN."""
    distillation, data = job.file.training.distillation, open_workspace(job.workspace).data
    if teacher is None or distillation is None or distillation.teacher_view == "same":
        return None
    logits = np.full((len(data.labels), len(data.classes)), np.nan, dtype=np.float32)
    logits[job.chosen] = predict(teacher.network, data.images[job.chosen], device)
    return logits


def _training(
    job: Job,
    learner: Learner,
    shard: Shard,
    device: torch.device,
    best: Best | None,
    pool: Pool | None = None,
    labeler: Labeler | None = None,
) -> Iterator[EpochResult | Labeling]:
    teacher, recipe = _teacher(job, device), job.plan.recipe
    asked = teacher.network if teacher else None
    if _given_up(job.plan, best, learner):  # killed between its last epoch and its end
        yield from labeled_until(learner, recipe, asked, pool, labeler)
        return
    data = open_workspace(job.workspace).data
    yield from learn(
        learner,
        job.pixels.training(job.chosen, data.labels, len(data.classes), _logits(job, teacher, device)),
        job.file.policy,
        recipe,
        seed=job.seeds()[1],
        device=device,
        distillation=job.file.training.distillation,
        teacher=asked,
        pool=pool,
        labeler=labeler,
        shard=shard,
    )


def _follow(shard: Shard, device: torch.device, job: Job) -> None:
    """The part of a rank that is not the first: the same epochs, and rank 0 says when to stop."""
    with pillow_without_warnings():
        learner, _, _ = _prepared(job, device, shard)
        best = take_up(job.checkpoint, job.key(), learner, job.path).best
        for _ in _training(job, learner, shard, device, best):
            if not agreed(False, device, shard):
                break


def _figures(job: Job, best: Best, epochs: int, pool: Pool | None) -> dict[str, JsonValue]:
    figures: dict[str, JsonValue] = {
        "best_epoch": best.epoch,
        "epochs": epochs,
        "trained_on": len(job.chosen),
        "validation_accuracy": best.accuracy,
    }
    if pool is None:
        return figures
    said: dict[str, JsonValue] = {
        "technique": pool.semi.technique,
        "images": len(pool),
        "chosen": len(pool.rows),
    }
    return {**figures, "unlabeled": {**said, "round": job.round} if job.round else said}


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
