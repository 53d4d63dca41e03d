"""One training shared by several processes, each with a GPU or a core of its own (DDP)."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from augsearch.policies import UserError


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of every batch this process trains on, of several that share a training."""

    rank: int = 0
    size: int = 1


ALONE = Shard()
"""All of it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A process of those that share a training, and where it meets the others."""

    shard: Shard
    device: torch.device
    """Its own."""
    address: str
    """``tcp://HOST:PORT`` of rank 0, or ``file://…`` that all see."""


Work = Callable[..., None]
"""``work(shard, device, *arguments)``: a rank's part."""


def device_of(device: torch.device, shard: Shard) -> torch.device:
    """The rank's own GPU; on a CPU all ranks share it."""
    return torch.device("cuda", shard.rank) if device.type == "cuda" else device


@contextmanager
def others(work: Work, size: int, device: torch.device, arguments: tuple[Any, ...]) -> Iterator[None]:
    """Ranks 1 to ``size`` − 1 run ``work`` in processes of their own while this one is rank 0 of the group.

    They are ended with the block, however it ends. ``arguments`` are pickled.

    Raises:
        UserError: what one of them raised, or that one died.
    """
    if size == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="augsearch-") as folder:
        meeting = Path(folder) / "meeting"
        context = torch.multiprocessing.get_context("spawn")
        processes = [
            context.Process(
                target=_rank, args=(work, Shard(rank, size), device, meeting, arguments), daemon=True
            )
            for rank in range(1, size)
        ]
        for process in processes:
            process.start()
        try:
            _wait_for(processes, meeting)
            with joined(Member(Shard(0, size), device_of(device, Shard(0, size)), meeting.as_uri())):
                try:
                    yield
                except RuntimeError:
                    if (reason := _reason(processes, meeting)) is not None:
                        raise reason from None
                    raise
                except BaseException:
                    # Left alone they would wait for this one, and then complain that it is gone.
                    for process in processes:
                        process.kill()
                    raise
        finally:
            for process in processes:
                process.kill()
                process.join()


def _wait_for(processes: Sequence[BaseProcess], meeting: Path) -> None:
    """Until all have started: for one that dies before, the group would wait half an hour."""
    while len(list(meeting.parent.glob("*.here"))) < len(processes):
        if any(process.exitcode for process in processes) and (reason := _reason(processes, meeting)):
            raise reason
        time.sleep(0.02)


def _reason(processes: Sequence[BaseProcess], meeting: Path) -> UserError | None:
    """Why the connection broke: what one of the others raised, or that it died; None where none did."""
    for process in processes:
        process.join(timeout=5)
    for words in sorted(meeting.parent.glob("*.error")):
        return UserError(words.read_text(encoding="utf-8"))
    codes = [process.exitcode for process in processes if process.exitcode]
    if not codes:
        return None
    died = f"a process of the training died (exit code {codes[0]})"
    return UserError(f"{died}; the same command goes on after the last epoch")


def _rank(work: Work, shard: Shard, device: torch.device, meeting: Path, arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches the whole process group; rank 0 decides what becomes of the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    meeting.with_name(f"{shard.rank}.here").touch()
    member = Member(shard, device_of(device, shard), meeting.as_uri())
    with joined(member):
        try:
            work(shard, member.device, *arguments)
        except UserError as error:
            meeting.with_name(f"{shard.rank}.error").write_text(str(error), encoding="utf-8")
            sys.exit(1)


@contextmanager
def joined(member: Member) -> Iterator[None]:
    """Within it a process is one of the group; it waits until all are there. Alone it joins nobody."""
    shard, device = member.shard, member.device
    if shard.size == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # or NCCL would take the first for all
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=member.address,
        rank=shard.rank,
        world_size=shard.size,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def sharing_gradients(model: nn.Module, device: torch.device, shard: Shard) -> DistributedDataParallel | None:
    """``model`` wrapped so that every backward pass leaves all ranks the mean gradient; None when alone."""
    if shard.size == 1:
        return None
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def agreed(go_on: bool, device: torch.device, shard: Shard) -> bool:
    """What rank 0 says, for all ranks."""
    if shard.size == 1:
        return go_on
    said = torch.tensor(int(go_on), device=device)
    dist.broadcast(said, src=0)
    return bool(said.item())
