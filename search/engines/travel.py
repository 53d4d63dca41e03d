"""Calls on a workspace, for machines that may or may not see the driver's folder.

A call goes out with what its workspace is known by, and which files it reads beside it. Where the machine
sees all of that, it runs there; where it does not, it says what it lacks, and the call comes again with that.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from augsearch.search.engines.worker import pickled, run_pickled
from augsearch.trainers.system.hashing import cache_key, stamp
from augsearch.trainers.workspace.apart import Moves, told_apart
from augsearch.trainers.workspace.left import LeftFiles
from augsearch.trainers.workspace.manifest import Manifest, glance, is_workspace
from augsearch.trainers.workspace.node_cache import Fetch, materialise, missing, node_home

SHARED_VARIABLE = "AUGSEARCH_SHARED"
"""``no``: this machine is to map images from its own disk, though it sees the driver's folder."""


MOST_FILES, MOST_BYTES = 100_000, 16 * 2**30
"""Of what a call reads beside its workspace, for a machine that does not see it: Ray's store of objects keeps
what it has no memory for on the disk, and the machine keeps all of it on its own."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a call reads beside its workspace, original photos above all."""

    key: str
    """Another one where it is not the same files."""
    files: tuple[tuple[str, str, int], ...]
    """The name of each in the folder that it comes to, its path here, and its bytes."""
    call: bytes
    """For a machine that has the files elsewhere: pickled, with arguments that name none."""
    too_much: str | None
    """Why they are not sent; then ``files`` has the first alone."""


@dataclass(frozen=True, slots=True)
class Errand:
    """A call and what it needs."""

    call: bytes
    """Pickled; without its first argument where that is a workspace's folder."""
    project: Path
    """Where the driver runs; what relative paths are meant from."""
    folder: Path | None
    """The workspace's, as the driver sees it; None: the call has none."""
    known_by: str = ""
    """Its ``glance``."""
    manifest: Manifest | None = None
    """Its content; None: not asked for yet."""
    beside: tuple[str, ...] = ()
    """The files in its folder that other tasks left there for this one."""
    needs: Needs | None = None
    """What it reads beside the workspace; None: nothing."""


class Lacking(NamedTuple):
    """What a machine says that can't run an errand yet."""

    keys: tuple[str, ...] | None
    """Of the files that it needs; None: it needs the manifest, to know."""


def errand_of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Errand:
    """The call of ``function``; a workspace's folder as its first argument will be the one over there.

    Raises:
        Exception: it can't be pickled.
    """
    project = Path.cwd()
    if args and isinstance(args[0], Moves):
        folder = args[0].workspace.absolute()
        call, needs = pickled(function, args, kwargs), _needs_of(function, args, kwargs)
        return Errand(call, project, folder, glance(folder), needs=needs)
    if not args or not is_workspace(args[0]):
        return Errand(pickled(function, args, kwargs), project, None)
    folder = args[0].absolute()
    beside = tuple(name for one in args if isinstance(one, LeftFiles) for name in one.names)
    return Errand(pickled(function, args[1:], kwargs), project, folder, glance(folder), beside=beside)


def at_hand(task: Errand, sent: Container[str], fetch: Fetch) -> Path | Lacking:
    """Over there: the workspace's folder, or what is lacking of it.

    Args:
        task: it has a folder.
        sent: the keys of the files that ``fetch`` can bring.
        fetch: brings a file.

    Raises:
        OSError: it can't be written.
    """
    assert task.folder is not None
    if _sees(task.folder, task.known_by) and _sees_files(task.needs):
        return task.folder
    if task.manifest is None:
        return Lacking(None)
    home = node_home()
    wanted = tuple(file.key for file in missing(task.manifest, home))
    if any(key not in sent for key in wanted):
        return Lacking(wanted)
    return materialise(task.manifest, home, fetch)


def call_at(task: Errand, folder: Path | None) -> bytes:
    """The call, ready for a worker over there, on the workspace that lies in ``folder``."""
    is_far, needs = folder != task.folder, task.needs
    if needs is None:
        return pickled(_run_at, (task.project, folder, task.call, is_far), {})
    if is_far:
        return pickled(_run_elsewhere, (task.project, folder, needs.key, needs.call), {})
    return pickled(_run_at, (task.project, None, task.call, False), {})


def _run_at(project: Path, folder: Path | None, call: bytes, is_far: bool) -> Any:
    """In a worker; ``is_far``: the driver sees another folder, so what is left in this one goes there too."""
    _go_to(project)
    if folder is None:
        return run_pickled(call)
    function, args, kwargs = pickle.loads(call)
    result = function(folder, *args, **kwargs)
    return result.packed(folder) if is_far and isinstance(result, LeftFiles) else result


def _run_elsewhere(project: Path, folder: Path, key: str, call: bytes) -> Any:
    """In a worker: a call whose workspace is this ``folder``, where its files have come too."""
    _go_to(project)
    function, apart, kwargs = pickle.loads(call)
    return function(*apart.arguments(folder, folder / key), **kwargs)


def _go_to(project: Path) -> None:
    """Relative paths are meant from where the driver runs, if that is seen here."""
    if project.is_dir():
        os.chdir(project)


def arrived(task: Errand, result: Any) -> Any:
    """What a task came to, for the driver: files that it left are in the driver's folder then.

    Raises:
        OSError: they can't be written.
    """
    if task.folder is not None and isinstance(result, LeftFiles):
        return result.unpacked(task.folder)
    return result


def _sees(folder: Path, known_by: str) -> bool:
    """Whether the very workspace lies at the path where the driver has it."""
    if os.environ.get(SHARED_VARIABLE) == "no":
        return False
    try:
        return glance(folder) == known_by
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sees_files(needs: Needs | None) -> bool:
    """Whether all that is read beside the workspace lies where the driver has it."""
    return needs is None or all(stamp(path)[0] == size for _, path, size in needs.files)


def _needs_of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Needs:
    apart, files = told_apart(args)
    stamps = {name: stamp(path) for name, path in files.items()}
    key = cache_key([(name, str(files[name]), *found) for name, found in stamps.items()])
    # What can't be read here is as missing over there.
    known = tuple(
        (f"{key}/{name}", str(files[name]), size) for name, (size, _) in stamps.items() if size >= 0
    )
    size, too_much = sum(size for _, _, size in known), None
    if len(known) > MOST_FILES or size > MOST_BYTES:
        too_much = (
            f"{len(known):,} files, {size / 2**30:.1f} GiB, are too much to send to a node that doesn't see "
            f"them; {MOST_FILES:,} and {MOST_BYTES / 2**30:g} GiB are sent. Have all nodes see their folder "
            "at one path"
        )
        known = known[:1]
    return Needs(key, known, pickle.dumps((function, apart, kwargs)), too_much)
