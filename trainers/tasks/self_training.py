"""Self-training in rounds: a trained model labels, and a noisy student that learns from it labels next.

Noisy student: Xie et al. 2020, arXiv:1911.04252, algorithm 1.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path

import torch
from pydantic import JsonValue

from augsearch.policies import PolicyFile, UserError
from augsearch.trainers.data.dataset import Progress
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.unlabeled.dataset import Unlabeled
from augsearch.trainers.data.views import Pixels
from augsearch.trainers.evaluation.metrics import Scores
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.names import is_model_file
from augsearch.trainers.models.saved import load_model
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.semi.pseudo_labels import Labeler, Labeling
from augsearch.trainers.system.devices import resolve_device
from augsearch.trainers.system.hashing import content_of
from augsearch.trainers.tasks.final import FinalEpoch, FinalModel, Following, train_final, trained
from augsearch.trainers.tasks.final_job import FinalPlan, Job, Yardstick, check_alone, final_training_part
from augsearch.trainers.training.checkpoints import Best
from augsearch.trainers.workspace.folder import Workspace


@dataclass(frozen=True, slots=True, eq=False)
class RoundDone:
    """A round of self-training has ended."""

    round: int
    """0 trained the first teacher, the others a student each."""
    network: str
    validation: Scores
    """Of the round's best epoch, on the images that chose it."""
    best_epoch: int
    epochs: int
    """Trained; fewer than planned where it stopped early."""
    labeling: Labeling | None
    """What it learned from; None for the first teacher."""
    images: int
    """Image passes of this round."""
    unlabeled: int
    """Of these, those of images without a label."""
    seconds: float
    """Of this round, its labeling among them."""
    best: bool
    """Whether it is the best so far; the first that is not is the last."""


def train_students(
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
) -> Generator[FinalEpoch | Labeling | RoundDone, None, FinalModel]:
    """Train a first teacher on the labels alone, then students, until one is no better than the best before.

    The best model of each round labels ``unlabeled`` for the next, on clean images and without noise. A
    student starts anew, and learns from labels and these labels under the policy, with dropout and stochastic
    depth.

    Yields every epoch, every labeling, and the end of every round. The best model of all lies at ``path``,
    from the first epoch on the best so far. Until the end each round has files of its own beside it: the same
    call goes on from them, with the same result as if it had never stopped, and yields labelings and ends of
    rounds from before again. Arguments are those of ``train_final``, which this is without unlabeled images.

    Raises:
        TrainingDivergedError: the loss became no number; the best model so far stays at ``path``.
        UserError: the students' network is smaller than the first teacher's, or as for ``train_final``.
    """
    chosen = final_training_part(splits, limit)
    student = Job(workspace.folder, file, plan, pixels, chosen, path, unlabeled=unlabeled, target=target)
    if unlabeled is None or student.semi is None:
        plainly = train_final(
            workspace, splits, file, plan, pixels=pixels, limit=limit, path=path, card=card, target=target
        )
        return (yield from plainly)
    if student.semi.technique != "self-training":
        raise ValueError(f"{student.semi.technique} is done by train_final")
    check_alone(plan)
    job = _first(student)
    _check_sizes(job, student)
    device, pool = resolve_device(workspace.proxy.device), student.pool()
    rounds: list[FinalModel] = []
    labelings: list[Labeling] = []
    best: FinalModel | None = None
    with LabelStore(student.label_file) as store:
        labeler = student.labeler(device, store, f"{unlabeled.pixels.made_by} ", progress)
        while len(rounds) <= student.semi.rounds:
            if not rounds:
                training = trained(job, card)
            else:
                job = _next(student, rounds[-1])
                # The same images as before; what is to be learned of them isn't.
                pool = Pool(pool.images, pool.semi, pool.policy)
                labelings.append(_labeled(pool, labeler, rounds[-1].path, job.labeled_by, device))
                yield labelings[-1]
                training = trained(job, card, pool=pool, spent=labelings[-1].seconds)
            ended = yield from _put_if_best(training, best, path)
            rounds.append(ended)
            better = _better(ended.validation, best)
            if better:
                best = ended
                _put(ended.path, path)  # it may not lie there after a kill
            yield _done(ended, labelings[-1] if labelings else None, better)
            if not better:
                break
    _remove(student)
    assert best is not None
    return replace(
        best,
        path=path,
        images=sum(one.images for one in rounds),
        unlabeled=sum(one.unlabeled for one in rounds),
        seconds=sum(one.seconds for one in rounds),
        labelings=tuple(labelings),
    )


