"""The torch backend: runs what was drawn for a batch, uint8 (B, C, H, W), on any torch device.

On a CPU batches are augmented as arrays (``by_array``), but with ``AUGSEARCH_TENSOR_ENGINE=torch``.

On a GPU there are two paths with the same pixels: torch's own operations (``by_kind``), and a kernel a stage
in Triton (``by_stage``), which comes with torch's wheels for CUDA. The first is the reference, and the
default until somebody has measured the second. ``AUGSEARCH_TENSOR_ENGINE=triton`` takes that for CUDA
tensors, where there is a Triton.
"""

from __future__ import annotations

import importlib
import os
import re
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from augsearch.policies.backends.torch import by_array
from augsearch.policies.backends.torch.by_kind import RunByKind
from augsearch.policies.backends.torch.kernels import HostToDevice
from augsearch.policies.chains import OFFSET_BEFORE_TRUNCATION
from augsearch.policies.effects import Size
from augsearch.policies.errors import UserError
from augsearch.policies.planner import DrawnChains, Draws
from augsearch.policies.registry import Ranges
from augsearch.policies.sampling import Sampling

VARIABLE = "AUGSEARCH_TENSOR_ENGINE"
OLDEST_TRITON = (3, 8)

Engine = Literal["auto", "torch", "triton"]

_engine: Engine | None = None
"""This process's; None: as the environment says, which nobody has looked at yet."""


def use(engine: Engine) -> None:
    """Take another path from now on in this process, whatever the environment says."""
    global _engine
    _engine = engine


def augment(draws: Draws, images: Tensor, ranges: Ranges, sampling: Sampling) -> Tensor:
    """A new batch, by the fastest path: ``images``, uint8 (B, C, H, W), C 1 or 3, each after its own draw."""
    by_torch = images.device.type != "cpu" or (_engine or _asked_for()) == "torch" or _is_interpreted()
    return (run_draws if by_torch else by_array.run_draws)(draws, images, ranges, sampling)


def run_draws(draws: Draws, images: Tensor, ranges: Ranges, sampling: Sampling) -> Tensor:
    """The same by torch's operations or Triton's kernels, on any device."""
    _, channels, height, width = images.shape
    engine = _engine or _asked_for()
    runner = _runner(ranges, Size(height, width), channels, sampling, images.device, engine)
    images = runner.run(draws, images)
    if draws.chains is None:
        return images
    return runner.run(draws.chains.after, _mixed(runner, draws.chains, images))


def _mixed(runner: RunByKind, chains: DrawnChains, images: Tensor) -> Tensor:
    """The sum of ``images`` and what each chain makes of them, by their shares, truncated."""
    copies = HostToDevice()
    copies.add(chains.shares.T)
    (shares,) = copies.send(images.device)
    own, *others = shares[..., None, None, None]
    total: Tensor = images * own
    for chain, share in zip(chains.each, others, strict=True):
        total += runner.run(chain, images) * share
    return total.add_(OFFSET_BEFORE_TRUNCATION).to(torch.uint8)


def _asked_for() -> Engine:
    said = os.environ.get(VARIABLE) or "auto"
    if said not in get_args(Engine):
        raise UserError(f"{VARIABLE} must be auto, torch or triton, got {said}")
    use(cast(Engine, said))
    return cast(Engine, said)


@lru_cache(maxsize=8)
def _runner(
    ranges: Ranges,
    size: Size,
    channels: int,
    sampling: Sampling,
    device: torch.device,
    engine: Engine = "torch",
) -> RunByKind:
    by_stage = _by_stage(device) if engine == "triton" else None
    if by_stage is not None and by_stage.can_run(size, channels):
        return cast(RunByKind, by_stage.RunByStage(ranges, size, channels, sampling, device))
    return RunByKind(ranges, size, channels, sampling, device)


def _by_stage(device: torch.device) -> Any:
    """The module of that path; None where there is no GPU, or no Triton that can, as on Windows."""
    if device.type != "cuda" and not _is_interpreted():
        return None
    try:
        return importlib.import_module("augsearch.policies.backends.torch.by_stage") if triton_can() else None
    except ImportError:
        return None


def _is_interpreted() -> bool:
    """Whether Triton's interpreter, for tests, takes tensors on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def triton_can() -> bool:
    """Whether there is a Triton that compiles the kernels: older ones take no shapes as constants."""
    try:
        found = version("triton")
    except PackageNotFoundError:
        return False
    return tuple(int(number) for number in re.findall(r"\d+", found)[:2]) >= OLDEST_TRITON
