"""One training in two processes: the gradients of the whole batch, one word on when to stop, nobody left."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from augsearch.policies import Distillation, Mixing, Policy, PolicyFile, Training, UserError
from augsearch.policies.atomic import whole_file
from augsearch.trainers.data.views import Decoded, LabeledImages
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.tasks import final as finals
from augsearch.trainers.tasks.final import FinalEpoch, FinalModel, train_final
from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan, final_training_part
from augsearch.trainers.training.distributed import (
    Member,
    Shard,
    agreed,
    device_of,
    joined,
    sharing_gradients,
    sharing_statistics,
    together,
)
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


def share_a_training(folder: Path, member: Member) -> None:
    """A rank's part of a training, which it leaves in the folder with what it was told in between."""
    shard, device = member.shard, member.device
    with joined(member):
        learner = plain_learner()
        learner.parallel = sharing_gradients(learner.model, device, shard)
        told = [agreed(own if shard.rank == 0 else not own, device, shard) for own in (True, False, True)]
        torch.save((told, learned(learner, shard)), folder / f"{shard.rank}.pt")
        assert agreed(True, device, shard)


def lead_a_training(folder: Path, member: Member) -> Generator[str, None, str]:
    yield f"{torch.get_num_threads()} threads"
    share_a_training(folder, member)
    return f"rank {member.shard.rank} of {member.shard.size}"


def test_two_processes_learn_together_what_one_learns_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "with a space, 50% and größe"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    events, result = finish(together(lead_a_training, share_a_training, 2, CPU, (tmp_path,)))
    assert (events, result) == ([f"{torch.get_num_threads()} threads"], "rank 0 of 2")
    assert not multiprocessing.active_children()
    assert not list(odd.iterdir())
    (told, first), (also_told, second) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert told == also_told == [True, False, True], "rank 0 decides"
    alone = learned(plain_learner(), Shard())
    fresh = list(plain_learner().model.state_dict().values())
    for one, other, expected in zip(first, second, alone, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)
    moved = max(float((one - before).abs().max()) for one, before in zip(first, fresh, strict=False))
    assert moved > 0.05


Events = Generator[int, None, None]


def lead_for_ever(raised: Exception, member: Member) -> Events:
    with joined(member):
        for number in count():
            yield number
            agreed(True, member.device, member.shard)


def fail_the_second_time(raised: Exception, member: Member) -> None:
    with joined(member):
        agreed(True, member.device, member.shard)
        raise raised


def fail_at_once(raised: Exception, member: Member) -> None:
    raise raised


def fail_as_the_first(raised: Exception, member: Member) -> Events:
    with joined(member):
        yield 0
        agreed(True, member.device, member.shard)
        raise raised


def go_along(raised: Exception, member: Member) -> None:
    with joined(member):
        while True:
            agreed(True, member.device, member.shard)


def hear_of_nothing(raised: Exception, member: Member) -> Events:
    """As a process that waits in NCCL: whatever becomes of the others, it goes on waiting."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with joined(member):
        yield 0
        agreed(True, member.device, member.shard)
        threading.Event().wait()


def go_along_unless_second(raised: Exception, member: Member) -> None:
    (fail_the_second_time if member.shard.rank == 2 else go_along)(raised, member)


def fail_once_the_first_complains(raised: Exception, member: Member) -> None:
    with joined(member):
        agreed(True, member.device, member.shard)
        torch.distributed.destroy_process_group()
        time.sleep(1)
        raise raised


FAILURES: dict[str, tuple[Callable[..., Events], Callable[..., None], int]] = {
    "before it joins": (lead_for_ever, fail_at_once, 2),
    "as the first": (fail_as_the_first, go_along, 2),
    "where the first notices nothing": (hear_of_nothing, fail_the_second_time, 2),
    "after the first complains that it is gone": (lead_for_ever, fail_once_the_first_complains, 2),
    "where all others break off with it": (lead_for_ever, go_along_unless_second, 3),
}


@pytest.mark.parametrize("where", FAILURES)
def test_what_another_process_finds_bad_is_said_here(where: str) -> None:
    lead, work, size = FAILURES[where]
    raised = TrainingDivergedError("the loss became nan in epoch 3; lower the learning rate")
    with pytest.raises(TrainingDivergedError, match=rf"^{raised}$"):
        finish(together(lead, work, size, CPU, (raised,)))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (UserError("photo.jpg cannot be read"), "photo.jpg cannot be read"),
        (
            RuntimeError("CUDA error: device-side assert triggered\nCompile with\nTORCH_USE_CUDA_DSA"),
            "process 1 of the training failed (RuntimeError: CUDA error: device-side assert triggered); "
            "the same command goes on after the last epoch",
        ),
    ],
)
def test_whatever_another_process_raises_is_one_line(raised: Exception, said: str) -> None:
    with pytest.raises(UserError) as error:
        finish(together(lead_for_ever, fail_the_second_time, 2, CPU, (raised,)))
    assert str(error.value) == said
    if not isinstance(raised, UserError):
        assert "in fail_the_second_time" in error.value.__notes__[0], "where it was raised is not lost"
    assert not multiprocessing.active_children()


def leave_in_silence(raised: None, member: Member) -> None:
    with joined(member):
        agreed(True, member.device, member.shard)


def test_who_is_left_alone_for_no_reason_that_is_known_says_so() -> None:
    with pytest.raises(
        UserError, match=r"^process 0 of the training lost the others; the same command goes on"
    ):
        finish(together(lead_for_ever, leave_in_silence, 2, CPU, (None,)))
    assert not multiprocessing.active_children()


class Deadly:
    """Whoever unpickles it dies."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


