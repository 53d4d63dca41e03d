"""Workspaces on a machine that does not see the driver's folder: files kept by content, once for all workers.

``files/`` holds each content once, under its hash; ``workspaces/`` holds folders made of links to them, as
several studies of the same images have most files in common.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import filelock
import platformdirs

from augsearch.policies.atomic import whole_file
from augsearch.trainers.data.cache import PARTIAL, linked
from augsearch.trainers.system.hashing import KEY_BYTES, growing_hash
from augsearch.trainers.workspace.manifest import Manifest, TravellingFile

HOME_VARIABLE = "AUGSEARCH_HOME"
"""The variable that says where a machine keeps what it fetched."""
KEPT = 30 * 24 * 3600.0
"""Seconds for which a workspace that nobody uses is kept."""

Fetch = Callable[[TravellingFile], Iterable[bytes | memoryview]]
"""The content of a file, piece by piece."""


def node_home() -> Path:
    """Where this machine keeps workspaces: ``$AUGSEARCH_HOME``, or the user's folder for caches."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return platformdirs.user_cache_path("augsearch", appauthor=False)


def held(manifest: Manifest, home: Path) -> Path | None:
    """The workspace's folder if it is there, whole; None: it isn't."""
    folder = home / "workspaces" / manifest.key
    try:
        os.utime(folder)  # it is of use still
    except OSError:
        return None
    return folder


def missing(manifest: Manifest, home: Path) -> list[TravellingFile]:
    """The files of the workspace that are to be fetched, each content once."""
    folder = held(manifest, home)
    absent = manifest.files if folder is None else ()
    beside = [file for file in manifest.beside if folder is None or not (folder / file.name).exists()]
    return list({file.key: file for file in (*absent, *beside) if not _file(file, home).is_file()}.values())


def materialise(manifest: Manifest, home: Path, fetch: Fetch) -> Path:
    """The workspace's folder, made of the files that are there and those that ``fetch`` brings.

    Of several workers that want the same at once one fetches and the others wait for it.

    Raises:
        OSError: it can't be written, or what came is not what was sent.
    """
    target = held(manifest, home) or _made(manifest, home, fetch)
    for file in manifest.beside:
        place = target / file.name
        if not place.exists():
            with whole_file(place) as temporary:
                linked(_fetched(file, home, fetch), temporary)
    return target


def _made(manifest: Manifest, home: Path, fetch: Fetch) -> Path:
    target = home / "workspaces" / manifest.key
    partial = target.with_name(f"{PARTIAL}{target.name}-{secrets.token_hex(4)}")
    try:
        for file in manifest.files:
            place = partial / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            linked(_fetched(file, home, fetch), place)
        try:
            partial.rename(target)
        except OSError:
            if held(manifest, home) is None:  # no other worker was first
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _remove_unused(home)
    return target


def _file(file: TravellingFile, home: Path) -> Path:
    return home / "files" / file.key


def _fetched(file: TravellingFile, home: Path, fetch: Fetch) -> Path:
    """The content of ``file`` among those that are kept, fetched now if it has to be."""
    path = _file(file, home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            with whole_file(path) as temporary:
                _write(file, temporary, fetch)
    return path


def _write(file: TravellingFile, path: Path, fetch: Fetch) -> None:
    running, size = growing_hash(size=KEY_BYTES), 0
    with path.open("wb") as writing:
        for piece in fetch(file):
            running.update(piece)
            size += writing.write(piece)
    if (size, running.hexdigest()) != (file.size, file.key):
        raise OSError(errno.EIO, f"{size:,} bytes came that are not the {file.size:,} sent", file.name)


def _remove_unused(home: Path) -> None:
    """Remove what nobody has used for long: workspaces, then files that are in none."""
    with suppress(OSError):  # another worker may be at it
        for folder in (home / "workspaces").iterdir():
            if time.time() - folder.stat().st_mtime > KEPT:
                shutil.rmtree(folder, ignore_errors=True)
        for path in (home / "files").iterdir():
            found = path.stat()
            if found.st_nlink == 1 and time.time() - found.st_mtime > KEPT:
                path.unlink(missing_ok=True)
