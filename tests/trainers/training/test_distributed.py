"""One training in two processes: the gradients of the whole batch, one word on when to stop, nobody left."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from augsearch.policies import Distillation, Mixing, Policy, PolicyFile, Training, UserError
from augsearch.trainers.data.views import Decoded, LabeledImages
from augsearch.trainers.tasks import final as finals
from augsearch.trainers.tasks.final import FinalEpoch, FinalModel, train_final
from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan, final_training_part
from augsearch.trainers.training.distributed import Shard, agreed, device_of, others, sharing_gradients
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import train
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup
from tests.finished import finish

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, batch_size=16, accumulation=2, ema=0.9, precision="float32")


class Floating(nn.Module):
    """uint8 images in single precision, about zero."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float() / 128 - 1


def plain_learner() -> Learner:
    """Of a network without statistics of batches: halves of a batch teach it what the whole does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            Floating(), nn.Conv2d(3, 6, 3), nn.GELU(), nn.Conv2d(6, 8, 3), nn.Flatten(), nn.Linear(128, 4)
        )
    return Learner.prepare(network, RECIPE)


def learned(learner: Learner, shard: Shard) -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 8, 8, 3), dtype=np.uint8)
    data = LabeledImages(images, np.arange(100) % 4, 4)
    for _ in train(learner, TrainingSetup(data, Policy(num_ops=0), RECIPE, seed=5, device=CPU, shard=shard)):
        pass
    assert learner.average is not None
    states = learner.model.state_dict(), learner.average.module.state_dict()
    return [tensor for state in states for tensor in state.values()]


def share_a_training(shard: Shard, device: torch.device, folder: Path) -> None:
    """A rank's part of a training, which it leaves in the folder with what it was told in between."""
    learner = plain_learner()
    learner.parallel = sharing_gradients(learner.model, device, shard)
    told = [agreed(own if shard.rank == 0 else not own, device, shard) for own in (True, False, True)]
    torch.save((told, learned(learner, shard)), folder / f"{shard.rank}.pt")
    assert agreed(True, device, shard)


def test_two_processes_learn_together_what_one_learns_alone(tmp_path: Path) -> None:
    with others(share_a_training, 2, CPU, (tmp_path,)):
        share_a_training(Shard(0, 2), CPU, tmp_path)
    assert not multiprocessing.active_children()
    (told, first), (also_told, second) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert told == also_told == [True, False, True], "rank 0 decides"
    alone = learned(plain_learner(), Shard())
    fresh = list(plain_learner().model.state_dict().values())
    for one, other, expected in zip(first, second, alone, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)
    moved = max(float((one - before).abs().max()) for one, before in zip(first, fresh, strict=False))
    assert moved > 0.05


def find_something_bad(shard: Shard, device: torch.device) -> None:
    agreed(True, device, shard)
    raise UserError("photo.jpg cannot be read")


def lead() -> None:
    with others(find_something_bad, 2, CPU, ()):
        while agreed(True, CPU, Shard(0, 2)):
            pass


def test_what_another_process_finds_bad_is_said_here() -> None:
    with pytest.raises(UserError, match=r"^photo\.jpg cannot be read$"):
        lead()
    assert not multiprocessing.active_children()
    assert not torch.distributed.is_initialized()


class Deadly:
    """Whoever unpickles it dies."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


def test_a_process_that_dies_before_it_begins_is_not_waited_for() -> None:
    group = others(find_something_bad, 2, CPU, (Deadly(),))
    with pytest.raises(UserError, match=r"a process of the training died \(exit code 3\)"):
        group.__enter__()
    assert not multiprocessing.active_children()


def test_a_final_training_in_two_processes_stops_early_and_goes_on_like_one_in_one(
    source: Source, tmp_path: Path
) -> None:
    # The more is learned, the less agrees with a confirmation part that has the labels wrong.
    workspace = source.mislabeled("confirmation").study(tmp_path / "study", teacher="tiny")
    mixing = Mixing(kind="cutmix", probability=0.5)
    file = PolicyFile(
        policy=Policy(num_ops=1, magnitude=5, mixing=mixing),
        training=Training(distillation=Distillation(temperature=4, alpha=0.5)),
    )
    plan = FinalPlan(model="tiny", processes=2, patience=4, recipe=Recipe(epochs=30, ema=0.8))

    def start(name: str) -> Generator[FinalEpoch, None, FinalModel]:
        return train_final(
            FinalJob(
                workspace.folder,
                file,
                plan,
                Decoded(np.array(workspace.data.images)),
                final_training_part(source.splits, None),
                tmp_path / name / "model.safetensors",
            )
        )

    epochs, whole = finish(start("whole"))
    assert not multiprocessing.active_children()
    highest = max(epochs, key=lambda epoch: (epoch.validation.accuracy, -epoch.validation.log_loss))
    assert len(epochs) == whole.epochs == highest.training.epoch + 4 < 30
    assert whole.images == sum(epoch.training.images for epoch in epochs) == 192 * len(epochs)

    stopped = start("parts")
    next(stopped)
    (child,) = multiprocessing.active_children()
    stopped.close()
    assert not multiprocessing.active_children()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid or 0, 0)

    bereft = start("parts")
    assert next(bereft).training.epoch == 2
    (child,) = multiprocessing.active_children()
    os.kill(child.pid or 0, signal.SIGKILL)
    with pytest.raises(UserError, match=r"a process of the training died \(exit code -9\); the same command"):
        list(bereft)
    assert not multiprocessing.active_children()

    rest, parts = finish(start("parts"))
    assert len(rest) in (len(epochs) - 2, len(epochs) - 3), "it may have died in the epoch after"
    assert parts.path.read_bytes() == whole.path.read_bytes()
    kept = [dataclasses.replace(one, path=Path(), seconds=0, validation=None) for one in (parts, whole)]
    assert kept[0] == kept[1]
    assert parts.validation.log_loss == whole.validation.log_loss
    assert sorted(file.name for file in parts.path.parent.iterdir()) == ["model.json", "model.safetensors"]


def test_each_process_needs_a_gpu_of_its_own(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finals, "resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    workspace = source.study(tmp_path)
    training = train_final(
        FinalJob(
            workspace.folder,
            PolicyFile(policy=Policy(num_ops=0)),
            FinalPlan(model="tiny", processes=2),
            Decoded(workspace.data.images),
            final_training_part(source.splits, None),
            tmp_path / "model.safetensors",
        )
    )
    with pytest.raises(UserError, match="--processes 2: this machine has 1 CUDA devices"):
        next(training)
    assert device_of(torch.device("cuda"), Shard(1, 2)) == torch.device("cuda:1")
    assert device_of(CPU, Shard(1, 2)) == CPU


def test_alone_nothing_is_shared() -> None:
    network = nn.Linear(1, 1)
    assert sharing_gradients(network, CPU, Shard()) is None
    assert agreed(True, CPU, Shard())
    assert not agreed(False, CPU, Shard())
    with others(find_something_bad, 1, CPU, ()):
        assert not multiprocessing.active_children()
