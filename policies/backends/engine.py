"""Which path augments arrays: OpenCV's, or the compiled core where numba is. Both give the same pixels.

Loading the core takes a second or two, and up to ten once on a machine, when it is compiled. So a process
takes OpenCV's path until the core is worth that; ``AUGSEARCH_ENGINE=opencv`` leaves it there, and
``AUGSEARCH_ENGINE=numba`` takes the core from the first image on.
"""

from __future__ import annotations

import importlib
import os
from threading import Lock
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


class Choice:
    """The core, once it is loaded, and how much was done before."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine
        self.core: Any = None
        self._work = 0
        self._lock = Lock()

    def core_for(self, count: int, size: int) -> Any:
        """The module with the core, for ``count`` images of ``size`` bytes in all; None: OpenCV's path."""
        if self.core is not None or self.engine == "opencv":
            return self.core
        self._work += count + (size >> _KIB_16)
        engine = self.engine or self._asked_for()
        if engine == "numba" or (engine == "auto" and self._work >= WORTH_LOADING):
            with self._lock:
                self._load(engine)
        return self.core

    def _asked_for(self) -> Engine:
        said = os.environ.get(VARIABLE) or "auto"
        if said not in get_args(Engine):
            raise UserError(f"{VARIABLE} must be auto, opencv or numba, got {said}")
        self.engine = cast(Engine, said)
        return self.engine

    def _load(self, engine: Engine) -> None:
        if self.core is not None or self.engine == "opencv":
            return  # by another thread
        try:
            self.core = importlib.import_module("augsearch.policies.backends.compiled.runner")
        except ImportError as error:
            if engine == "numba":
                raise UserError(
                    f"{VARIABLE} is numba, which can't be loaded ({error}); pip install 'augsearch[numba]'"
                ) from None
            self.engine = "opencv"


_choice = Choice()
"""This process's."""


def use(engine: Engine) -> None:
    """Take another path from now on in this process, whatever the environment says."""
    global _choice
    _choice = Choice(engine)


def run_draws(draws: Draws, images: Images, ranges: Ranges, sampling: Sampling) -> Images:
    """A new batch: ``images``, uint8 (B, H, W, C), each after its own draw."""
    run = (_choice.core_for(len(images), images.nbytes) or opencv).run_draws
    augmented: Images = run(draws, images, ranges, sampling)
    if draws.chains is None:
        return augmented
    made = (run(chain, augmented, ranges, sampling) for chain in draws.chains.each)
    mixture = mixed((augmented, *made), draws.chains.shares)
    return run(draws.chains.after, mixture, ranges, sampling)  # type: ignore[no-any-return]


def augment_image(drawn: DrawnImage, image: Image, ranges: Ranges, sampling: Sampling) -> Image:
    """A new image: ``image``, uint8 (H, W, C), after its draw."""
    augmented = _augmented(drawn, image, ranges, sampling)
    if drawn.mixture is None:
        return augmented
    chains, shares, after = drawn.mixture
    made = (_augmented(chain, augmented, ranges, sampling) for chain in chains)
    return _augmented(after, mixed((augmented, *made), shares), ranges, sampling)


def _augmented(drawn: DrawnImage, image: Image, ranges: Ranges, sampling: Sampling) -> Image:
    core = _choice.core_for(1, image.nbytes)
    if core is None:
        return opencv.runner_for(ranges, image.shape, sampling).augment_image(drawn.coded, image)
    return core.runner_for(ranges, image.shape, sampling).augment_image(drawn, image)  # type: ignore[no-any-return]