def _first(student: Job) -> Job:
    """The first teacher's training: of its own network, on labels alone."""
    plan, training, name = student.plan, student.file.training, student.plan.first_teacher
    if name is not None and name != plan.model:
        weights = name if is_model_file(name) else "none"
        plan = plan.model_copy(update={"model": name, "weights": weights})
        if weights == "none":
            training = training.model_copy(update={"transfer": None})
    file = student.file.model_copy(update={"training": training})
    return replace(student, file=file, plan=plan, path=_path(student.path, 0), unlabeled=None)


def _next(student: Job, teacher: FinalModel) -> Job:
    """The training of the student whose images ``teacher`` labels."""
    number = teacher.round + 1
    # The side at which a network works is not in its weights.
    name = f"{content_of(str(teacher.path))} {teacher.spec.model_dump_json()}"
    return replace(student, path=_path(student.path, number), round=number, labeled_by=name)


def _path(path: Path, number: int) -> Path:
    return path.with_name(f"{_hidden(path)}{number}{path.suffix}")


def _hidden(path: Path) -> str:
    """How the names of the rounds' files begin."""
    return f".{path.stem}.round-"


def _check_sizes(first: Job, student: Job) -> None:
    if first.plan.model == student.plan.model:
        return
    most, least = (
        sum(parameter.numel() for parameter in build_model(job.spec(), 0).parameters())
        for job in (first, student)
    )
    if least < most:
        raise UserError(
            f"the first teacher {first.plan.model} has {most:,} parameters, its student {student.plan.model} "
            f"only {least:,}; give a --final-model that is no smaller, or another --first-teacher"
        )


def _labeled(pool: Pool, labeler: Labeler, teacher: Path, name: str, device: torch.device) -> Labeling:
    model, _ = load_model(teacher)
    return labeler.label(pool, model.to(device), name)


def _put_if_best(training: Following, best: FinalModel | None, path: Path) -> Following:
    """``training``; whenever its model is better than ``best`` and than it was, it is put at ``path``."""
    with closing(training):
        while True:
            try:
                event = next(training)
            except StopIteration as stop:
                ended: FinalModel = stop.value
                return ended
            if isinstance(event, FinalEpoch) and event.best and _better(event.validation, best):
                _put(_path(path, event.round), path)
            yield event


def _better(scores: Scores, best: FinalModel | None) -> bool:
    if best is None:
        return True
    before = best.validation
    return Best(best.best_epoch, before.accuracy, before.log_loss).beaten_by(scores)


def _put(model: Path, path: Path) -> None:
    """Copy a model and its card, each whole or not at all."""
    for suffix in (model.suffix, ".json"):
        target = path.with_suffix(suffix)
        temporary = target.with_name(f".{target.name}.part")
        shutil.copyfile(model.with_suffix(suffix), temporary)
        temporary.replace(target)


def _remove(student: Job) -> None:
    """Remove all rounds' files, half written ones too."""
    folder, beginning = student.path.parent, escape(_hidden(student.path))
    for pattern in (f"{beginning}[0-9]*", f".{beginning}[0-9]*"):
        for file in folder.glob(pattern):
            file.unlink()
    student.label_file.unlink()


def _done(ended: FinalModel, labeling: Labeling | None, better: bool) -> RoundDone:
    return RoundDone(
        round=ended.round,
        network=ended.spec.name,
        validation=ended.validation,
        best_epoch=ended.best_epoch,
        epochs=ended.epochs,
        labeling=labeling,
        images=ended.images,
        unlabeled=ended.unlabeled,
        seconds=ended.seconds,
        best=better,
    )
