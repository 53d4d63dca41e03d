"""The teacher: loaded, or trained once; as a network that sees what the student sees, and as logits."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

import filelock
import numpy as np
import torch
from torch import Tensor, nn

from augsearch.policies import Distillation, Policy, Transfer, UserError
from augsearch.policies.errors import some
from augsearch.trainers.devices import one_thread, resolve_device
from augsearch.trainers.folds import Fold, Stage, Workspace, default_epochs, open_workspace
from augsearch.trainers.inputs import labeled, spec_for
from augsearch.trainers.learner import Learner
from augsearch.trainers.loop import train
from augsearch.trainers.models import load_model, prepared, save_model
from augsearch.trainers.networks import is_model_file
from augsearch.trainers.recipe import Recipe
from augsearch.trainers.scores import Logits, predict

MOST_TEACHER_IMAGES = 50_000
"""More would make the teacher's one training longer than the whole search."""

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


def prepare_teacher(folder: Path) -> float:
    """Have the teacher ready, and its logits of the clean images in ``folder``; returns the seconds it took.

    The teacher is a model file, or a network trained on the training part alone, once for all workspaces that
    would train the same. Its logits cover all parts that a training may use: train, validation, confirmation.
    """
    started = time.perf_counter()
    workspace = open_workspace(folder)
    device = resolve_device(workspace.proxy.device)
    path = workspace.teacher_model
    if not is_model_file(workspace.proxy.teacher or ""):
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):  # another study may be training the same
            if not (path.exists() and path.with_suffix(".json").exists()):
                _train_teacher(workspace, device)
    model = load_teacher(path, workspace.data.classes).to(device)
    logits = np.full((len(workspace.data.labels), len(workspace.data.classes)), np.nan, dtype=np.float32)
    known = np.concatenate((workspace.train, workspace.validation, workspace.confirmation))
    with one_thread():
        logits[known] = predict(model, workspace.data.images[known], device)
    temporary = workspace.teacher_logits.with_name(".teacher.part.npy")
    np.save(temporary, logits)
    temporary.replace(workspace.teacher_logits)
    return time.perf_counter() - started


def _train_teacher(workspace: Workspace, device: torch.device) -> None:
    proxy = workspace.proxy
    assert proxy.teacher is not None
    # The index is beyond any fold's, so no fold shares the teacher's seeds.
    weights_seed, training_seed = Fold(Stage.SEARCH, 2**31).seeds(proxy.seed)
    spec = spec_for(workspace, proxy.teacher, proxy.teacher_weights)
    model, loaded = prepared(spec, proxy.teacher_weights, weights_seed)
    chosen = workspace.sample(MOST_TEACHER_IMAGES)
    epochs = default_epochs(len(chosen))
    # Weights that are good already want less.
    recipe = Recipe(epochs=epochs if loaded is None else max(epochs // 3, 1))
    learner = Learner.prepare(model, recipe, None if loaded is None else Transfer(mode="full"), device)
    data = labeled(workspace, chosen)
    with one_thread():
        for _ in train(learner, data, TEACHER_POLICY, recipe, seed=training_seed, device=device):
            pass
    save_model(model, spec, workspace.teacher_model, {"trained_on": "the training part"})


@lru_cache(maxsize=2)
def _teacher_logits(path: Path) -> Logits:
    return np.asarray(np.load(path, mmap_mode="r"))


@lru_cache(maxsize=1)
def _teacher_network(path: Path, classes: tuple[str, ...], device: torch.device) -> nn.Module:
    return load_teacher(path, classes).to(device)


def listened_to(
    workspace: Workspace, distillation: Distillation | None, device: torch.device, *, itself: bool = False
) -> tuple[nn.Module | None, Logits | None]:
    """What is wanted of the teacher: the network, and its logits (N, K) of clean images.

    Where it was not made ready, that happens now. ``itself``: the network is wanted even where
    ``distillation`` doesn't ask it.
    """
    view = distillation.teacher_view if distillation else None
    asked = itself or view == "same"
    if not asked and view is None:
        return None, None
    if not workspace.teacher_logits.exists() or (asked and not workspace.teacher_model.exists()):
        prepare_teacher(workspace.folder)
    network = _teacher_network(workspace.teacher_model, workspace.data.classes, device) if asked else None
    return network, _teacher_logits(workspace.teacher_logits) if view == "clean" else None
