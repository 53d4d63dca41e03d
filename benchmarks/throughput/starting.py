"""What the first call of each path costs in a fresh process, and what a second thread brings.

In a process of its own for every figure, on all cores.

    python -m benchmarks.throughput.starting first
    python -m benchmarks.throughput.starting threads 224
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

PATHS = ("opencv", "numba")
SIDES = (32, 224)
ROUNDS, SECONDS = 7, 0.4


@dataclass(frozen=True)
class First:
    """Seconds from after ``import augsearch.policies`` until a process has augmented its first batch."""

    path: str
    wall: float
    processor: float


@dataclass(frozen=True)
class Threads:
    """How many times the images of one thread two do, each on batches of its own."""

    path: str
    side: int
    ratios: list[float]

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)


def first_calls() -> list[First]:
    """OpenCV's path; the core when nothing is on disk, which compiles it; and when it is."""
    with tempfile.TemporaryDirectory() as folder:
        names = {"OpenCV's path": "opencv", "the core, compiled": "numba", "the core, from disk": "numba"}
        return [First(name, *_in_fresh_process(path, folder, "first")) for name, path in names.items()]


def second_threads() -> list[Threads]:
    """Every path and size."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            Threads(path, side, _in_fresh_process(path, folder, "threads", str(side)))
            for path in PATHS
            for side in SIDES
        ]


def as_json(found: list[First] | list[Threads]) -> list[dict[str, object]]:
    """Either as plain values."""
    return [asdict(one) for one in found]


def _in_fresh_process(path: str, folder: str, *arguments: str) -> list[float]:
    env = {**os.environ, "AUGSEARCH_ENGINE": path, "NUMBA_CACHE_DIR": folder}
    command = [sys.executable, "-m", "benchmarks.throughput.starting", *arguments]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=env)
    found: list[float] = json.loads(done.stdout)
    return found


def first_call() -> list[float]:
    """Seconds by the clock and of the processor, for one batch; once in a process."""
    import numpy as np

    from augsearch.policies import Policy

    augment = Policy().batch_transform(seed=0)
    batch = np.zeros((16, 32, 32, 3), dtype=np.uint8)
    start, used = time.perf_counter(), time.process_time()
    augment(batch)
    return [time.perf_counter() - start, time.process_time() - used]


def two_threads(side: int) -> list[float]:
    """For every round, the images of two threads over those of one just before."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))

    import cv2
    import numpy as np

    from augsearch.policies import Policy

    cv2.setNumThreads(1)
    batch = np.random.default_rng(0).integers(0, 256, (64, side, side, 3), dtype=np.uint8)

    def done(seed: int) -> int:
        augment, count = Policy().batch_transform(seed=seed), 0
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            augment(batch)
            count += len(batch)
        return count

    done(0)
    with ThreadPoolExecutor(2) as pool:
        return [sum(pool.map(done, (1, 2))) / done(0) for _ in range(ROUNDS)]


if __name__ == "__main__":
    print(json.dumps(first_call() if sys.argv[1] == "first" else two_threads(int(sys.argv[2]))))
