"""The tasks that workers run, and an engine that starts when it is first needed.

Naming a task imports no torch; running it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from augsearch.search.engines.engine import Engine
from augsearch.search.engines.local import LocalEngine
from augsearch.search.settings import Settings, available_cores
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult


def evaluate(folder: Path, candidate: Candidate, fold: Fold) -> FoldResult:
    """See ``augsearch.trainers.proxy.evaluate``."""
    from augsearch.trainers.tasks import fold as proxy

    return proxy.evaluate(folder, candidate, fold)


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
