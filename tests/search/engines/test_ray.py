"""Ray: what it loses costs a task, limits hold, and nodes come and go."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import Any

import pytest

from augsearch.policies import UserError
from augsearch.search.engines.engine import OverLimitError, WorkerLostError
from augsearch.search.engines.ray import RayEngine
from augsearch.search.engines.registry import start_engine
from augsearch.search.engines.worker import Limits
from augsearch.search.settings.sections import EngineSettings
from benchmarks.chaos.nodes import another_node, new_cluster

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'augsearch[ray]'")
LONG = 600
"""Seconds; longer than any of these tasks takes on the busiest machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A node without room for any task, where the driver is; what is added runs them."""
    made = new_cluster()
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def engine(cluster: Any) -> Iterator[RayEngine]:
    made = start_engine(EngineSettings(name="ray", address=cluster.address))
    assert isinstance(made, RayEngine)
    yield made
    made.close()


SLEEPS = """
import pathlib, os, time
(pathlib.Path({folder!r}) / str(os.getpid())).touch()
time.sleep(600)
"""
"""A task that says that it has begun."""


def test_nodes_come_and_go(cluster: Any, engine: RayEngine, tmp_path: Path) -> None:
    node = another_node(cluster, num_cpus=1)
    other = another_node(cluster, num_cpus=2)
    cluster.wait_for_nodes(LONG)
    assert engine.slots == 3
    assert engine.submit(abs, -5).result(LONG) == 5
    running = [engine.submit(exec, SLEEPS.format(folder=str(tmp_path))) for _ in range(3)]
    while len(list(tmp_path.iterdir())) < 3:
        time.sleep(0.1)
    cluster.remove_node(other, allow_graceful=False)
    lost = wait(running, LONG, FIRST_COMPLETED).done.pop().exception()
    assert isinstance(lost, WorkerLostError)
    assert "Ray lost a worker" in str(lost)
    cluster.remove_node(node)


@pytest.fixture
def node(cluster: Any, engine: RayEngine) -> Iterator[None]:
    """One with a core, while a test runs: tests run in any order, and each alone."""
    made = another_node(cluster, num_cpus=1)
    yield
    cluster.remove_node(made)


@pytest.mark.usefixtures("node")
def test_a_task_keeps_its_limits_and_a_dying_one_costs_itself_alone() -> None:
    engine = RayEngine(Limits(1), "auto", None, None)
    with pytest.raises(OverLimitError, match="longer than 1 s"):
        engine.submit(time.sleep, LONG).result(LONG)
    with pytest.raises(WorkerLostError, match="a worker died"):
        RayEngine(Limits(LONG), "auto", None, None).submit(os._exit, 3).result(LONG)


@pytest.mark.usefixtures("node")
def test_a_ray_that_was_there_before_stays_as_it_is(engine: RayEngine) -> None:
    start_engine(EngineSettings(name="ray")).close()
    assert ray.is_initialized()
    assert engine.submit(abs, -5).result(LONG) == 5
    with pytest.raises(UserError, match="device cuda: Ray knows of no GPU"):
        start_engine(EngineSettings(name="ray", device="cuda"))


def test_tasks_without_a_node_wait_for_one_and_say_so(cluster: Any, engine: RayEngine) -> None:
    assert engine.waits_for() is None
    waiting = engine.submit(abs, -5)
    while (said := engine.waits_for()) is None:  # until the last test's node is known to be gone
        time.sleep(0.1)
    assert said == "no node of the Ray cluster has a core; this goes on as soon as one joins it"
    node = another_node(cluster, num_cpus=1)
    assert waiting.result(LONG) == 5
    cluster.remove_node(node)


@pytest.mark.usefixtures("engine")
def test_gpus_are_shared(cluster: Any) -> None:
    """No machine of the tests has any: Ray believes what a node says, and tasks see what Ray gives."""
    node = another_node(cluster, num_cpus=4, num_gpus=2, include_dashboard=False)
    cluster.wait_for_nodes(LONG)
    engine = RayEngine(Limits(LONG), "cuda", None, 1)
    assert engine.slots == 2
    assert engine.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result(LONG) in ("0", "1")
    cluster.remove_node(node)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"device": "cuda:1"}, "device cuda:1: Ray gives each fold a GPU"),
        ({"address": "127.0.0.1:1"}, "Ray on 127.0.0.1:1 can't be reached"),
    ],
)
def test_what_ray_cannot_do_is_one_line(settings: dict[str, Any], said: str) -> None:
    ray.shutdown()
    with pytest.raises(UserError, match=re.escape(said)) as error:
        start_engine(EngineSettings(name="ray", **settings))
    assert "\n" not in str(error.value)
