"""What a driver needs: its study, to be the only one, and workers that start when they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import filelock
import optuna

from augsearch.policies import UserError
from augsearch.search.data import Data, digest, identity_of
from augsearch.search.engines import Engine, LocalEngine
from augsearch.search.pruner import pruner_of
from augsearch.search.sealed import seal_test
from augsearch.search.settings import HOME, Settings, available_cores
from augsearch.search.studies import open_storage, open_study


@contextmanager
def only_driver(study: str) -> Iterator[None]:
    """Two drivers of one study would write over each other. The lock goes when the process does.

    Raises:
        UserError: another process has it.
    """
    folder = HOME / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{digest(study)}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(
            f"study {study!r} is being run by another process; wait for it, or use another --study"
        ) from None
    try:
        yield
    finally:
        lock.release()


def study_of(settings: Settings, data: Data, name: str, *, warm_start: bool = True) -> optuna.Study:
    """The study ``name`` of these settings and data, made now or taken up where it stands.

    ``warm_start``: it begins with the baselines.

    Raises:
        UserError: it was made from other data or settings.
    """
    pruner = pruner_of(settings.pruner, settings.folds)
    storage = open_storage(settings.storage)
    identity = identity_of(settings, data)
    study = open_study(storage, name, identity, settings.space, pruner, warm_start=warm_start)
    seal_test(study, settings.data, data)
    return study


@contextmanager
def lazy_engine(settings: Settings) -> Iterator[Callable[[], Engine]]:
    """Call what this yields to get the engine; processes start with the first call."""
    started: list[Engine] = []

    def engine() -> Engine:
        if not started:
            workers = settings.workers or default_workers(settings.device)
            started.append(LocalEngine(workers, settings.fold_timeout))
        return started[0]

    try:
        yield engine
    finally:
        for one in started:
            one.close()


def default_workers(device: str) -> int:
    """One for every core this process may use; on a GPU at most four, which share it."""
    cores = available_cores()
    return min(cores, 4) if device.startswith("cuda") else cores
