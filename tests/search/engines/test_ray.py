"""Ray: what it loses costs a task, limits hold, and nodes come and go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from augsearch.search.engines.engine import WorkerLostError
from augsearch.search.engines.ray import RayEngine
from augsearch.search.engines.registry import start_engine
from augsearch.search.settings.sections import EngineSettings

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'augsearch[ray]'")
LONG = 600
"""Seconds; longer than any of these tasks takes on the busiest machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A node without room for any task, where the driver is; what is added runs them."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def engine(cluster: Any) -> Iterator[RayEngine]:
    made = start_engine(EngineSettings(name="ray", address=cluster.address))
    assert isinstance(made, RayEngine)
    yield made
    made.close()


def test_nodes_come_and_go(cluster: Any, engine: RayEngine) -> None:
    node = cluster.add_node(num_cpus=1)
    other = cluster.add_node(num_cpus=2)
    assert engine.slots == 3
    assert engine.submit(abs, -5).result(LONG) == 5
    lost = [engine.submit(time.sleep, LONG) for _ in range(3)]
    cluster.remove_node(other, allow_graceful=False)
    done = [error for future in lost if (error := told(future))]
    assert done
    assert all(isinstance(error, WorkerLostError) for error in done)
    assert "Ray lost" in str(done[0])
    cluster.remove_node(node)


def told(future: Any) -> BaseException | None:
    try:
        return future.exception(60)
    except TimeoutError:
        return None
