"""Where to compute, and with how many threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.trainers.system.gpus import has_code_for, usable_gpus
from augsearch.trainers.system.processor import processor


def resolve_device(name: str) -> torch.device:
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    ``mps``, an Apple chip's GPU, is taken where it is asked for by name: nobody has compared it with the CPU.

    Raises:
        UserError: no such device here, or none that this PyTorch can compute on.
    """
    if name in ("auto", "cuda"):
        first = next(iter(usable_gpus()), None)
        if first:
            name = f"cuda:{first}"
        elif name == "auto":
            name = "cpu" if first is None else "cuda"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device must be auto, cpu, cuda, cuda:NUMBER or mps, got {name!r}") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"device must be auto, cpu, cuda, cuda:NUMBER or mps, got {name!r}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"device {name}: PyTorch finds no GPU of Apple's here; use cpu")
    if device.type == "cuda":
        _check_cuda(name)
    return device


def check_room_for(processes: int, device: torch.device) -> None:
    """Check that as many processes may train one network on ``device``, or on others of its kind.

    Raises:
        UserError: there are too few, or it is one alone.
    """
    if processes == 1 or device.type == "cpu":
        return
    if device.type == "mps":
        raise UserError(f"--processes {processes}: one process alone trains on mps")
    if device.index is not None:
        raise UserError(
            f"--processes {processes}: each takes a GPU of its own, and --device {device} is one; "
            "give --device cuda, and say which ones by CUDA_VISIBLE_DEVICES"
        )
    if processes > (found := torch.cuda.device_count()):
        raise UserError(f"--processes {processes}: this machine has {found} CUDA devices")


def device_here(name: str) -> torch.device:
    """The device of that name, or the CPU where this machine lacks it, as what was trained on another one is
    looked at here: a GPU of a cluster's nodes, for instance, that its head has not."""
    try:
        return resolve_device(name)
    except UserError:
        return torch.device("cpu")


def _check_cuda(name: str) -> None:
    """Check that the GPU of that name is there, and that this PyTorch can compute on it.

    Raises:
        UserError: it isn't, or can't.
    """
    number = int(name.partition(":")[2] or 0)  # of cuda:128 torch makes cuda:-128
    found = torch.cuda.device_count()
    if number >= found:
        raise UserError(f"device {name}: this machine has {found} CUDA devices; use cpu")
    if not torch.cuda.is_available():
        raise UserError(
            f"device {name}: PyTorch can't use it ({_why_no_gpu()}); use cpu until that is mended"
        )
    if not has_code_for(number):
        model, (major, minor) = torch.cuda.get_device_name(number), torch.cuda.get_device_capability(number)
        raise UserError(
            f"device {name}: this PyTorch was not built for {model} (sm_{major}{minor}) but for "
            f"{', '.join(torch.cuda.get_arch_list())}; install one that was, or use cpu"
        )


def _why_no_gpu() -> str:
    """What torch says where it finds GPUs that it can't use: the driver is too old, for instance."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except Exception as error:  # one for each reason
        return first_line(error).rstrip(".")
    return "it doesn't say why"


def hardware(device: torch.device, precision: torch.dtype) -> str:
    """What computes, and in which type, in words; a score may differ a little on any other."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    name = f"GPU of {name}" if device.type == "mps" else name
    return f"{name} in {str(precision).removeprefix('torch.')}"


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: sums over several come out differently, and a fold's score must not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def quickest_threads(step: Callable[[], object]) -> int:
    """How many of torch's threads do ``step`` fastest: as many as now, or one.

    Where another process is busy, threads that wait for each other at every operation can be a hundred times
    as slow as one alone.
    """
    most = torch.get_num_threads()
    seconds: dict[int, float] = {}
    try:
        for threads in (most, 1):
            torch.set_num_threads(threads)
            step()  # the first time makes ready what later ones use
            started = time.perf_counter()
            step()
            seconds[threads] = time.perf_counter() - started
    finally:
        torch.set_num_threads(most)
    return min(seconds, key=seconds.__getitem__)


@contextmanager
def quickest_convolutions(device: torch.device) -> Iterator[None]:
    """Inside, cuDNN tries its ways to convolve for every new shape, and takes the quickest one."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def randomness(device: torch.device, seeds: list[int]) -> Iterator[None]:
    """Inside, torch's own randomness (dropout, stochastic depth) follows from ``seeds``."""
    (seed,) = np.random.SeedSequence(seeds).generate_state(1).tolist()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


def let_go_of_memory(device: torch.device) -> None:
    """Hand back what ``device`` holds of memory for later use, so that it can be divided otherwise."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Inside, convolutions and products are computed in ``precision``."""
    return torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32)


def precision_on(device: torch.device, network: nn.Module, wanted: str = "auto") -> torch.dtype:
    """The type in which ``network`` computes convolutions and products on ``device``.

    ``wanted`` is that type's name, or ``auto``: half of float32 where that is faster. Where a CPU computes in
    bfloat16 natively, that is 1.5 to 1.9 times as fast in dense convolutions and transformers, and half as
    fast in networks whose convolutions go channel by channel.
    """
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]
    if device.type == "cuda":
        return _half_on(device)
    if device.type == "mps":
        return torch.float32
    by_channel = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in network.modules())
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() and not by_channel else torch.float32


def _half_on(gpu: torch.device) -> torch.dtype:
    """What the GPU's units for products of matrices take, which NVIDIA's have from sm_70 on.

    ``torch.cuda.is_bf16_supported`` is true of GPUs too that only emulate bfloat16.
    """
    if torch.version.hip:
        return torch.bfloat16
    generation, _ = torch.cuda.get_device_capability(gpu)
    if generation >= 8:
        return torch.bfloat16
    return torch.float16 if generation == 7 else torch.float32
