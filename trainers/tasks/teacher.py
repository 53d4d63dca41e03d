"""The teacher: a model that was given, or a network trained as its student will be.

It is trained on the very images with labels that its student learns from, as its student sees them, and for
as many epochs, in the search as in the final training. A teacher that knows more images than a fold has would
flatter its students in the search; one that knows fewer than its student holds it back.
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
from augsearch.policies.regions import ResizedCrop
from augsearch.trainers.data.decode import pillow_without_warnings
from augsearch.trainers.data.views import Decoded, Pixels, TrainingImages
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.models.build import prepared
from augsearch.trainers.models.learned import Keys
from augsearch.trainers.models.saved import load_model, save_model
from augsearch.trainers.models.spec import card_of
from augsearch.trainers.system.devices import one_thread, resolve_device
from augsearch.trainers.system.hashing import content_of, hex_hash
from augsearch.trainers.tasks.inputs import labeled, spec_for, weights_of
from augsearch.trainers.tasks.threads import quick_threads
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import train
from augsearch.trainers.training.recipe import Recipe, default_final_epochs
from augsearch.trainers.training.setup import TrainingSetup
from augsearch.trainers.workspace.candidate import SELF, ProxySettings
from augsearch.trainers.workspace.folder import Workspace, open_workspace, teacher_prefix
from augsearch.trainers.workspace.folds import Fold, Stage
from augsearch.trainers.workspace.left import LeftFiles

FIRST_TEACHER = 2**31
"""Beyond the index of any fold, so that no fold shares a teacher's seeds."""

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


def make_teacher(folder: Path, fold: Fold) -> LeftFiles:
    """Train the teacher of ``fold`` of the workspace at ``folder``, and leave it there.

    Raises:
        TrainingDivergedError: its loss became no number.
    """
    workspace = open_workspace(folder)
    with one_thread():
        path = fold_teacher(workspace, fold, resolve_device(workspace.proxy.device)).path
    return LeftFiles(tuple(file.relative_to(folder).as_posix() for file in (path, path.with_suffix(".json"))))


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
        recipe=Recipe(epochs=proxy.epochs),
        seeds=Fold(fold.stage, FIRST_TEACHER + 1 + fold.index).seeds(proxy.seed),
        input_size=proxy.input_size if proxy.teacher == SELF else None,
    )
    return _ready(job, workspace.fold_teachers, teacher_prefix(fold), device)


@dataclass(frozen=True, slots=True, eq=False)
class StudentView:
    """How the student of a final training sees its images, and so its teacher."""

    pixels: Pixels
    recipe: Recipe
    """Its batches, their parts and precision are the teacher's too; the rest is the student's alone."""
    input_size: int | None = None
    """Side to which the student's network resizes them; a teacher that is another network has its own."""
    learned: Keys | None = None
    """What the student learns from, for the teacher's file to say; None: not known."""
    resized_crop: ResizedCrop | None = None
    """The student's policy's; the rest of a teacher's policy is its own."""


def final_teacher(
    workspace: Workspace,
    student: tuple[str, str],
    images: NDArray[np.int64],
    epochs: int,
    device: torch.device,
    view: StudentView | None = None,
) -> Teacher:
    """The teacher of a final training on ``images``, trained before if it has to be.

    It never learns for longer than is usual where all images have labels. ``student`` is its student's
    network and weights, as in ``ProxySettings``; ``view`` is how that sees the images; None: as the workspace
    has them.

    Raises:
        UserError: the teacher is no model, or knows other classes, or its loss became no number.
    """
    proxy, view = workspace.proxy, view or StudentView(Decoded(workspace.data.images), Recipe())
    recipe = Recipe(
        epochs=min(epochs, default_final_epochs(len(images))),
        **view.recipe.model_dump(include={"batch_size", "accumulation", "precision", "clip"}),
    )
    job = _TeacherJob(
        workspace,
        *_network(proxy, student),
        images=np.sort(images),
        recipe=recipe,
        seeds=Fold(Stage.SEARCH, FIRST_TEACHER).seeds(proxy.seed),
        input_size=view.input_size if proxy.teacher == SELF else None,
        view=view,
    )
    try:
        with pillow_without_warnings():
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
    recipe: Recipe
    seeds: tuple[int, int]
    input_size: int | None = None
    """Side to which the network resizes the images; None: what suits it."""
    view: StudentView | None = None
    """How the student of a final training sees the images; None: as the workspace has them, for a fold."""

    @property
    def key(self) -> str:
        """A hash of it."""
        made_of = [
            *(self.workspace.data.fingerprint, content_of(self.network), content_of(self.weights)),
            *(self.recipe.epochs, *self.seeds),
            *self._unusual,
        ]
        return hex_hash(json.dumps(made_of).encode(), self.images.tobytes(), size=8)

    @property
    def _unusual(self) -> list[JsonValue]:
        """What else decides it, where that is not as usual: teachers of old had nothing else."""
        unusual: dict[str, JsonValue] = self.recipe.model_dump(exclude={"epochs"}, exclude_defaults=True)
        if self.input_size is not None:
            unusual["input_size"] = self.input_size
        usual = Decoded(self.workspace.data.images).made_by
        if self.view is not None and self.view.pixels.made_by != usual:
            unusual["pixels"] = self.view.pixels.made_by
        if self.view is not None and self.view.resized_crop is not None:
            unusual["resized_crop"] = self.view.resized_crop.model_dump()
        return [unusual] if unusual else []

    def save(self, path: Path, device: torch.device) -> None:
        """Train the teacher and save it to ``path``; its card says what that took."""
        started, view, data = time.perf_counter(), self.view, self.workspace.data
        side = None if view is None else view.pixels.side
        spec = spec_for(self.workspace, self.network, self.weights, self.input_size, side)
        model, loaded = prepared(spec, self.weights, self.seeds[0])
        recipe = self.recipe
        if loaded is not None:  # weights that are good already want less
            recipe = recipe.model_copy(update={"epochs": max(recipe.epochs // 3, 1)})
        learner = Learner.prepare(model, recipe, None if loaded is None else Transfer(mode="full"), device)
        if view is None:
            seen: TrainingImages = labeled(self.workspace, self.images)
        else:
            seen = view.pixels.training(self.images, data.labels, len(data.classes), None)
        policy = TEACHER_POLICY
        if view is not None and view.resized_crop is not None:
            policy = policy.model_copy(update={"resized_crop": view.resized_crop})
        weights = weights_of(data, self.images)
        setup = TrainingSetup(seen, policy, recipe, self.seeds[1], device, weights=weights)
        threads = one_thread() if view is None else quick_threads(learner, spec, device)
        try:
            with threads:
                passes = sum(epoch.images for epoch in train(learner, setup))
        except TrainingDivergedError as error:
            raise TrainingDivergedError(f"the teacher's training: {error}") from None
        card: dict[str, JsonValue] = {
            "trained_on": f"{len(self.images)} images",
            "images": passes,
            "seconds": round(time.perf_counter() - started, 2),
        }
        save_model(model, spec, path, card, None if view is None else view.learned)


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
