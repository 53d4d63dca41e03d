"""The final training on a Ray cluster: on one of its nodes, or shared by several (DDP).

Each process is an actor of Ray's that keeps its place on a node. The first trains an epoch whenever the
driver asks for the next, and what it has written by then comes along: model, card and checkpoint. So all that
is kept lies where the driver is, and a node that is lost costs what came after the last checkpoint.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augsearch.policies import UserError
from augsearch.policies.atomic import write_bytes
from augsearch.search.engines.engine import WorkerLostError
from augsearch.search.engines.ray_errors import in_our_words, our_words
from augsearch.search.engines.ray_room import REPLACED, Cluster, Room, in_words, room_for
from augsearch.search.engines.ray_transfer import Sender, Sent, brought
from augsearch.search.engines.travel import Errand, Lacking, at_hand, call_at, errand_of
from augsearch.search.engines.worker import run_pickled
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.workspace.left import LeftFiles

if TYPE_CHECKING:  # they import torch, which the driver of a search does without
    from augsearch.trainers.tasks.final import FinalEpoch, FinalModel, FinalTraining
    from augsearch.trainers.tasks.final_job import FinalJob
    from augsearch.trainers.training.distributed import Member

TIMES, PAUSE = 5, 5.0
"""How often a node may be lost without an epoch between; seconds before the next try, longer each time: Ray
takes nodes that are gone to be there for a while."""
LAST_WORDS = 10.0
"""Seconds in which the others may say why the first one's training broke."""

Files = Mapping[str, bytes | None]
"""What changed beside the model, by name; None: it is gone."""


def train_on_cluster(
    job: FinalJob, start: Callable[[], Cluster], say: Callable[[str], None]
) -> FinalTraining:
    """Train as ``job`` says on the cluster that ``start`` connects to; see ``FinalTrainer``."""
    engine, sender = start(), Sender()
    told, lost = _Told(), 0
    try:
        while True:
            before = told.epoch
            try:
                with our_words():
                    room = room_for(job.plan.processes, engine, REPLACED if lost else 0.0, say)
                    with _team(job, room, sender, say) as team:
                        return (yield from team.train(job, told))
            except WorkerLostError as error:
                lost = 1 if told.epoch > before else lost + 1
                if lost == TIMES:
                    raise UserError(f"the final training: {error}, {TIMES} times in a row") from None
                say(f"{error}; the final training goes on after the last checkpoint")
                time.sleep(lost * PAUSE)
    finally:
        sender.close()
        engine.close()


@dataclass(slots=True)
class _Told:
    """How far a training was told of, whatever was lost since."""

    epoch: int = 0


class _Team:
    """The processes of one training, and the node of each; the driver's end."""

    def __init__(self, actors: list[Any], nodes: list[str]) -> None:
        self._actors, self._nodes = actors, nodes

    def bring(self, job: FinalJob, sender: Sender) -> None:
        """Have all nodes see what the training reads, and what is kept of it."""
        import ray

        task, far = errand_of(_as_it_is, (job,), {}), []
        for actor in self._actors:
            sent: Sent = {}
            while isinstance(
                found := ray.get(actor.bring.remote(sender.with_manifest(task), dict(sent))), Lacking
            ):
                sent = sender.sent(task, sent, found)
            if not found:
                far.append(actor)
        if far:
            kept = ray.put({path.name: path.read_bytes() for path in _files(job) if path.exists()})
            for actor in far:
                ray.get(actor.place.remote(kept))
        # The first of each node trains the teacher for all who are there.
        firsts = dict(zip(reversed(self._nodes), reversed(self._actors), strict=True))
        ray.get([actor.make_teacher_ready.remote() for actor in firsts.values()])

    def train(self, job: FinalJob, told: _Told) -> Generator[FinalEpoch, None, FinalModel]:
        """The epochs that were not ``told`` of yet, after their files were written beside the model."""
        import ray

        from augsearch.trainers.tasks.final import FinalModel
        from augsearch.trainers.training.distributed import lost_the_others

        first, *others = self._actors
        size, address = len(self._actors), ray.get(first.address.remote())
        running = [actor.train_beside.remote(rank, size, address) for rank, actor in enumerate(others, 1)]
        ray.get(first.begin.remote(size, address))
        try:
            while True:
                asked = first.next.remote()
                while asked not in (ended := ray.wait([asked, *running], num_returns=1)[0]):
                    ray.get(ended)  # one that broke ends all; one that was told to stop has ended before
                    running.remove(ended[0])
                files, event, teacher = ray.get(asked)
                _written(files, job)
                if isinstance(event, FinalModel):
                    return replace(event, path=job.path, teacher=_at_home(teacher, job) or event.teacher)
                if event.training.epoch > told.epoch:
                    told.epoch = event.training.epoch
                    yield event
        except GeneratorExit:  # between two epochs, so the last can be kept
            _written(ray.get(first.stop.remote()), job)
            raise
        except Exception as error:
            # What is wrong with the input or the loss is said by who found it; else others may know more.
            said = in_our_words(error)
            known = isinstance(said, UserError | TrainingDivergedError)
            if not known and (reason := _reason(running)) is not None:
                raise reason from None
            if lost_the_others(said):  # Ray may take half a minute to know that a node is gone
                raise WorkerLostError("a process of the training lost another one") from None
            raise


