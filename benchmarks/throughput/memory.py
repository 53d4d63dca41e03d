"""How much memory a batch takes on its way through a policy, beyond the batch itself.

In a fresh process for every figure, for a peak can only be seen once. Two instruments: tracemalloc counts
NumPy's arrays, exactly; the peak of the process's resident memory counts OpenCV's own buffers too, but in
pages, so it is asked about large batches only.

    python -m benchmarks.throughput.memory 256 224 nearest resident
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tracemalloc
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from augsearch.policies.sampling import Interpolation

CASES = ((256, 32), (8192, 32), (256, 224))
"""Images in the batch, and their side."""
LARGE = 2**24
"""Bytes from which on pages are small beside the batch."""


@dataclass(frozen=True)
class Peak:
    """Memory above what was there with the batch in place, the augmented batch included, in batches."""

    count: int
    side: int
    interpolation: str
    traced: float
    resident: float | None


def peaks() -> list[Peak]:
    """All cases with both samplings."""
    return [
        Peak(
            count,
            side,
            interpolation,
            traced=_in_fresh_process(count, side, interpolation, "traced"),
            resident=(
                _in_fresh_process(count, side, interpolation, "resident")
                if count * side * side * 3 >= LARGE
                else None
            ),
        )
        for count, side in CASES
        for interpolation in ("nearest", "bilinear")
    ]


def as_json(found: list[Peak]) -> list[dict[str, object]]:
    """``peaks`` as plain values."""
    return [asdict(peak) for peak in found]


def _in_fresh_process(count: int, side: int, interpolation: str, instrument: str) -> float:
    command = [
        sys.executable,
        "-m",
        "benchmarks.throughput.memory",
        str(count),
        str(side),
        interpolation,
        instrument,
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    return float(json.loads(done.stdout))


def measure(count: int, side: int, interpolation: Interpolation, instrument: str) -> float:
    """The peak in batches, seen by ``traced`` or ``resident``; once in a process."""
    import numpy as np

    from augsearch.policies import Policy

    augment = Policy(num_ops=2, magnitude=9, interpolation=interpolation).batch_transform(seed=0)
    rng = np.random.default_rng(0)
    batch = np.empty((count, side, side, 3), dtype=np.uint8)
    for image in batch:  # one at a time, so that making them leaves no peak of its own
        image[:] = rng.integers(0, 256, image.shape, dtype=np.uint8)
    for _ in range(100):  # until what the policy keeps for images of this size is there
        augment(batch[:16])
    if instrument == "traced":
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        augment(batch)
        return (tracemalloc.get_traced_memory()[1] - before) / batch.nbytes
    before = _resident()
    augment(batch)
    return (_highest_resident() - before) / batch.nbytes


def _resident() -> int:
    return _status("VmRSS") or _highest_resident()


def _highest_resident() -> int:
    # On Linux, getrusage's figure is never below that of the process which started this one.
    highest = _status("VmHWM")
    if highest is None:
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        highest *= 1 if sys.platform == "darwin" else 1024
    return highest


def _status(field: str) -> int | None:
    """Bytes that Linux counts for this process; None on other systems."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")]
    return found[0] if found else None


if __name__ == "__main__":
    print(measure(int(sys.argv[1]), int(sys.argv[2]), cast("Interpolation", sys.argv[3]), sys.argv[4]))
