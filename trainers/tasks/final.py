"""The model that ships: trained from a policy file on all that may be trained on, tested once."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue

from augsearch.trainers.data.dataset import Progress
from augsearch.trainers.data.decode import pillow_without_warnings
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.views import Pixels
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.evaluation.metrics import ACCURACY, Logits, Scores, score
from augsearch.trainers.models.build import prepared
from augsearch.trainers.models.saved import load_model, save_model
from augsearch.trainers.models.spec import ModelSpec, add_to_card
from augsearch.trainers.models.weights import Loaded
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.labeler import Labeler, Labeling
from augsearch.trainers.semi.learn import labeled_until, learn
from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.system.devices import check_room_for, device_here, resolve_device
from augsearch.trainers.tasks.final_job import FinalJob, SelectionSet, check_one_process
from augsearch.trainers.tasks.inputs import weights_of
from augsearch.trainers.tasks.teacher import StudentView, Teacher, final_teacher
from augsearch.trainers.tasks.threads import choose_threads
from augsearch.trainers.training.checkpoints import Best, Keeper, TrainingState, load_checkpoint
from augsearch.trainers.training.distributed import (
    ALONE,
    Member,
    Shard,
    agreed,
    joined,
    sharing_gradients,
    sharing_statistics,
    together,
)
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import EpochResult
from augsearch.trainers.training.setup import TrainingSetup
from augsearch.trainers.workspace.folder import Workspace, open_workspace


@dataclass(frozen=True, slots=True)
class FinalEpoch:
    """One epoch of the final training and how the model did after it."""

    training: EpochResult
    validation: Scores
    best: bool
    """Whether it is the best so far, and so the one that is kept."""
    loaded: Loaded | None
    """Which of the weights were loaded; None where it is trained from scratch."""
    round: int = 0
    """In self-training: 0 trains the first teacher, the others a student each."""


@dataclass(frozen=True, slots=True)
class FinalModel:
    """The final model, not tested yet."""

    path: Path
    spec: ModelSpec
    best_epoch: int
    epochs: int
    """Trained; fewer than planned where it stopped early."""
    validation: Scores
    """The best epoch's, on the images that selected it: flattering."""
    trained_on: int
    """Training images."""
    images: int
    """Image passes."""
    seconds: float
    unlabeled: int = 0
    """Those of the image passes that were of images without a label."""
    labelings: tuple[Labeling, ...] = ()
    """All, those before it was taken up again too."""
    round: int = 0
    """In self-training: the best one, which this model is from; images and seconds are of all."""
    teacher: Path | None = None
    """The teacher that it learned from; None: there was none."""
    teacher_images: int = 0
    """Image passes of the teacher's training, which ``images`` leaves out and ``seconds`` has the time of."""


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """The final model on the test part."""

    scores: Scores
    logits: Logits
    """(N, K), of the test part's images in order."""


FinalTraining = Generator[FinalEpoch | Labeling, None, FinalModel]
"""The epochs and labelings of a training as they are done; it returns the model."""


def train_final(
    job: FinalJob, progress: Progress | None = None, member: Member | None = None
) -> FinalTraining:
    """Train as ``job`` says and keep the epoch that is best on its selection set.

    Yields every epoch, and every labeling of unlabeled images; returns the model and leaves it at the path of
    ``job`` with its card beside it, from the first epoch on the best so far. A checkpoint beside it holds the
    last epoch until the end: the same call goes on from it, with the same result as if it had never stopped,
    and yields labelings from before again. The test part is not touched. ``progress`` is called with (images
    done, images in all) while unlabeled images are labeled.

    ``member``: rank 0 of processes that are started elsewhere and run ``train_beside``; None: those that
    share the training are started here.

    Where the technique trains students, use ``train_students``.

    Raises:
        TrainingDivergedError: the loss became no number; the best model so far stays at the path.
        UserError: the weights don't fit, there is not enough memory, or several processes would have to learn
            from unlabeled images.
    """
    if job.technique is None:
        here = member is None and job.plan.processes > 1
        final = yield from _shared(job) if here else trained(job, member=member)
    elif job.technique.most_students:
        raise ValueError(f"{job.technique.technique} is done by train_students")
    else:
        check_one_process(job.plan)
        device, key = resolve_device(open_workspace(job.workspace).proxy.device), job.key()
        with LabelStore(job.label_file) as store:
            if not job.checkpoint.exists():  # the model that labeled after the first epoch is gone
                store.forget(but=[f"{key} epoch 0"])
            labeler = job.labeler(device, store, f"{key} ", progress)
            final = yield from trained(job, job.pool(), labeler)
    job.checkpoint.unlink(missing_ok=True)
    job.label_file.unlink(missing_ok=True)
    return final


