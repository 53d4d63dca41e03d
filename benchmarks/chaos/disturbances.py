"""What may happen to a search: each a function that does it, by chance, and says whether there was anything
to do it to."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import sqlalchemy

from benchmarks.chaos.nodes import RayNodes
from benchmarks.chaos.processes import Process, kept_beside, ray_workers, workers_of
from benchmarks.chaos.search import Search
from benchmarks.servers import MlflowServer, Postgres, at_once

T = TypeVar("T")

BETWEEN, MOST_FOLDS, LONGEST = (0.5, 4.0), 5, 60.0
"""Between two disturbances: seconds; folds that end, fewer than these; seconds for which they are awaited."""
_COUNT = (
    "SELECT (SELECT count(*) FROM trial_user_attributes WHERE key LIKE 'fold %') + "
    "(SELECT count(*) FROM study_user_attributes WHERE key LIKE 'confirmation %')"
)
AWAY = (0.0, 3.0)
"""Seconds for which a server or a node is away, or a worker hangs."""
MOST_LOSSES = 2
"""Workers that are killed under one driver: a fold whose workers die three times is at fault by itself."""


@dataclass
class Surroundings:
    """A round's searches, and all that they need."""

    searches: Sequence[Search]
    postgres: Postgres
    mlflow: MlflowServer
    nodes: RayNodes | None
    """None: the folds run in the drivers' own workers."""
    chance: random.Random
    stopped: list[Process] = field(default_factory=list)
    """Who was stopped for good."""

    def some_search(self) -> Search | None:
        """One that runs."""
        return self._one([search for search in self.searches if search.ended is None])

    def _one(self, found: Sequence[T]) -> T | None:
        return self.chance.choice(found) if found else None

    def some_worker(self) -> Process | None:
        """A process that trains folds, or waits for some."""
        if self.nodes is not None:
            return self._one(kept_beside(os.getpid()))
        search = self.some_search()
        return None if search is None else self._one(workers_of(search.driver))

    def some_ray_worker(self) -> Process | None:
        """A process of Ray's that runs tasks, or waits for some."""
        return self._one(ray_workers(os.getpid()))

    def may_lose_another(self) -> bool:
        """Whether a worker may die without a fold being given up."""
        return all(search.losses < MOST_LOSSES for search in self.searches)

    def lost(self) -> None:
        """Count a worker that was killed: nobody knows which search it worked for."""
        for search in self.searches:
            search.losses += 1

    def wait(self) -> None:
        """A while, by chance."""
        time.sleep(self.chance.uniform(*AWAY))

    def wait_for_folds(self) -> None:
        """A while by chance, in which some folds end: so a slow machine's search is met at all its times too.

        But not for long, as none ends while a search starts anew.
        """
        time.sleep(self.chance.uniform(*BETWEEN))
        wanted, until = self._folds() + self.chance.randrange(MOST_FOLDS), time.monotonic() + LONGEST
        while self._folds() < wanted and time.monotonic() < until and self.some_search() is not None:
            time.sleep(0.5)

    def _folds(self) -> int:
        """How many results of folds the database has."""
        try:
            with at_once(self.postgres.address) as connection:
                return int(connection.execute(sqlalchemy.text(_COUNT)).scalar_one())
        except sqlalchemy.exc.SQLAlchemyError:  # no study has been there yet
            return 0

    def clear(self) -> None:
        """End who was stopped for good."""
        for process in self.stopped:
            process.send(signal.SIGKILL)


def _driver(around: Surroundings) -> bool:
    search = around.some_search()
    if search is None:
        return False
    search.kill()
    search.start()
    return True


def _killed(around: Surroundings, process: Process | None) -> bool:
    if process is None or not process.send(signal.SIGKILL):
        return False
    around.lost()
    return True


def _worker(around: Surroundings) -> bool:
    return around.may_lose_another() and _killed(around, around.some_worker())


def _ray_worker(around: Surroundings) -> bool:
    return around.may_lose_another() and _killed(around, around.some_ray_worker())


def _node(around: Surroundings) -> bool:
    if around.nodes is None or not around.may_lose_another():
        return False
    around.nodes.lose(around.chance)
    around.lost()
    around.wait()
    around.nodes.gain()
    return True


def _postgres(around: Surroundings) -> bool:
    around.postgres.stop()
    around.wait()
    around.postgres.start()
    return True


def _mlflow(around: Surroundings) -> bool:
    around.mlflow.kill()
    around.wait()
    around.mlflow.start()
    return True


def _paused(around: Surroundings, process: Process | None) -> bool:
    if process is None or not process.send(signal.SIGSTOP):
        return False
    around.wait()
    process.send(signal.SIGCONT)
    return True


def _pause(around: Surroundings) -> bool:
    return _paused(around, around.some_worker())


def _ray_pause(around: Surroundings) -> bool:
    return _paused(around, around.some_ray_worker())


def _teacher(around: Surroundings) -> bool:
    """Remove a file of a teacher, or all teachers, from the folder that searches share, or from a node's."""
    folders = [around.searches[0].folder / "mlruns/work"]
    if around.nodes is not None and around.nodes.far is not None:
        folders += around.nodes.far.glob("*/workspaces")
    places = [path for folder in folders for path in folder.glob("*/teachers/*")]
    files = sorted(path for path in places if path.suffix != ".lock")
    if not files:
        return False
    path = around.chance.choice(files)
    if around.chance.random() < 0.5:
        shutil.rmtree(path.parent, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
    return True


def stop_for_good(around: Surroundings, process: Process | None) -> bool:
    """Have a process hang and never go on."""
    if process is None or not process.send(signal.SIGSTOP):
        return False
    around.stopped.append(process)
    return True


@dataclass(frozen=True)
class Disturbance:
    """Something that happens."""

    name: str
    happen: Callable[[Surroundings], bool]
    is_kill: bool = True
    """Whether something dies by SIGKILL, or as by a crash."""


DRIVER = Disturbance("a driver", _driver)
POSTGRES = Disturbance("PostgreSQL", _postgres)
MLFLOW = Disturbance("MLflow's server", _mlflow)
TEACHER = Disturbance("teachers' files removed", _teacher, is_kill=False)
PAUSE = Disturbance("a worker stopped for a while", _pause, is_kill=False)
WORKER = Disturbance("a worker", _worker)
WITH_LOCAL = (DRIVER, WORKER, POSTGRES, MLFLOW, TEACHER, PAUSE)
WITH_RAY = (
    *(DRIVER, POSTGRES, MLFLOW, TEACHER, PAUSE),
    Disturbance("a process kept beside Ray's", _worker),
    Disturbance("a process of Ray's", _ray_worker),
    Disturbance("a process of Ray's stopped for a while", _ray_pause, is_kill=False),
    Disturbance("a Ray node", _node),
)
