"""The final training on a Ray cluster: the model of this machine, whatever becomes of the nodes."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from augsearch.policies import Distillation, Policy, PolicyFile, Training, UserError
from augsearch.search.cli import main
from augsearch.search.engines import ray_final, ray_room
from augsearch.search.engines.registry import final_trainer, start_engine
from augsearch.search.settings.sections import EngineSettings
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import split
from augsearch.trainers.data.views import OnDisk
from augsearch.trainers.tasks.final import train_final
from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan
from augsearch.trainers.training import checkpoints
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.workspace.candidate import ProxySettings
from augsearch.trainers.workspace.folder import write_workspace
from benchmarks.chaos.nodes import NODES, RayNodes
from tests.finished import finish

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'augsearch[ray]'")
EPOCHS = 4


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    """A node without room for any process, where the driver is, and two that see no folder but their own."""
    with closing(RayNodes(tmp_path_factory.mktemp("far"), every=1)) as made:
        yield made


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def job(tmp_path: Path) -> FinalJob:
    """Of photos, which are read from their files, with a teacher."""
    rng = np.random.default_rng(0)
    for number in range(60):
        colour = np.eye(3)[number % 3] * 60 + rng.normal(90, 40, (80, 90, 3))
        path = tmp_path / "photos" / ("red", "green", "blue")[number % 3] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colour.clip(0, 255).astype(np.uint8)).save(path)
    data = open_images(str(tmp_path / "photos"), image_size=16, cache=Path("mlruns/cache"))
    splits = split(data.labels, data.given, classes=data.classes, seed=0)
    proxy = ProxySettings(model="tiny", epochs=1, fold_size=20, seed=0, device="cpu", teacher="tiny")
    made = write_workspace(Path("mlruns/work/final"), data, splits, proxy)
    pixels = OnDisk([tmp_path / "photos" / file for file in data.files], 72, 3, kept_in=Path("mlruns/cache"))
    training = Training(distillation=Distillation(temperature=2, alpha=0.5))
    file = PolicyFile(policy=Policy(num_ops=1, magnitude=5), training=training)
    plan = FinalPlan(model="tiny", recipe=Recipe(epochs=EPOCHS, precision="float32"))
    path = tmp_path / "out" / "model.safetensors"
    path.parent.mkdir()
    return FinalJob(made.folder, file, plan, pixels, splits.train, path)


def shared(job: FinalJob, processes: int) -> FinalJob:
    return replace(job, plan=job.plan.model_copy(update={"processes": processes}))


def elsewhere(cluster: RayNodes, job: FinalJob, say: Callable[[str], None] = print) -> Any:
    trainer = final_trainer(EngineSettings(name="ray", address=cluster.address))
    assert trainer is not None
    return trainer(job, say)


@pytest.mark.parametrize("processes", [1, 2])
def test_it_comes_to_the_model_of_this_machine(cluster: RayNodes, job: FinalJob, processes: int) -> None:
    job, said = shared(job, processes), list[str]()
    epochs, there = finish(elsewhere(cluster, job, said.append))
    here = replace(job, path=job.path.with_name("here.safetensors"))
    expected, model = finish(train_final(here))
    assert [one.training.epoch for one in epochs] == list(range(1, EPOCHS + 1))
    assert [one.validation.accuracy for one in epochs] == [one.validation.accuracy for one in expected]
    assert job.path.read_bytes() == here.path.read_bytes()
    assert there.path == job.path
    assert (there.best_epoch, there.images, there.trained_on) == (model.best_epoch, model.images, 30)
    assert there.teacher == model.teacher
    assert sorted(path.name for path in job.path.parent.iterdir()) == [
        *("here.json", "here.safetensors", "model.json", "model.safetensors")
    ]
    core = "one process with a core" if processes == 1 else "2 processes with a core each"
    nodes = "a node" if processes == 1 else "2 nodes"
    assert said == [f"it runs on {nodes} of the cluster: {core}"]
    assert not ray.is_initialized()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_node_that_is_lost_costs_what_came_after_the_last_checkpoint(
    cluster: RayNodes, job: FinalJob, processes: int
) -> None:
    job, said = shared(job, processes), list[str]()
    training = elsewhere(cluster, job, said.append)
    first = next(training)
    assert job.checkpoint.exists()
    for _ in range(NODES):
        cluster.lose(random.Random(0))
    for _ in range(NODES):
        cluster.gain()
    epochs, there = finish(training)
    assert [one.training.epoch for one in (first, *epochs)] == list(range(1, EPOCHS + 1))
    assert there.epochs == EPOCHS
    assert not job.checkpoint.exists()
    assert [line for line in said if line.endswith("; the final training goes on after the last checkpoint")]
    here = replace(job, path=job.path.with_name("here.safetensors"))
    finish(train_final(here))
    assert job.path.read_bytes() == here.path.read_bytes()


def test_a_process_that_notices_before_ray_does_that_another_is_gone_ends_nothing(
    cluster: RayNodes, job: FinalJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed = tmp_path / "noticed"

    class Noticing(ray_final._Process):
        def next(self) -> Any:
            if self._told and not noticed.exists():
                noticed.touch()
                raise RuntimeError("[gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer")
            return super().next()

    monkeypatch.setattr(ray_final, "_actor", lambda: ray.remote(Noticing))
    monkeypatch.setattr(ray_final, "LAST_WORDS", 0.1)
    monkeypatch.setattr(ray_final, "PAUSE", 0.1)
    said = list[str]()
    epochs, there = finish(elsewhere(cluster, shared(job, 2), said.append))
    assert noticed.exists()
    assert [one.training.epoch for one in epochs] == list(range(1, EPOCHS + 1))
    assert there.epochs == EPOCHS
    lost = "a process of the training lost another one; the final training goes on after the last checkpoint"
    assert said.count(lost) == 1


def test_one_that_is_stopped_goes_on_here_or_there(
    cluster: RayNodes, job: FinalJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 1000.0)
    with closing(elsewhere(cluster, job)) as training:
        next(training)
        next(training)
    with closing(train_final(job)) as training:
        assert next(training).training.epoch == 3
    epochs, _ = finish(elsewhere(cluster, job))
    assert [one.training.epoch for one in epochs] == [4]


def test_room_is_waited_for_and_asked_for_anew(
    cluster: RayNodes, job: FinalJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it waited for first may lie on nodes that are gone by then."""
    monkeypatch.setattr(ray_room, "PATIENCE", 0.5)
    monkeypatch.setattr(ray_room, "ANEW", 0.5)
    over, said = tmp_path / "over", list[str]()
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(over)!r}).exists(): time.sleep(0.1)"
    engine = start_engine(EngineSettings(name="ray", address=cluster.address))
    with closing(engine):
        others = [engine.submit(exec, waits) for _ in range(NODES)]
        while ray.available_resources().get("CPU"):
            time.sleep(0.1)

        def say(line: str) -> None:
            said.append(line)
            threading.Timer(2, over.touch).start()

        epochs, _ = finish(elsewhere(cluster, job, say))
        assert [other.result() for other in others] == [None] * NODES
    assert len(epochs) == EPOCHS
    assert said == [
        "waiting until the cluster has room for the final training: one process with a core",
        "it runs on a node of the cluster: one process with a core",
    ]