def _reason(running: list[Any]) -> BaseException | None:
    """Why another process ended; None: none did, or for no reason of its own."""
    import ray

    for ended in ray.wait(running, num_returns=len(running), timeout=LAST_WORDS)[0] if running else ():
        try:
            ray.get(ended)
        except Exception as error:
            said = in_our_words(error)
            if isinstance(said, UserError | TrainingDivergedError | WorkerLostError):
                return said
    return None


def _written(files: Files, job: FinalJob) -> None:
    for name, content in files.items():
        if content is None:
            job.path.with_name(name).unlink(missing_ok=True)
        else:
            write_bytes(job.path.with_name(name), content)


def _at_home(teacher: LeftFiles | None, job: FinalJob) -> Path | None:
    """Where a teacher lies that was trained on a node; None: it is where it was said to be."""
    from augsearch.trainers.workspace.folder import open_workspace

    if teacher is None:
        return None
    folder = open_workspace(job.workspace).final_teachers
    return folder / teacher.unpacked(folder).names[0]


def _files(job: FinalJob) -> tuple[Path, ...]:
    """All that a training leaves."""
    return job.path, job.path.with_suffix(".json"), job.checkpoint


def _as_it_is(job: FinalJob) -> FinalJob:
    """On a node: the job with its files where they lie there."""
    return job


@contextmanager
def _team(job: FinalJob, room: Room, sender: Sender, say: Callable[[str], None]) -> Iterator[_Team]:
    """Processes that hold a place of ``room`` each until the end of the block, with all that they need.

    Raises:
        WorkerLostError: one of them was lost.
    """
    import ray
    from ray.util.placement_group import remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    size, place = job.plan.processes, room.place
    actors: list[Any] = []
    try:
        for index in range(size):
            there = PlacementGroupSchedulingStrategy(room.group, placement_group_bundle_index=index)
            options = {"num_cpus": place["CPU"], "num_gpus": place.get("GPU", 0)}
            actors.append(_actor().options(**options, scheduling_strategy=there).remote(place["CPU"]))
        nodes = _nodes(actors)
        many = len(set(nodes))
        where = "a node" if many == 1 else f"{many} nodes"
        say(f"it runs on {where} of the cluster: {in_words(size, place)}")
        team = _Team(actors, nodes)
        team.bring(job, sender)
        yield team
    finally:
        for actor in actors:
            with suppress(Exception):
                ray.kill(actor)
        remove_placement_group(room.group)


def _nodes(actors: list[Any]) -> list[str]:
    """Where each of them is, once it is there.

    Raises:
        WorkerLostError: one does not come up: its node went before it began, and Ray waits for another.
    """
    import ray

    asked = [actor.node.remote() for actor in actors]
    try:
        found: list[str] = ray.get(asked, timeout=REPLACED)
    except ray.exceptions.GetTimeoutError:
        raise WorkerLostError(f"a process did not come up in {REPLACED:g} s") from None
    return found


@cache
def _actor() -> Any:
    """What Ray runs; the decorator that is not typed is applied here alone."""
    import ray

    return ray.remote(max_restarts=0)(_Process)


