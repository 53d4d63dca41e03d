"""An engine that also knows how much memory its tasks took."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from augsearch.search.engines.engine import Engine

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Weight:
    """The most memory that a process held by the end of a task, in bytes; 0 where that can't be known."""

    own: int = 0
    """Of the machine's, without images and libraries that are mapped: workers share those."""
    device: int = 0
    """Of the GPU's, as torch took it."""


class WeighedEngine:
    """``engine``, each of whose tasks is weighed where it runs; it is closed by whoever opened it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.slots = engine.slots
        self.most = Weight()
        """What the heaviest task so far took."""

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have ``function`` run, and its process weighed after it."""
        outcome: Future[R] = Future()
        outcome.set_running_or_notify_cancel()

        def pass_on(inner: Future[tuple[R, Weight]]) -> None:
            error = inner.exception()
            if error is not None:
                outcome.set_exception(error)
                return
            result, weight = inner.result()
            most = self.most
            self.most = Weight(max(most.own, weight.own), max(most.device, weight.device))
            outcome.set_result(result)

        self._engine.submit(weighed, function, args, kwargs).add_done_callback(pass_on)
        return outcome

    def close(self) -> None:
        """Nothing: the engine below is another's."""


def weighed(function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[R, Weight]:
    """What ``function`` returns, and what this process has held by then."""
    result = function(*args, **kwargs)
    return result, Weight(_peak(), _on_device())


def _peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    known = dict(line.split(":", 1) for line in lines)
    kib = {name: int(known.get(name, "0 kB").split()[0]) for name in ("VmHWM", "RssFile", "RssShmem")}
    return 1024 * (kib["VmHWM"] - kib["RssFile"] - kib["RssShmem"])


def _on_device() -> int:
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.max_memory_reserved())
