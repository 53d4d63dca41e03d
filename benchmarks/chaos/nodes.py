"""A Ray cluster on this machine: a head without room for a task, where the driver is, and nodes of a core."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NODES = 2
_FOR_SLOW_MACHINES = {
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_gcs_server_request_timeout_seconds": "600",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Ray gives up on what has not started after half a minute."""


class RayNodes:
    """The cluster; its processes are below this one."""

    def __init__(self, far: Path | None, environment: Mapping[str, str] | None = None) -> None:
        """``far``: where every other node keeps what it is sent, as it looks at no other folder;
        None: all do. ``environment``: of all tasks."""
        os.environ.update(_FOR_SLOW_MACHINES | os.environ)
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "wait": False}
        self.far, self._environment, self._made = far, dict(environment or {}), 0
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self._nodes = [self._another() for _ in range(NODES)]

    @property
    def address(self) -> str:
        """Where drivers find it."""
        return str(self._cluster.address)

    def _another(self) -> Any:
        variables = dict(self._environment)
        if self.far is not None and self._made % 2:
            home = self.far / f"node {self._made}"
            variables |= {"AUGSEARCH_SHARED": "no", "AUGSEARCH_HOME": str(home)}
        self._made += 1
        return self._cluster.add_node(num_cpus=1, wait=False, env_vars=variables)

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
