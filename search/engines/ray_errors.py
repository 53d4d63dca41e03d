"""What Ray raises, in the words of all engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from augsearch.policies.errors import first_line
from augsearch.search.engines.engine import EngineFailedError, WorkerLostError


def in_our_words(error: BaseException) -> BaseException:
    """What a task raised, or what became of it."""
    from ray import exceptions as of_ray

    if isinstance(error, of_ray.RayTaskError):
        return in_our_words(error.cause)
    lost = (
        of_ray.WorkerCrashedError,
        of_ray.RayActorError,
        of_ray.NodeDiedError,
        of_ray.OutOfMemoryError,
        of_ray.ObjectLostError,
        of_ray.TaskCancelledError,
    )
    if isinstance(error, lost):
        return WorkerLostError(f"Ray lost a worker: {first_line(error)}")
    if isinstance(error, of_ray.RayError):
        return EngineFailedError(f"Ray: {first_line(error)}")
    return error


@contextmanager
def our_words() -> Iterator[None]:
    """What Ray raises within is raised ``in_our_words``."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        raise in_our_words(error) from None
