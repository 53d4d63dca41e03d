"""A fold's score: train a small network under a candidate's policy, look at validation images once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from augsearch.policies import Distillation, Policy, UserError
from augsearch.trainers.folds import (
    Candidate,
    Fold,
    FoldResult,
    Stage,
    Workspace,
    default_epochs,
    open_workspace,
)
from augsearch.trainers.loop import LabeledImages, Recipe, train
from augsearch.trainers.models import ModelSpec, build_model, channel_statistics, load_model, save_model
from augsearch.trainers.scores import Logits, predict, score

MOST_TEACHER_IMAGES = 50_000
"""More would make the teacher's one training longer than the whole search."""

TEACHER_POLICY = Policy(num_ops=2, magnitude=9)
"""What a teacher is trained under: strong, and without mirrors or turns, which could change a label."""


def resolve_device(name: str) -> torch.device:
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device must be auto, cpu, cuda or cuda:NUMBER, got {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device must be auto, cpu, cuda or cuda:NUMBER, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use cpu")
    return device


def evaluate(folder: Path, candidate: Candidate, fold: Fold) -> FoldResult:
    """Train a proxy on ``fold`` under ``candidate`` and score it; the same on any worker.

    Raises:
        TrainingDivergedError: the loss became no number.
    """
    started = time.perf_counter()
    workspace = open_workspace(folder)
    device = resolve_device(workspace.proxy.device)
    with one_thread():
        return _evaluate(workspace, candidate, fold, device, started)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: sums over several come out differently, and a fold's score must not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _evaluate(
    workspace: Workspace, candidate: Candidate, fold: Fold, device: torch.device, started: float
) -> FoldResult:
    weights_seed, training_seed = fold.seeds(workspace.proxy.seed)
    chosen = workspace.training_subset(fold)
    teacher = _teacher_logits(workspace.teacher_logits)[chosen] if candidate.distillation else None
    data = labeled(workspace, chosen, teacher)
    model = build_model(spec_for(workspace, workspace.proxy.model), weights_seed).to(device)
    recipe = Recipe(epochs=workspace.proxy.epochs)
    images = sum(
        epoch.images
        for epoch in train(
            model,
            data,
            candidate.policy,
            recipe,
            seed=training_seed,
            device=device,
            distillation=candidate.distillation,
        )
    )
    scored = workspace.scored_on(fold.stage)
    scores = score(predict(model, workspace.data.images[scored], device), workspace.data.labels[scored])
    return FoldResult(
        accuracy=scores.accuracy,
        log_loss=scores.log_loss,
        ece=scores.ece,
        seconds=time.perf_counter() - started,
        images=images,
        correct=scores.correct,
    )


def prepare_teacher(folder: Path) -> float:
    """Have the teacher's logits of the clean images ready in ``folder``; returns the seconds it took.

    The teacher is a model file, or a network trained here on the training part alone. Its logits cover
    all parts that a training may use: train, validation and confirmation.
    """
    started = time.perf_counter()
    workspace = open_workspace(folder)
    device = resolve_device(workspace.proxy.device)
    assert workspace.proxy.teacher is not None
    if workspace.proxy.teacher.endswith(".safetensors"):
        model, spec = load_model(Path(workspace.proxy.teacher))
        check_teacher(spec, workspace)
    else:
        spec = spec_for(workspace, workspace.proxy.teacher)
        model = _train_teacher(workspace, spec, device)
        save_model(model, spec, workspace.teacher_model, {"trained_on": "the training part"})
    logits = np.full((len(workspace.data.labels), len(spec.classes)), np.nan, dtype=np.float32)
    known = np.concatenate((workspace.train, workspace.validation, workspace.confirmation))
    with one_thread():
        logits[known] = predict(model.to(device), workspace.data.images[known], device)
    temporary = workspace.teacher_logits.with_name(".teacher.part.npy")
    np.save(temporary, logits)
    temporary.replace(workspace.teacher_logits)
    return time.perf_counter() - started


def check_teacher(spec: ModelSpec, workspace: Workspace) -> None:
    """A teacher must know the same classes and take the same images.

    Raises:
        UserError: it doesn't.
    """
    expected = spec_for(workspace, workspace.proxy.model)
    for what in ("classes", "channels", "image_size"):
        theirs, ours = getattr(spec, what), getattr(expected, what)
        if theirs != ours:
            raise UserError(
                f"teacher {workspace.proxy.teacher}: its {what.replace('_', ' ')} are {theirs}, "
                f"the data's {ours}; use a teacher trained on these classes and this size, or --teacher none"
            )


def _train_teacher(workspace: Workspace, spec: ModelSpec, device: torch.device) -> torch.nn.Module:
    # The index is beyond any fold's, so no fold shares the teacher's seeds.
    weights_seed, training_seed = Fold(Stage.SEARCH, 2**31).seeds(workspace.proxy.seed)
    model = build_model(spec, weights_seed).to(device)
    chosen = workspace.sample(MOST_TEACHER_IMAGES)
    recipe = Recipe(epochs=default_epochs(len(chosen)))
    data = labeled(workspace, chosen)
    with one_thread():
        for _ in train(model, data, TEACHER_POLICY, recipe, seed=training_seed, device=device):
            pass
    return model


def labeled(workspace: Workspace, chosen: np.ndarray, teacher: Logits | None = None) -> LabeledImages:
    """The chosen images, read into memory."""
    images, labels = workspace.data.images[chosen], workspace.data.labels[chosen]
    return LabeledImages(images, labels, len(workspace.data.classes), teacher)


@lru_cache(maxsize=8)
def _statistics(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    workspace = open_workspace(folder)
    return channel_statistics(workspace.data.images[workspace.sample(5000)])


def spec_for(workspace: Workspace, name: str) -> ModelSpec:
    """The network ``name`` for a workspace's images, normalised by its training part."""
    mean, std = _statistics(workspace.folder)
    _, size, _, channels = workspace.data.images.shape
    return ModelSpec(
        name=name, channels=channels, image_size=size, classes=workspace.data.classes, mean=mean, std=std
    )


@lru_cache(maxsize=2)
def _teacher_logits(path: Path) -> Logits:
    return np.asarray(np.load(path, mmap_mode="r"))


def distillation_logits(workspace: Workspace, distillation: Distillation | None) -> Logits | None:
    """The teacher's logits, if ``distillation`` asks for a teacher: made now where they are missing."""
    if distillation is None:
        return None
    if not workspace.teacher_logits.exists():
        prepare_teacher(workspace.folder)
    return _teacher_logits(workspace.teacher_logits)