class _Process:
    """One process of a training, on its node."""

    def __init__(self, cores: int) -> None:
        import torch

        torch.set_num_threads(cores)
        self._job: FinalJob | None = None
        self._folder: Path | None = None
        """The workspace's, where it is another one than the driver's."""
        self._told: dict[str, tuple[int, int]] = {}
        self._events: FinalTraining | None = None

    def node(self) -> str:
        """Which one it is on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def bring(self, task: Errand, sent: Sent) -> Lacking | bool:
        """See what the training reads; returns what is lacking, or whether it is where the driver has it."""
        folder = at_hand(task, sent, lambda file: brought(sent[file.key]))
        if isinstance(folder, Lacking):
            return folder
        job: FinalJob = run_pickled(call_at(task, folder))
        if folder != task.folder:
            self._folder = folder
            job = replace(job, path=folder / "final training" / job.key()[:16] / job.path.name)
        self._job = job
        return self._folder is None

    def place(self, kept: Mapping[str, bytes]) -> None:
        """Have beside the model what the driver has, who sees another folder."""
        for path in _files(self._known):
            if path.name in kept:
                write_bytes(path, kept[path.name])
            else:
                path.unlink(missing_ok=True)
        self._changed()

    def make_teacher_ready(self) -> None:
        """Train the teacher, if there is to be one."""
        from augsearch.trainers.tasks.final import make_teacher_ready

        make_teacher_ready(self._known)

    def address(self) -> str:
        """Where the others meet this one."""
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def train_beside(self, rank: int, size: int, address: str) -> None:
        """Take part until the first one says that it is over."""
        from augsearch.trainers.tasks.final import train_beside

        train_beside(self._known, self._member(rank, size, address))

    def begin(self, size: int, address: str) -> None:
        """Be the first one."""
        from augsearch.trainers.tasks.final import train_final

        self._events = train_final(self._known, member=self._member(0, size, address))

    def next(self) -> tuple[Files, FinalEpoch | FinalModel, LeftFiles | None]:
        """Train an epoch: the files that changed, how it went; or at the end the model, and its teacher."""
        from augsearch.trainers.tasks.final import FinalEpoch

        assert self._events is not None
        try:
            epoch = next(self._events)
            assert isinstance(epoch, FinalEpoch)  # it learns from no images without labels
            return self._changed(), epoch, None
        except StopIteration as stop:
            final: FinalModel = stop.value
            return self._changed(), final, self._left(final.teacher)

    def stop(self) -> Files:
        """Keep the epoch that was trained last; the files that changed with that."""
        assert self._events is not None
        self._events.close()
        return self._changed()

    @property
    def _known(self) -> FinalJob:
        assert self._job is not None
        return self._job

    def _member(self, rank: int, size: int, address: str) -> Member:
        import torch

        from augsearch.trainers.system.devices import resolve_device
        from augsearch.trainers.training.distributed import Member, Shard
        from augsearch.trainers.workspace.folder import open_workspace

        device = resolve_device(open_workspace(self._known.workspace).proxy.device)
        # Ray has shown it its own GPU alone.
        own = torch.device("cuda", 0) if device.type == "cuda" else device
        return Member(Shard(rank, size), own, address)

    def _changed(self) -> Files:
        """The files that are others than they were, where the driver does not see them."""
        if self._folder is None:
            return {}
        found = {path: path.stat() for path in _files(self._known) if path.exists()}
        now = {path.name: (stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}
        changed: dict[str, bytes | None] = {
            path.name: path.read_bytes() for path in found if self._told.get(path.name) != now[path.name]
        }
        changed |= dict.fromkeys(self._told.keys() - now.keys())
        self._told = now
        return changed

    def _left(self, teacher: Path | None) -> LeftFiles | None:
        """The files of a teacher that was trained here, where the driver does not see them."""
        from augsearch.trainers.workspace.folder import open_workspace

        folder = None if self._folder is None else open_workspace(self._folder).final_teachers
        if teacher is None or folder is None or teacher.parent != folder:
            return None
        paths = (teacher, teacher.with_suffix(".json"))
        return LeftFiles(tuple(path.name for path in paths if path.exists())).packed(folder)