def model_of(training: Generator[object, None, FinalModel]) -> FinalModel:
    """What a training returns, once it has gone through its epochs."""
    while True:
        try:
            next(training)
        except StopIteration as ended:
            model: FinalModel = ended.value
            return model


@dataclass(slots=True, eq=False)
class _Run:
    """A training under way in one process."""

    job: FinalJob
    learner: Learner
    spec: ModelSpec
    loaded: Loaded | None
    device: torch.device
    shard: Shard
    state: TrainingState
    pool: Pool | None = None
    labeler: Labeler | None = None

    @property
    def given_up(self) -> bool:
        """Whether no better epoch is waited for any more."""
        peak, patience = self.state.peak, self.job.plan.patience
        return peak is not None and patience is not None and self.learner.epoch - peak.epoch >= patience


def trained(
    job: FinalJob,
    pool: Pool | None = None,
    labeler: Labeler | None = None,
    spent: float = 0.0,
    member: Member | None = None,
) -> FinalTraining:
    """One training, from where its checkpoint stands; that is left there, for whoever called to remove.

    ``labeler`` labels the images of ``pool`` if they are to be labeled now and then; ``spent`` are seconds
    that are counted as its own. ``member``: the process of several that this one is; None: it is alone.
    """
    started = time.perf_counter() - spent
    job.check_processes()
    member = member or Member(ALONE, _device(job), "")
    key = job.key()
    teacher = _teacher(job, member.device)  # made ready once, not by every process
    selection = job.selection_set()
    labelings: list[Labeling] = []
    with pillow_without_warnings(), joined(member):
        run = _begun(job, member.device, member.shard)
        run.pool, run.labeler = pool, labeler
        started -= run.state.seconds
        if run.learner.epoch == 0:
            choose_threads(run.learner, run.spec, run.device)
        keeper = Keeper(job.checkpoint, key)
        try:
            for event in _training(run):
                if isinstance(event, Labeling):
                    labelings.append(event)
                    yield event
                    continue
                scores = selection.scores(run.learner.best, run.device, job.metric, run.learner.precision)
                better = _keep_if_best(run, event, scores)
                run.state.seconds = time.perf_counter() - started
                last = event.epoch == event.epochs or run.given_up
                keeper.after_epoch(run.learner, run.state, last=last)
                yield FinalEpoch(event, scores, better, run.loaded, job.round)
                if not agreed(not run.given_up, run.device, run.shard):
                    break
        except GeneratorExit:  # stopped between two epochs, so nothing need be lost
            keeper.save(run.learner, run.state)
            raise
    best = run.state.best
    assert best is not None
    return FinalModel(
        path=job.path,
        spec=job.kept_spec(run.spec),
        best_epoch=best.epoch,
        epochs=run.learner.epoch,
        validation=best.scores or _scored_again(run, selection),
        trained_on=len(job.labeled),
        images=run.state.images,
        seconds=time.perf_counter() - started,
        unlabeled=run.state.unlabeled,
        labelings=tuple(labelings),
        round=job.round,
        teacher=teacher.path if teacher else None,
        teacher_images=teacher.images if teacher else 0,
    )


def _shared(job: FinalJob) -> FinalTraining:
    """One training by processes that are started here."""
    job.check_processes()
    return (yield from together(trained, train_beside, job.plan.processes, _device(job), (job,)))


def _scored_again(run: _Run, selection: SelectionSet) -> Scores:
    """How the model that is kept did, whose epoch was before the training was taken up."""
    model, _ = load_model(run.job.path, average_flips=False)  # epochs are chosen without mirror images
    return selection.scores(model.to(run.device), run.device, run.job.metric, run.learner.precision)


def make_teacher_ready(job: FinalJob) -> None:
    """Train the teacher of ``job``, if there is to be one and it isn't there yet."""
    _teacher(job, resolve_device(open_workspace(job.workspace).proxy.device))


def train_beside(job: FinalJob, member: Member) -> None:
    """Take part in a training whose rank 0 another process's ``train_final`` is."""
    with joined(member):
        _train_shard(member.shard, member.device, job)


def _device(job: FinalJob) -> torch.device:
    device = resolve_device(open_workspace(job.workspace).proxy.device)
    check_room_for(job.plan.processes, device)
    return device


