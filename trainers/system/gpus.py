"""Which GPUs this process may use, asked for as cheaply as can be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that says which GPUs a process sees; read when torch first asks for one."""

SHARED = 4
"""Trainings that share a GPU at most, where nobody says how many."""


def on_a_gpu(cores: float, gpus: float) -> int:
    """How many trainings share one of ``gpus``, where nobody says: a core must be there for each."""
    return max(1, min(int(cores // max(1, gpus)), SHARED))


def gpus(device: str) -> tuple[str, ...]:
    """What ``CUDA_VISIBLE_DEVICES`` calls each GPU that ``device`` stands for.

    ``auto`` and ``cuda`` stand for all that this process sees; ``cpu``, ``cuda:1`` and ``mps`` for none that
    a process could be given alone. torch, which takes seconds to import, is asked only where there is a
    driver.
    """
    if device not in ("auto", "cuda") or not _has_driver():
        return ()
    import torch

    found = torch.cuda.device_count()
    named = os.environ.get(VISIBLE)
    names = named.split(",") if named else map(str, range(found))
    return tuple(name.strip() for name in names)[:found]


def is_gpu(device: str) -> bool:
    """Whether ``device`` is a GPU by its name."""
    return device.startswith("cuda") or device == "mps"


def has_gpu(device: str) -> bool:
    """Whether ``device`` is a GPU, or may be one."""
    return is_gpu(device) or bool(gpus(device))


def _has_driver() -> bool:
    return shutil.which("nvidia-smi") is not None or any(driver.exists() for driver in DRIVERS)