def test_a_process_that_dies_before_it_begins_is_not_waited_for() -> None:
    with pytest.raises(UserError, match=r"a process of the training died \(exit code 3\)"):
        finish(together(lead_for_ever, go_along, 2, CPU, (Deadly(),)))
    assert not multiprocessing.active_children()


def child(rank: int) -> int:
    """The process of a rank that was started here."""
    (pid,) = [one.pid for one in multiprocessing.active_children() if one.name.endswith(f"rank {rank}")]
    assert pid is not None
    return pid


@pytest.mark.parametrize("rank", [0, 2])
def test_whichever_is_killed_that_is_said(rank: int) -> None:
    training = together(lead_for_ever, go_along, 3, CPU, (None,))
    assert [next(training), next(training)] == [0, 1]
    os.kill(child(rank), signal.SIGKILL)
    with pytest.raises(UserError, match=r"a process of the training died \(exit code -9\); the same command"):
        finish(training)
    assert not multiprocessing.active_children()


def leave_word(path: Path, member: Member) -> Events:
    try:
        with joined(member):
            yield from count()
    except GeneratorExit:
        path.write_text("stopped")
        raise


def wait_for_the_first(path: Path, member: Member) -> None:
    with joined(member):
        agreed(True, member.device, member.shard)


def test_the_first_may_end_what_it_began_when_it_is_stopped(tmp_path: Path) -> None:
    training = together(leave_word, wait_for_the_first, 2, CPU, (tmp_path / "word",))
    assert [next(training), next(training)] == [0, 1]
    training.close()
    assert (tmp_path / "word").read_text() == "stopped"
    assert not multiprocessing.active_children()


def write_a_large_file(path: Path, member: Member) -> Events:
    yield 0
    with whole_file(path) as temporary:
        temporary.touch()
        threading.Event().wait()


def fail_when_it_is_half_written(path: Path, member: Member) -> None:
    while not list(path.parent.iterdir()):
        time.sleep(0.01)
    raise UserError("photo.jpg cannot be read")


def test_no_half_written_file_stays_behind(tmp_path: Path) -> None:
    training = together(write_a_large_file, fail_when_it_is_half_written, 2, CPU, (tmp_path / "model",))
    with pytest.raises(UserError, match="photo"):
        finish(training)
    assert not list(tmp_path.iterdir())


# A program without a guard, as scripts and notebooks have none, that ends in the midst of a training.
PROGRAM = """
import os, signal, sys, time
sys.path.insert(0, {folder!r})
import multiprocessing, torch
from augsearch.trainers.training.distributed import together
from parts import lead, work
training = together(lead, work, 2, torch.device("cpu"), ())
print("begun", flush=True)
print(next(training), flush=True)
print(*(one.pid for one in multiprocessing.active_children()), flush=True)
{end}
print(next(training), flush=True)
"""
PARTS = """
from augsearch.trainers.training.distributed import agreed, joined
def lead(member):
    yield "at work"
    with joined(member):  # for which the other one waits
        agreed(True, member.device, member.shard)
        yield "joined"
def work(member):
    with joined(member):
        agreed(True, member.device, member.shard)
"""


