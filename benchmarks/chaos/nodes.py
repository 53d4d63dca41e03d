"""A Ray cluster on this machine: a head without room for a task, where the driver is, and nodes of a core."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.chaos.processes import below, now

NODES = 2
TRIES = 20
OF_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_health_check_timeout_ms": "60000",
}
"""Read as Ray is imported. A node whose processes are slow, as all are on a busy machine, would be given up:
for good here, where nobody starts another."""


class RayNodes:
    """The cluster; its processes are below this one."""

    def __init__(
        self, far: Path | None, environment: Mapping[str, str] | None = None, every: int = 2
    ) -> None:
        """``far``: where one node in ``every`` keeps what it is sent, looking at no other folder; None: all
        do look. ``environment``: of all tasks."""
        self.far, self._environment, self._made = far, dict(environment or {}), 0
        self._every = every
        self._cluster = new_cluster()
        self._nodes = [self._another() for _ in range(NODES)]

    @property
    def address(self) -> str:
        """Where drivers find it."""
        return str(self._cluster.address)

    def _another(self) -> Any:
        variables = dict(self._environment)
        if self.far is not None and self._made % self._every == self._every - 1:
            home = self.far / f"node {self._made}"
            variables |= {"AUGSEARCH_SHARED": "no", "AUGSEARCH_HOME": str(home)}
        self._made += 1
        return another_node(self._cluster, num_cpus=1, env_vars=variables)

    def lose(self, chance: random.Random) -> None:
        """One node is gone, as when its machine is."""
        node = self._nodes.pop(chance.randrange(len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)

    def gain(self) -> None:
        """Another node comes."""
        self._nodes.append(self._another())

    def close(self) -> None:
        """End all of it."""
        self._cluster.shutdown()


def new_cluster() -> Any:
    """Ray's ``Cluster`` of a node without room for any task."""
    os.environ.update(OF_RAY | os.environ)
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "wait": False}
    return _patiently(lambda: Cluster(initialize_head=True, head_node_args=head))


def another_node(cluster: Any, **options: Any) -> Any:
    """A node that joins ``cluster``; ``options`` are those of its ``add_node``."""
    return _patiently(lambda: cluster.add_node(wait=False, **options))


def _patiently(start: Callable[[], Any]) -> Any:
    """What ``start`` starts. Ray gives up when a call takes half a minute, as on a busy machine it may: then
    what it left behind is ended, and it is asked again."""
    for tries_left in reversed(range(TRIES)):
        began = now()
        try:
            return start()
        except Exception:  # of no kind of its own
            for process in below(os.getpid()):
                # By its age: a list of all that were there before is never sure to be whole.
                if int(process.born) >= began:
                    process.send(signal.SIGKILL)
            if not tries_left:
                raise
    raise AssertionError
