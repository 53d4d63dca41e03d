"""One training shared by several processes, each with a GPU or a core of its own (DDP)."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.system.processes import Context, follow_parent

Event = TypeVar("Event")
Result = TypeVar("Result")

PATIENCE = timedelta(days=1)
"""How long a rank waits for the others. Rank 0 trains a teacher, scores and saves meanwhile, and then waits
to be asked for the next epoch. That one is gone is seen by whoever started them, so this need not be short.
"""
LAST_WORDS = 5.0
"""Seconds in which others may say what the error of one came of, and one that broke off is given to end."""
GRACE = 2.0
"""Seconds in which rank 0, when it is ended, may remove a file that it has half written."""
GO_ON = "the same command goes on after the last epoch"


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
    """``tcp://HOST:PORT`` of rank 0, or a file's path that all see; unused where it is alone."""


Lead = Callable[..., Generator[Event, None, Result]]
"""``lead(*arguments, member=…)``: rank 0's part, which joins the others."""
Work = Callable[..., None]
"""``work(*arguments, member=…)``: another rank's part, likewise."""


def device_of(device: torch.device, shard: Shard) -> torch.device:
    """The rank's own GPU; on a CPU all ranks share it."""
    return torch.device("cuda", shard.rank) if device.type == "cuda" else device


def together(
    lead: Lead[Event, Result], work: Work, size: int, device: torch.device, arguments: tuple[Any, ...]
) -> Generator[Event, None, Result]:
    """What ``lead`` yields and returns as rank 0, while ranks 1 to ``size`` − 1 run ``work``.

    Each is a process of its own, and none of them is this one: who waits in NCCL for one that is gone notices
    nothing and can't be interrupted, but can be ended. Rank 0 goes on when it is asked for the next event.
    All end with this generator, however it ends. What goes to them and comes from them is pickled.

    Raises:
        TrainingDivergedError: one of them raised it.
        UserError: anything else that one of them raised, or that one died.
    """
    with _started(lead, work, size, device, arguments) as ranks:
        try:
            while isinstance(said := _answer(ranks, "next"), _Yielded):
                yield said.event
        except GeneratorExit:
            _answer(ranks[:1], "stop")  # the others may complain that it is gone
            raise
        result: Result = said.result
        return result


@dataclass(frozen=True, slots=True)
class _Yielded:
    """An event of rank 0's."""

    event: Any


@dataclass(frozen=True, slots=True)
class _Returned:
    """The end of rank 0's part; None where it was stopped."""

    result: Any


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a rank ended before its time."""

    error: Exception
    """As it is raised where the ranks were started."""
    may_follow: bool
    """Whether it may be no more than what another rank's end looks like to this one."""
    at: float = field(default_factory=time.monotonic)
    """Seconds; all processes of a machine have the same clock."""


def lost_the_others(error: BaseException) -> bool:
    """Whether ``error`` is what another rank's end looks like to one that waits for it."""
    return isinstance(error, RuntimeError) and "gloo/transport" in str(error)  # gloo says where in its code


def _failure_of(error: Exception, rank: int) -> _Failure:
    """What a rank raised."""
    if isinstance(error, UserError | TrainingDivergedError):
        kind = UserError if isinstance(error, UserError) else TrainingDivergedError
        return _Failure(kind(str(error)), may_follow=False)
    what = f"failed ({type(error).__name__}: {first_line(error)})"
    # Of gloo's and NCCL's errors most are no more than a RuntimeError.
    may_follow = isinstance(error, RuntimeError)
    if lost_the_others(error):
        what = "lost the others"
    said = UserError(f"process {rank} of the training {what}; {GO_ON}")
    said.add_note("".join(traceback.format_exception(error)))
    return _Failure(said, may_follow)


@dataclass(slots=True, eq=False)
class _Rank:
    """A rank, seen from where it was started."""

    number: int
    process: BaseProcess
    connection: Connection
    failure: _Failure | None = None
    ended: bool = False
    """Whether it says no more."""

    def hear(self) -> _Yielded | _Returned | None:
        """What rank 0 answers; None: it is another one's end, or the end of this one."""
        try:
            said: _Yielded | _Returned | _Failure = self.connection.recv()
        except (EOFError, OSError):
            self.ended = True
            self.process.join(LAST_WORDS)
            code = self.process.exitcode
            if code or self.number == 0:  # another one just ends when all is done
                died = f"a process of the training died (exit code {code}); {GO_ON}"
                self.failure = _Failure(UserError(died), may_follow=False)
            return None
        if isinstance(said, _Failure):
            self.ended, self.failure = True, said
            return None
        return said


