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

from augsearch.policies import Transfer, UserError
from augsearch.policies.atomic import whole_file
from augsearch.trainers.data.dataset import Progress
from augsearch.trainers.evaluation.metrics import Metric, Scores
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.names import is_model_file
from augsearch.trainers.models.saved import load_model
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.labeler import Labeling
from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.system.devices import resolve_device
from augsearch.trainers.system.hashing import content_of
from augsearch.trainers.tasks.final import FinalEpoch, FinalModel, FinalTraining, train_final, trained
from augsearch.trainers.tasks.final_job import FinalJob, check_one_process
from augsearch.trainers.training.checkpoints import Best
from augsearch.trainers.workspace.folder import open_workspace


@dataclass(frozen=True, slots=True, eq=False)
class RoundDone:
    """A round of self-training has ended."""

    round: int
    """0 trained the first teacher, the others a student each."""
    network: str
    validation: Scores
    """The round's best epoch's, on the images that selected it."""
    best_epoch: int
    epochs: int
    """Trained; fewer than planned where it stopped early."""
    labeling: Labeling | None
    """What it learned from; None for the first teacher."""
    images: int
    """Image passes of this round."""
    unlabeled: int
    """Those among them of images without a label."""
    seconds: float
    """How long this round took, its labeling included."""
    best: bool
    """Whether it is the best so far; the first one that is not is the last."""


StudentTraining = Generator[FinalEpoch | Labeling | RoundDone, None, FinalModel]
"""The epochs, labelings and rounds of self-training as they are done; it returns the best model."""


def train_students(student: FinalJob, progress: Progress | None = None) -> StudentTraining:
    """Train a first teacher on the labels alone, then students, until one is no better than the best before.

    The best model of each round labels the unlabeled images for the next, on clean views and without noise. A
    student starts anew, and learns from labels and these labels under the policy, with dropout and stochastic
    depth.

    Yields every epoch, every labeling, and the end of every round. The best model of all lies at the path of
    ``student``, from the first epoch on the best so far. Until the end each round has files of its own beside
    it: the same call goes on from them, with the same result as if it had never stopped, and yields labelings
    and ends of rounds from before again. Without unlabeled images it is ``train_final``. ``progress`` is
    called with (images done, images in all) while unlabeled images are labeled.

    Raises:
        TrainingDivergedError: the loss became no number; the best model so far stays at the path.
        UserError: the students' network is smaller than the first teacher's, or as for ``train_final``.
    """
    technique = student.technique
    if technique is None or student.unlabeled is None:
        return (yield from train_final(student))
    if not technique.most_students:
        raise ValueError(f"{technique.technique} is done by train_final")
    check_one_process(student.plan)
    first_teacher = _first_teacher(student)
    _check_sizes(first_teacher, student)
    done: list[FinalModel] = []
    labelings: list[Labeling] = []
    best: FinalModel | None = None
    with LabelStore(student.label_file) as store:
        rounds = _Rounds(first_teacher, student, store, progress)
        while len(done) <= technique.most_students:
            training, labeling = rounds.next(done[-1] if done else None)
            if labeling is not None:
                labelings.append(labeling)
                yield labeling
            model = yield from _put_if_best(training, best, student)
            done.append(model)
            better = _better(model.validation, best, student.metric)
            if better:
                best = model
                _put(model.path, student.path)  # it may not lie there after a kill
            yield _round_done(model, labeling, better)
            if not better:
                break
    _remove(student)
    assert best is not None
    return replace(
        best,
        path=student.path,
        images=sum(one.images for one in done),
        unlabeled=sum(one.unlabeled for one in done),
        seconds=sum(one.seconds for one in done),
        labelings=tuple(labelings),
    )