def program(folder: Path, end: str) -> tuple[subprocess.Popen[str], list[str]]:
    """The program, and the numbers of the processes that it has started."""
    (folder / "parts.py").write_text(PARTS)
    script = folder / "script.py"
    script.write_text(PROGRAM.format(folder=str(folder), end=end))
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["begun\n", "at work\n"]
    return process, process.stdout.readline().split()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="sees by /proc whether a process is there")
def test_whoever_is_killed_leaves_nobody_waiting_for_it(tmp_path: Path) -> None:
    started, children = program(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    output, _ = started.communicate()
    assert (started.returncode, output) == (-signal.SIGKILL, "")
    assert len(children) == 2
    while any(is_there(one) for one in children):
        time.sleep(0.1)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Windows has no groups of processes")
def test_ctrl_c_is_left_to_whoever_started_them(tmp_path: Path) -> None:
    started, children = program(
        tmp_path,
        "try:\n    os.killpg(0, signal.SIGINT); time.sleep(60)\nexcept KeyboardInterrupt: pass",
    )
    output, _ = started.communicate()
    assert len(children) == 2
    assert (started.returncode, output) == (0, "joined\n")


def is_there(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").split()[2] != "Z"
    except OSError:
        return False


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
    other = child(1)
    stopped.close()
    assert not multiprocessing.active_children()
    with pytest.raises(ProcessLookupError):
        os.kill(other, 0)

    bereft = start("parts")
    assert next(bereft).training.epoch == 2
    os.kill(child(1), signal.SIGKILL)
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


@pytest.mark.parametrize(
    ("device", "gpus", "said"),
    [
        ("cuda", 1, "--processes 2: this machine has 1 CUDA devices"),
        (
            "cuda:1",
            2,
            "--processes 2: each takes a GPU of its own, and --device cuda:1 is one; give --device cuda",
        ),
    ],
)
def test_each_process_needs_a_gpu_of_its_own(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, said: str
) -> None:
    monkeypatch.setattr(finals, "resolve_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    workspace = source.study(tmp_path, device=device)
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
    with pytest.raises(UserError, match=said):
        next(training)
    assert device_of(torch.device("cuda"), Shard(1, 2)) == torch.device("cuda:1")
    assert device_of(CPU, Shard(1, 2)) == CPU


@pytest.mark.parametrize("name", ["medium", "timm:efficientnet_b0", "timm:resnet18"])
def test_batch_norms_of_whole_batches_stay_the_same_but_for_that(name: str) -> None:
    # What they compute in a group is torch's own affair, on GPUs alone.
    grey = (128.0,) * 3
    spec = ModelSpec(name=name, channels=3, image_size=32, classes=("cat", "dog"), mean=grey, std=grey)
    plain, shared = build_model(spec, seed=0), build_model(spec, seed=0)
    kept, parameters = list(shared.state_dict()), list(shared.parameters())
    sharing_statistics(shared, CPU, Shard(0, 2))
    sharing_statistics(shared, torch.device("cuda"), Shard())
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in shared.modules())
    sharing_statistics(shared, torch.device("cuda"), Shard(0, 2))
    norms = [module for module in shared.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    assert list(shared.state_dict()) == kept
    assert all(one is other for one, other in zip(shared.parameters(), parameters, strict=True))
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    for mode in (True, False):
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            expected = plain.train(mode)(images)
            torch.manual_seed(0)
            assert torch.equal(shared.train(mode)(images), expected)
    for one, other in zip(shared.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other)


class Own(nn.BatchNorm2d):
    """One that does something else besides, which would be lost."""


def test_batch_norms_of_an_unknown_kind_are_left_alone() -> None:
    norm = nn.BatchNorm2d(3)
    network = nn.ModuleDict({"own": Own(3), "one": norm, "same": norm})
    sharing_statistics(network, torch.device("cuda"), Shard(0, 2))
    assert type(network["own"]) is Own
    assert type(network["one"]) is nn.SyncBatchNorm
    assert network["same"] is network["one"]


def test_alone_nothing_is_shared() -> None:
    network = nn.Linear(1, 1)
    assert sharing_gradients(network, CPU, Shard()) is None
    assert agreed(True, CPU, Shard())
    assert not agreed(False, CPU, Shard())
    with joined(Member(Shard(), CPU, "")):
        assert not torch.distributed.is_initialized()