def test_more_processes_than_there_are_places_are_refused(cluster: RayNodes, job: FinalJob) -> None:
    with pytest.raises(UserError, match=r"--processes 99: the cluster has \d cores"):
        next(elsewhere(cluster, shared(job, 99)))


def test_what_is_wrong_with_the_training_is_told_as_here(cluster: RayNodes, job: FinalJob) -> None:
    torch.save({"other": torch.zeros(3)}, "weights.pt")
    plan = job.plan.model_copy(update={"weights": "weights.pt", "processes": 2})
    with pytest.raises(UserError) as there:
        next(elsewhere(cluster, replace(job, plan=plan)))
    with pytest.raises(UserError) as here:
        next(train_final(replace(job, plan=plan)))
    there_said, here_said = str(there.value).split("weights.pt"), str(here.value).split("weights.pt")
    assert there_said[-1] == here_said[-1] != ""


def test_the_command_trains_on_the_cluster(cluster: RayNodes, stripes: str) -> None:
    flags = ["--policy", "flip-crop", "--model", "tiny", "--epochs", "1", "--output", "out"]
    where = ["--engine", "ray", "--address", cluster.address]
    done = CliRunner().invoke(main, ["train", stripes, *flags, *where, "--json"])
    assert done.exit_code == 0, done.output
    assert "it runs on a node of the cluster: one process with a core" in done.stderr
    assert json.loads(done.stdout)["model"] == "out/model.safetensors"
    assert Path("out/model.safetensors").exists()