class _Rounds:
    """The trainings of self-training, one after the other."""

    def __init__(
        self, first_teacher: FinalJob, student: FinalJob, store: LabelStore, progress: Progress | None
    ) -> None:
        assert student.unlabeled is not None
        self._first_teacher, self._student = first_teacher, student
        self._device = resolve_device(open_workspace(student.workspace).proxy.device)
        self._images = student.pool()
        prefix = f"{student.unlabeled.pixels.made_by} "
        self._labeler = student.labeler(self._device, store, prefix, progress)

    def next(self, teacher: FinalModel | None) -> tuple[FinalTraining, Labeling | None]:
        """The training of a student of ``teacher``, and the labels that it learns.

        Without ``teacher`` it is the first teacher's training, on labels alone.
        """
        if teacher is None:
            return trained(self._first_teacher), None
        job = _student_of(teacher, self._student)
        # The same images as before; what is to be learned of them isn't.
        pool = Pool(self._images.images, self._images.technique, self._images.policy)
        model, _ = load_model(teacher.path)
        labeling = self._labeler.label(pool, model.to(self._device), job.labeled_by)
        return trained(job, pool, spent=labeling.seconds), labeling


def _first_teacher(student: FinalJob) -> FinalJob:
    """The first teacher's training: its own network, on labels alone."""
    plan, training, name = student.plan, student.file.training, student.plan.first_teacher
    if name is not None and name != plan.model:
        weights = name if is_model_file(name) else plan.first_teacher_weights
        plan = plan.model_copy(update={"model": name, "weights": weights})
        transfer = None if weights == "none" else training.transfer or Transfer(mode="full")
        training = training.model_copy(update={"transfer": transfer})
    file = student.file.model_copy(update={"training": training})
    return replace(student, file=file, plan=plan, path=_path(student.path, 0), unlabeled=None)


def _student_of(teacher: FinalModel, student: FinalJob) -> FinalJob:
    """The training of the student whose images ``teacher`` labels."""
    number = teacher.round + 1
    # The side at which a network works is not in its weights.
    name = f"{content_of(str(teacher.path))} {teacher.spec.model_dump_json()}"
    return replace(student, path=_path(student.path, number), round=number, labeled_by=name)


def _path(path: Path, number: int) -> Path:
    return path.with_name(f"{_hidden(path)}{number}{path.suffix}")


def _hidden(path: Path) -> str:
    """The beginning of the names of the rounds' files."""
    return f".{path.stem}.round-"


def _check_sizes(first: FinalJob, student: FinalJob) -> None:
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


def _put_if_best(training: FinalTraining, best: FinalModel | None, student: FinalJob) -> FinalTraining:
    """``training``; while its model is better than ``best``, it is ``student``'s, and else ``best`` is."""
    path, metric = student.path, student.metric
    of_best = None if best is None else best.round
    there = of_best
    with closing(training):
        while True:
            try:
                event = next(training)
            except StopIteration as stop:
                model: FinalModel = stop.value
                return model
            if isinstance(event, FinalEpoch) and event.best:
                better = _better(event.validation, best, metric)
                # An epoch that is kept may be a little worse than the one before it that was.
                wanted = event.round if better else of_best
                if better or wanted != there:
                    assert wanted is not None
                    _put(_path(path, wanted), path)
                    there = wanted
            yield event


def _better(scores: Scores, best: FinalModel | None, metric: Metric) -> bool:
    return best is None or Best.of(best.best_epoch, best.validation, metric).beaten_by(scores, metric)


def _put(model: Path, path: Path) -> None:
    """Copy a model and its card, each whole or not at all."""
    for suffix in (model.suffix, ".json"):
        target = path.with_suffix(suffix)
        with whole_file(target) as temporary:
            shutil.copyfile(model.with_suffix(suffix), temporary)


def _remove(student: FinalJob) -> None:
    """Remove all rounds' files, half written ones too."""
    folder, beginning = student.path.parent, escape(_hidden(student.path))
    for pattern in (f"{beginning}[0-9]*", f".{beginning}[0-9]*"):
        for file in folder.glob(pattern):
            file.unlink()
    student.label_file.unlink()


def _round_done(model: FinalModel, labeling: Labeling | None, better: bool) -> RoundDone:
    return RoundDone(
        round=model.round,
        network=model.spec.name,
        validation=model.validation,
        best_epoch=model.best_epoch,
        epochs=model.epochs,
        labeling=labeling,
        images=model.images,
        unlabeled=model.unlabeled,
        seconds=model.seconds,
        best=better,
    )
