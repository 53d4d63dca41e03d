"""The teacher: a model that was given, or a network trained as its student will be.

It is trained on the very images with labels that its student learns from, and for as many epochs, in the
search as in the final training. A teacher that knows more images than a fold has would flatter its students
in the search; one that knows fewer than its student holds it back.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import filelock
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor, nn

from augsearch.policies import Policy, Transfer, UserError
from augsearch.policies.errors import some
from augsearch.trainers.data.splits import fold_subset
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.models.build import prepared
from augsearch.trainers.models.saved import load_model, save_model
from augsearch.trainers.models.spec import card_of
from augsearch.trainers.system.devices import one_thread
from augsearch.trainers.system.hashing import content_of, hex_hash
from augsearch.trainers.tasks.inputs import labeled, spec_for
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import train
from augsearch.trainers.training.recipe import Recipe, default_final_epochs
from augsearch.trainers.training.setup import TrainingSetup
from augsearch.trainers.workspace.candidate import SELF, ProxySettings
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import Fold, Stage

FIRST_TEACHER = 2**31
"""Beyond the index of any fold, so that no fold shares a teacher's seeds."""

MOST_TEACHER_IMAGES = 50_000
"""More would make its training longer than the whole search."""

TEACHER_POLICY = Policy(num_ops=2, magnitude=9)
"""What a teacher is trained under: strong, and without mirrors or turns, which could change a label."""


class Reordered(nn.Module):
    """A network whose outputs are put in another order of the same classes."""

    def __init__(self, network: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of ``images``."""
        return torch.index_select(self.network(images), 1, self.get_buffer("order"))


def load_teacher(path: Path, classes: tuple[str, ...]) -> nn.Module:
    """The model at ``path``, whose outputs stand for ``classes`` in that order.

    Its images may have any size and be grey or not: a network resizes what it is given.

    Raises:
        UserError: there is no model, or it knows other classes.
    """
    model, spec = load_model(path)
    if spec.classes == classes:
        return model
    if sorted(spec.classes) == sorted(classes):
        return Reordered(model, [spec.classes.index(name) for name in classes]).eval()
    raise UserError(
        f"teacher {path}: its classes are {some(spec.classes, 5)}, the data's {some(classes, 5)}; "
        "use a teacher trained on these classes, or --teacher none"
    )


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher that is ready, and what its training took: nothing where it was given."""

    path: Path
    network: nn.Module
    """In evaluation mode."""
    images: int = 0
    """Image passes."""
    seconds: float = 0.0


def fold_teacher(workspace: Workspace, fold: Fold, device: torch.device) -> Teacher:
    """The teacher of ``fold``, trained before if it has to be.

    Raises:
        TrainingDivergedError: the teacher's loss became no number.
        UserError: the teacher is no model, or knows other classes.
    """
    proxy = workspace.proxy
    job = _TeacherJob(
        workspace,
        *_network(proxy, (proxy.model, proxy.weights)),
        images=workspace.training_subset(fold),
        epochs=proxy.epochs,
        seeds=Fold(fold.stage, FIRST_TEACHER + 1 + fold.index).seeds(proxy.seed),
    )
    return _ready(job, workspace.fold_teachers, f"{fold.stage.value}-{fold.index}-", device)


def final_teacher(
    workspace: Workspace,
    student: tuple[str, str],
    images: NDArray[np.int64],
    epochs: int,
    device: torch.device,
) -> Teacher:
    """The teacher of a final training on ``images``, trained before if it has to be.

    From more than ``MOST_TEACHER_IMAGES`` it learns a sample, and never for longer than is usual where
    all images have labels. ``student`` is its student's network and weights, as in ``ProxySettings``.

    Raises:
        UserError: the teacher is no model, or knows other classes, or its loss became no number.
    """
    seed, labels = workspace.proxy.seed, workspace.data.labels
    images = fold_subset(images, labels, fold=0, size=min(len(images), MOST_TEACHER_IMAGES), seed=seed)
    job = _TeacherJob(
        workspace,
        *_network(workspace.proxy, student),
        images=images,
        epochs=min(epochs, default_final_epochs(len(images))),
        seeds=Fold(Stage.SEARCH, FIRST_TEACHER).seeds(seed),
    )
    try:
        return _ready(job, workspace.final_teachers, "", device)
    except TrainingDivergedError as error:
        raise UserError(f"{error}; give another --teacher, or none") from None


def _network(proxy: ProxySettings, student: tuple[str, str]) -> tuple[str, str]:
    """What to train as the teacher of ``student``: a network, and what it starts from."""
    if proxy.teacher == SELF:
        return student
    assert proxy.teacher is not None
    return proxy.teacher, proxy.teacher_weights


@dataclass(frozen=True, eq=False)
class _TeacherJob:
    """All that decides the training of a teacher."""

    workspace: Workspace
    network: str
    weights: str
    images: NDArray[np.int64]
    epochs: int
    seeds: tuple[int, int]

    @property
    def key(self) -> str:
        """A hash of it."""
        made_of = [
            *(self.workspace.data.fingerprint, content_of(self.network), content_of(self.weights)),
            *(self.epochs, *self.seeds),
        ]
        return hex_hash(json.dumps(made_of).encode(), self.images.tobytes(), size=8)

    def save(self, path: Path, device: torch.device) -> None:
        """Train the teacher and save it to ``path``; its card says what that took."""
        started = time.perf_counter()
        spec = spec_for(self.workspace, self.network, self.weights)
        model, loaded = prepared(spec, self.weights, self.seeds[0])
        # Weights that are good already want less.
        recipe = Recipe(epochs=self.epochs if loaded is None else max(self.epochs // 3, 1))
        learner = Learner.prepare(model, recipe, None if loaded is None else Transfer(mode="full"), device)
        data = labeled(self.workspace, self.images)
        setup = TrainingSetup(data, TEACHER_POLICY, recipe, seed=self.seeds[1], device=device)
        try:
            with one_thread():
                passes = sum(epoch.images for epoch in train(learner, setup))
        except TrainingDivergedError as error:
            raise TrainingDivergedError(f"the teacher's training: {error}") from None
        card: dict[str, JsonValue] = {
            "trained_on": f"{len(self.images)} images",
            "images": passes,
            "seconds": round(time.perf_counter() - started, 2),
        }
        save_model(model, spec, path, card)


def _ready(job: _TeacherJob, folder: Path, prefix: str, device: torch.device) -> Teacher:
    """The teacher that was given, or that ``job`` has left in ``folder``, or trained now by it."""
    classes, given = job.workspace.data.classes, job.workspace.given_teacher
    if given is not None:
        return Teacher(given, _loaded(given, classes, device))
    path = folder / f"{prefix}{job.key}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):  # others may want the same at the same time
        if not (path.exists() and path.with_suffix(".json").exists()):
            job.save(path, device)
        card = card_of(path)
        return Teacher(path, _loaded(path, classes, device), card["images"], card["seconds"])


@lru_cache(maxsize=1)
def _loaded(path: Path, classes: tuple[str, ...], device: torch.device) -> nn.Module:
    return load_teacher(path, classes).to(device)