def _begun(job: FinalJob, device: torch.device, shard: Shard) -> _Run:
    """The training at its start, or where its checkpoint left it."""
    plan, spec = job.plan, job.spec()
    model, loaded = prepared(spec, plan.weights, job.seeds()[0])
    if job.file.training.transfer is None:  # in a transfer they keep their statistics
        sharing_statistics(model, device, shard)
    learner = Learner.prepare(model, plan.recipe, job.file.training.transfer, device)
    if job.technique is not None and job.labeled_by:
        job.technique.prepare_student(model)
    learner.parallel = sharing_gradients(learner.model, device, shard)
    state = load_checkpoint(job.checkpoint, job.key(), learner, job.path)
    return _Run(job, learner, spec, loaded, device, shard, state)


def _keep_if_best(run: _Run, epoch: EpochResult, scores: Scores) -> bool:
    """Count an epoch, and save its model if that is the best so far."""
    job, state = run.job, run.state
    state.images += epoch.images
    state.unlabeled += epoch.unlabeled
    if not state.take(epoch.epoch, scores, job.metric):
        return False
    assert state.best is not None
    figures = _figures(job, state.best, epoch.epochs, run.pool)
    card: dict[str, JsonValue] = {**job.card, "training": figures}
    save_model(run.learner.best, job.kept_spec(run.spec), job.path, card, job.learned)
    return True


def _teacher(job: FinalJob, device: torch.device) -> Teacher | None:
    """The teacher, trained now if there is none yet; None: none is needed."""
    if not job.asks_teacher:
        return None
    workspace, plan = open_workspace(job.workspace), job.plan
    view = StudentView(job.pixels, plan.recipe, plan.input_size, job.learned, job.file.policy.resized_crop)
    student = (plan.model, plan.weights)
    return final_teacher(workspace, student, job.labeled, plan.recipe.epochs, device, view)


def _logits(job: FinalJob, teacher: Teacher | None, device: torch.device) -> Logits | None:
    """(N, K): the teacher's logits of the clean images, where those are what it looks at; of others NaN."""
    distillation, data = job.file.training.distillation, open_workspace(job.workspace).data
    if teacher is None or distillation is None or distillation.teacher_view == "same":
        return None
    logits = np.full((len(data.labels), len(data.classes)), np.nan, dtype=np.float32)
    logits[job.labeled] = predict(teacher.network, job.pixels.clean(job.labeled), device)
    return logits


def _training(run: _Run) -> Iterator[EpochResult | Labeling]:
    """The epochs that are left, and all labelings."""
    job, teacher = run.job, _teacher(run.job, run.device)
    data = open_workspace(job.workspace).data
    # Killed between its last epoch and its end, there is nothing to predict for.
    logits = None if run.given_up else _logits(job, teacher, run.device)
    setup = TrainingSetup(
        job.pixels.training(job.labeled, data.labels, len(data.classes), logits),
        job.file.policy,
        job.plan.recipe,
        seed=job.seeds()[1],
        device=run.device,
        distillation=job.file.training.distillation,
        teacher=teacher.network if teacher else None,
        class_balance=job.file.training.class_balance,
        weights=weights_of(data, job.labeled),
        shard=run.shard,
    )
    if run.given_up:
        yield from labeled_until(run.learner, setup, run.pool, run.labeler)
    else:
        yield from learn(run.learner, setup, run.pool, run.labeler)


def _train_shard(shard: Shard, device: torch.device, job: FinalJob) -> None:
    """The work of a rank that is not the first: the same epochs, and rank 0 says when to stop."""
    with pillow_without_warnings():
        run = _begun(job, device, shard)
        for _ in _training(run):
            if not agreed(False, device, shard):
                break


def _figures(job: FinalJob, best: Best, epochs: int, pool: Pool | None) -> dict[str, JsonValue]:
    """What the model's card says of its training."""
    figures: dict[str, JsonValue] = {
        "best_epoch": best.epoch,
        "epochs": epochs,
        "trained_on": len(job.labeled),
        "validation_accuracy": best.accuracy,
    }
    if job.metric is not ACCURACY:
        figures["selected_by"] = job.metric.name
        figures[f"validation_{job.metric.name.replace('-', '_')}"] = job.metric.direction * best.score
    if pool is None:
        return figures
    unlabeled: dict[str, JsonValue] = {
        "technique": pool.technique.technique,
        "images": len(pool),
        "chosen": len(pool.rows),
    }
    if job.round:
        unlabeled["round"] = job.round
    return {**figures, "unlabeled": unlabeled}


def test_final(workspace: Workspace, splits: Splits, final: FinalModel, pixels: Pixels) -> Tested:
    """Score the final model on the test part, and write the figures on its card.

    The only function that looks at the test part. Say on record that it is read before calling this.
    """
    device = device_here(workspace.proxy.device)
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
