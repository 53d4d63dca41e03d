"""Room on a Ray cluster for the processes of a final training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from augsearch.policies import UserError

REPLACED, PATIENCE, ANEW = 300.0, 10.0, 60.0
"""Seconds for which a node that was lost may be missed, or a process not come up; those after which it is
said what is waited for; those after which room is asked for anew, as the nodes may be others by then."""


class Cluster(Protocol):
    """What is asked of the engine."""

    def on_gpus(self, resources: dict[str, float]) -> bool:
        """Whether trainings run on GPUs, where Ray has these resources."""

    def close(self) -> None:
        """Leave the cluster."""


@dataclass(frozen=True, slots=True)
class Room:
    """What is held for the processes of a training."""

    place: dict[str, int]
    """What each takes."""
    group: Any
    """Ray's placement group of as many places."""


def room_for(size: int, engine: Cluster, patience: float, say: Callable[[str], None]) -> Room:
    """Room for ``size`` processes, waited for while others have it.

    Raises:
        UserError: the cluster has not as much at all, for ``patience`` seconds.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    waited = False
    while True:
        place = _place(size, engine, REPLACED if waited else patience)
        group = placement_group([place] * size, strategy="PACK")
        try:
            ready = [group.ready()]
            if not waited and not ray.wait(ready, timeout=PATIENCE)[0]:
                say(f"waiting until the cluster has room for the final training: {in_words(size, place)}")
                waited = True
            if ray.wait(ready, timeout=ANEW)[0]:
                ray.get(ready)
                return Room(place, group)
        except BaseException:
            remove_placement_group(group)
            raise
        remove_placement_group(group)  # its nodes may be gone, and Ray would wait for such others without end


def _place(size: int, engine: Cluster, patience: float) -> dict[str, int]:
    """What each of ``size`` processes takes: a GPU and its share of the cores, or as many cores as can be.

    Raises:
        UserError: there are not as many, for ``patience`` seconds.
    """
    until = time.monotonic() + patience
    while True:
        try:
            return _place_now(size, engine)
        except UserError:
            if time.monotonic() > until:
                raise
        time.sleep(1)


def _place_now(size: int, engine: Cluster) -> dict[str, int]:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [int(node.get("CPU", 0)) for node in nodes]
    if not engine.on_gpus(ray.cluster_resources()):
        for each in range(max(cores, default=0), 0, -1):
            if sum(core // each for core in cores) >= size:
                return {"CPU": each}
        raise UserError(f"--processes {size}: the cluster has {sum(cores)} cores")
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    if sum(gpus) < size:
        raise UserError(f"--processes {size}: the cluster has {sum(gpus)} GPUs")
    each = min(core // gpu for core, gpu in zip(cores, gpus, strict=True) if gpu)
    return {"CPU": max(1, each), "GPU": 1}


def in_words(size: int, place: Mapping[str, int]) -> str:
    """So many processes, and what each takes."""
    processes = "one process" if size == 1 else f"{size} processes"
    what = "a GPU" if "GPU" in place else "a core" if place["CPU"] == 1 else f"{place['CPU']} cores"
    return f"{processes} with {what}{' each' if size > 1 else ''}"
