"""How contestants are timed: warm, in turns, on one core, in processor time."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from augsearch.policies.backends.engine import Engine

CALLS_BETWEEN_LOOKS = 16
"""Images between two looks at the clock, which costs about half a microsecond."""


Form = Literal[
    "array", "PIL image", "tensor", "batch of arrays", "batch of tensors", "batch of float tensors"
]
"""What a contestant takes and gives back; all are uint8 RGB but for the floats, which go from 0 to 1."""


@dataclass(frozen=True, eq=False)
class Contestant:
    """One way to do one job."""

    library: str
    apply: Callable[[Any], Any]
    inputs: Sequence[Any]
    """Images, or batches of them."""
    form: Form
    interpolation: str = ""
    draws: Literal["image", "batch"] = "image"
    """Whether every image gets its own draw, or all of a batch the same."""
    path: Engine | None = None
    """Of ours: the path through the engine."""

    @property
    def batched(self) -> bool:
        """Whether it takes batches."""
        return self.form.startswith("batch")

    @property
    def per_input(self) -> int:
        """Images in one input."""
        return len(self.inputs[0]) if self.batched else 1

    @property
    def ours(self) -> bool:
        """Whether it is augsearch's."""
        return self.library == "augsearch"


@dataclass(frozen=True, eq=False)
class Timed:
    """A contestant's images per second, one figure for each round."""

    contestant: Contestant
    rounds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The median."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the way from the slowest to the fastest round, as a share of the median."""
        return (max(self.rounds) - min(self.rounds)) / 2 / self.rate


WITHOUT_AVX512 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "OPENCV_CPU_DISABLE": "AVX512_SKX,AVX512_ICL",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+fma,+lzcnt,+movbe,+popcnt,+sse4.2,+ssse3",
}
"""What keeps torch, OpenCV and numba to AVX2."""


def leave_avx512() -> None:
    """Have this process do as on a processor with AVX2 alone; call it before the libraries are imported."""
    os.environ.update(WITHOUT_AVX512)

    import stringzilla

    stringzilla.reset_capabilities(("serial", "westmere", "goldmont", "haswell"))


def use_one_core() -> None:
    """Keep this process on one core; call it before the libraries are imported, for they count cores then."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[variable] = "1"
    if hasattr(os, "sched_setaffinity"):
        # The last one: interrupts and other programs tend to be on the first.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def compare(
    contestants: Sequence[Contestant],
    rounds: int,
    seconds: float,
    progress: Callable[[str], None] = lambda step: None,
) -> list[Timed]:
    """Time every contestant for ``seconds`` in each of the ``rounds``, after as long a warm-up.

    They take turns, so that a noisy moment of the machine hits all alike, and every round begins with
    another one, so that none always follows the same neighbour's traces in the caches.
    """
    timed = [Timed(contestant) for contestant in contestants]
    inputs = [itertools.cycle(contestant.inputs) for contestant in contestants]
    for number in range(rounds + 1):
        progress(f"round {number} of {rounds}" if number else "warm-up")
        for index in range(len(timed)):
            turn = (index + number) % len(timed)
            rate = _rate(timed[turn].contestant, inputs[turn], seconds)
            if number:
                timed[turn].rounds.append(rate)
    return timed


def _rate(contestant: Contestant, inputs: Iterator[Any], seconds: float) -> float:
    apply, done, per_input = contestant.apply, 0, contestant.per_input
    if contestant.path:
        from augsearch.policies.backends import engine

        engine.use(contestant.path)
    calls = max(1, CALLS_BETWEEN_LOOKS // per_input)
    # Of this process, of which one thread works: what others do on the machine counts by the caches alone.
    start = time.process_time()
    while (elapsed := time.process_time() - start) < seconds or not done:
        for one in itertools.islice(inputs, calls):
            apply(one)
        done += calls * per_input
    return done / elapsed
