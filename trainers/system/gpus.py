"""Which GPUs this process may use, asked for as cheaply as can be."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

DRIVERS = tuple(map(Path, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvmap")))
"""The files of NVIDIA's driver, of AMD's, of Windows' under WSL2 and of NVIDIA's Jetsons."""
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
    a process could be given alone. GPUs that PyTorch can't compute on are none; it takes seconds to import,
    and is asked only where there is a driver.
    """
    if device not in ("auto", "cuda") or not _has_driver():
        return ()
    usable = usable_gpus()
    named = os.environ.get(VISIBLE)
    names = named.split(",") if named else list(map(str, range(max(usable, default=-1) + 1)))
    return tuple(names[number].strip() for number in usable if number < len(names))


def usable_gpus() -> list[int]:
    """The numbers of the GPUs that this PyTorch can compute on."""
    import torch

    # The count alone says nothing: it comes from the driver, also where that is too old for this PyTorch.
    if not torch.cuda.is_available():
        return []
    return [number for number in range(torch.cuda.device_count()) if has_code_for(number)]


def has_code_for(number: int) -> bool:
    """Whether this PyTorch was built for the GPU of that number, as far as it says what it was built for."""
    import torch

    built_for = [] if torch.version.hip else torch.cuda.get_arch_list()
    own = torch.cuda.get_device_capability(number) if built_for else (0, 0)
    return not built_for or any(_runs_on(own, name) for name in built_for)


def _runs_on(own: tuple[int, int], name: str) -> bool:
    """Whether code for ``name`` (``sm_86``, ``sm_90a``, ``compute_90``) runs on a GPU of that capability.

    Machine code (``sm_…``) does on later ones of its generation, intermediate code (``compute_…``) on all
    later ones; with an ``a`` at its end on that GPU alone, with an ``f`` within its generation.
    """
    parts = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name)
    if parts is None:
        return True  # nobody knows; torch itself may
    version = int(parts[2]), int(parts[3])
    if parts[4] == "a":
        return own == version
    beyond_its_generation = parts[1] == "compute" and not parts[4]
    return own >= version and (beyond_its_generation or own[0] == version[0])


def is_gpu(device: str) -> bool:
    """Whether ``device`` is a GPU by its name."""
    return device.startswith("cuda") or device == "mps"


def has_gpu(device: str) -> bool:
    """Whether ``device`` is a GPU, or may be one."""
    return is_gpu(device) or bool(gpus(device))


def _has_driver() -> bool:
    return shutil.which("nvidia-smi") is not None or any(driver.exists() for driver in DRIVERS)
