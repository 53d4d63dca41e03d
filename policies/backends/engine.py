"""Which path augments arrays: OpenCV's, or the compiled core where numba is. Both give the same pixels.

Loading the core takes a second or two, and once on a machine ten or more, when it is compiled. So a process
takes OpenCV's path until the core is worth that; then a thread loads it, and the process goes over when it
is there. ``AUGSEARCH_ENGINE=opencv`` leaves it on OpenCV's path, and ``AUGSEARCH_ENGINE=numba`` has the first
image wait for the core.
"""

from __future__ import annotations

import importlib
import os
import threading
import warnings
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, Literal, cast, get_args

from augsearch.policies.backends.opencv import runner as opencv
from augsearch.policies.backends.opencv.prepared import Image, Images
from augsearch.policies.chains import mixed
from augsearch.policies.errors import UserError
from augsearch.policies.planner import DrawnImage, Draws
from augsearch.policies.registry import Ranges
from augsearch.policies.sampling import Sampling

VARIABLE = "AUGSEARCH_ENGINE"

Engine = Literal["auto", "opencv", "numba"]

WORTH_LOADING = 2**17
"""Images that a process augments on OpenCV's path before it loads the core, counted once each and once
more for every 16 KiB: about as long as loading takes."""

_KIB_16 = 14


_LOADING = "augsearch loads its compiled core"
"""The name of the thread that does."""


class Choice:
    """The core, once it is loaded, and how much was done before."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine
        self.core: Any = None
        self._work = 0
        self._lock = Lock()
        self._loading: Thread | None = None

    def core_for(self, count: int, size: int) -> Any:
        """The module with the core, for ``count`` images of ``size`` bytes in all; None: OpenCV's path."""
        core = self.core
        if core is not None or self.engine == "opencv":
            return core
        self._work += count + (size >> _KIB_16)
        engine = self.engine or self._asked_for()
        if engine == "numba":
            with self._lock:
                self._load(engine)
            return self.core
        if engine == "auto" and self._work >= WORTH_LOADING and self._loading is None:
            self._load_meanwhile()
        return core

    def wait(self) -> None:
        """Until the core is loaded, where that has begun."""
        if self._loading is not None:
            self._loading.join()

    def _asked_for(self) -> Engine:
        said = os.environ.get(VARIABLE) or "auto"
        if said not in get_args(Engine):
            raise UserError(f"{VARIABLE} must be auto, opencv or numba, got {said}")
        self.engine = cast(Engine, said)
        return self.engine

    def _load_meanwhile(self) -> None:
        with self._lock:
            if self._loading is None:
                # No daemon: a process that ended in the middle of LLVM's work might crash, and what was
                # compiled would be lost.
                self._loading = Thread(target=self._load, args=("auto",), name=_LOADING)
                self._loading.start()

    def _load(self, engine: Engine) -> None:
        if self.core is not None or self.engine == "opencv":
            return  # by another thread
        try:
            core = importlib.import_module("augsearch.policies.backends.compiled.runner")
            core.compile_or_load()
        except ImportError as error:
            if engine == "numba":
                raise UserError(
                    f"{VARIABLE} is numba, which can't be loaded ({error}); pip install 'augsearch[numba]'"
                ) from None
            self.engine = "opencv"
        except Exception as error:
            if engine == "numba":
                raise
            warnings.warn(f"the compiled core can't be used, OpenCV goes on without: {error}", stacklevel=1)
            self.engine = "opencv"
        else:
            self.core = core


def _wait_for_loading() -> None:
    """A process that is forked meanwhile would have the compiler's locks, which nobody there releases."""
    for thread in threading.enumerate():
        if thread.name == _LOADING and thread is not threading.current_thread():
            thread.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_loading)


_choice = Choice()
"""This process's."""


def use(engine: Engine) -> None:
    """Take another path from now on in this process, whatever the environment says."""
    global _choice
    _choice = Choice(engine)


def run_draws(
    draws: Draws, images: Images, ranges: Ranges, sampling: Sampling, out: Images | None = None
) -> Images:
    """A new batch, or ``out``: ``images``, uint8 (B, H, W, C), each after its own draw."""
    run = (_choice.core_for(len(images), images.nbytes) or opencv).run_draws
    if draws.chains is None:
        return run(draws, images, ranges, sampling, out)  # type: ignore[no-any-return]
    augmented = run(draws, images, ranges, sampling)
    made = (run(chain, augmented, ranges, sampling) for chain in draws.chains.each)
    mixture = mixed((augmented, *made), draws.chains.shares)
    return run(draws.chains.after, mixture, ranges, sampling, out)  # type: ignore[no-any-return]


class ByImage:
    """Augments images one by one, and remembers what did the latest: the next is often as large."""

    def __init__(self, ranges: Ranges, sampling: Sampling) -> None:
        self._ranges, self._sampling = ranges, sampling
        self._latest: tuple[Any, tuple[int, ...], _OneImage] | None = None
        """The core, or None; the shape; and what augments an image of it."""

    def __call__(self, drawn: DrawnImage, image: Image) -> Image:
        """A new image: ``image``, uint8 (H, W, C), after its draw."""
        augmented = self._augmented(drawn, image)
        if drawn.mixture is None:
            return augmented
        chains, shares, after = drawn.mixture
        made = (self._augmented(chain, augmented) for chain in chains)
        return self._augmented(after, mixed((augmented, *made), shares))

    def __reduce__(self) -> tuple[Any, ...]:
        return ByImage, (self._ranges, self._sampling)

    def _augmented(self, drawn: DrawnImage, image: Image) -> Image:
        core, latest = _choice.core_for(1, image.nbytes), self._latest
        if latest is None or latest[0] is not core or latest[1] != image.shape:
            of_shape = self._ranges, image.shape, self._sampling
            augment = (core or opencv).runner_for(*of_shape).augment_image
            self._latest = latest = core, image.shape, augment
        return latest[2](drawn, image)


_OneImage = Callable[[DrawnImage, Image], Image]