def _answer(ranks: Sequence[_Rank], asked: Literal["next", "stop"]) -> _Yielded | _Returned:
    """What the first of ``ranks`` answers.

    Raises:
        Exception: why one of them ended.
    """
    with suppress(OSError):  # that it is gone is heard below
        ranks[0].connection.send(asked)
    until: float | None = None
    while True:
        failures = [rank.failure for rank in ranks if rank.failure is not None]
        if failures:
            first = min(failures, key=lambda failure: (failure.may_follow, failure.at))
            until = until or time.monotonic() + LAST_WORDS
            if not first.may_follow or time.monotonic() >= until or all(rank.ended for rank in ranks):
                raise first.error
        listened: dict[Any, _Rank] = {rank.connection: rank for rank in ranks if not rank.ended}
        ready = wait(list(listened), None if until is None else max(0.0, until - time.monotonic()))
        heard = [listened[connection].hear() for connection in ready]
        if answers := [answer for answer in heard if answer is not None]:
            return answers[0]


@contextmanager
def _started(
    lead: Lead[Any, Any], work: Work, size: int, device: torch.device, arguments: tuple[Any, ...]
) -> Iterator[list[_Rank]]:
    """All ranks, at work until the end of the block."""
    context = Context()
    ranks: list[_Rank] = []
    with tempfile.TemporaryDirectory(prefix="augsearch-") as folder:
        try:
            for number in range(size):
                shard = Shard(number, size)
                member = Member(shard, device_of(device, shard), str(Path(folder) / "meeting"))
                here, there = context.Pipe()
                threads = 1 if number else torch.get_num_threads()
                process = context.Process(
                    target=_rank,
                    args=(work if number else lead, member, threads, arguments, there),
                    name=f"rank {number}",
                    daemon=True,
                )
                process.start()
                there.close()  # so that the connection ends with the process
                ranks.append(_Rank(number, process, here))
            yield ranks
        finally:
            started = [process for process in context.made if process.pid is not None]
            for process in started:
                process.terminate()
            for process in started:
                process.join(GRACE)
                process.kill()  # if it waits in NCCL, where it hears of nothing
                process.join()
            for rank in ranks:
                rank.connection.close()


def _rank(
    part: Callable[..., Any], member: Member, threads: int, arguments: tuple[Any, ...], driver: Connection
) -> None:
    """In a process of its own: a rank's part, and why it ended if it ended before its time."""
    follow_parent()
    torch.set_num_threads(threads)
    code = 1
    try:
        if member.shard.rank == 0:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            _tell(part(*arguments, member=member), driver)
        else:
            part(*arguments, member=member)
        code = 0
    except Exception as error:
        with suppress(OSError):
            driver.send(_failure_of(error, member.shard.rank))
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # it may be closed, or there may be none
                stream.flush()
        os._exit(code)  # Python's own end would have NCCL wait for whoever is gone


def _tell(events: Generator[Any, None, Any], driver: Connection) -> None:
    """Rank 0's ``events``, as they are asked for."""
    while driver.recv() == "next":
        try:
            event = next(events)
        except StopIteration as end:
            driver.send(_Returned(end.value))
            return
        driver.send(_Yielded(event))
    events.close()
    driver.send(_Returned(None))


@contextmanager
def joined(member: Member) -> Iterator[None]:
    """Within it a process is one of the group; it waits until all are there. Alone it joins nobody.

    It leaves the group only where nothing is raised: else NCCL would wait there for whoever is gone, and the
    reason would not be told. A process that raised is of no more use to the group, and ends.
    """
    shard, device = member.shard, member.device
    if shard.size == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # or NCCL would take the first for all
    meeting: dict[str, Any] = {"init_method": member.address}
    if not member.address.startswith("tcp://"):
        # By a URL torch would not find a path with a space in it.
        store = dist.FileStore(member.address, shard.size)  # type: ignore[attr-defined]
        store.set_timeout(PATIENCE)
        meeting = {"store": store}
    nccl = device.type == "cuda" and dist.is_nccl_available()  # Windows has none
    dist.init_process_group(
        "nccl" if nccl else "gloo", rank=shard.rank, world_size=shard.size, timeout=PATIENCE, **meeting
    )
    yield
    dist.destroy_process_group()


def sharing_statistics(network: nn.Module, device: torch.device, shard: Shard) -> None:
    """Have BatchNorms learn from the whole batch and not from the rank's part of it, in place.

    Parameters, statistics and their names stay the same. On GPUs alone: torch has it for no CPU.
    """
    if shard.size > 1 and device.type == "cuda":
        replace_batch_norms(network)


def replace_batch_norms(network: nn.Module) -> None:
    """Put torch's ``SyncBatchNorm`` in place of each BatchNorm of a kind that is known.

    Only in training mode, and within a group, it computes anything else.
    """
    shared = {module: _shared(module) for module in network.modules()}
    for module in shared:
        for name, child in module._modules.items():
            if child is not None and (other := shared[child]) is not None:
                module._modules[name] = other


def _shared(module: nn.Module) -> nn.Module | None:
    """The ``SyncBatchNorm`` for a BatchNorm; None: it is none, or of a kind that nobody knows."""
    convert: Callable[..., nn.Module]
    if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
        convert = nn.SyncBatchNorm.convert_sync_batchnorm
    elif type(module).__name__ == "BatchNormAct2d":  # timm's, whose activation torch would lose
        from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]

        convert = convert_sync_batchnorm
    else:
        return None
    return convert(module)  # type: ignore[no-any-return, no-untyped-call]


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
