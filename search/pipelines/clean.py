"""``augsearch clean``: what lies in ``mlruns/`` and can go, as it can be made again or belongs to nobody.

Studies, models, policies, reports, what MLflow has of its runs, and the records of confirmations and of reads
of the test part are never among it.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from rich import box
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from augsearch.policies import UserError
from augsearch.search.console import Display
from augsearch.search.inputs.workplace import alone
from augsearch.search.settings.addresses import sqlite_file
from augsearch.search.settings.sections import HOME, TrackingSettings
from augsearch.search.studies.proxy_check import ATTRIBUTE as PROXY_CHECK
from augsearch.search.studies.study import BESIDE, load_study, open_storage
from augsearch.trainers.data.cache import ABANDONED_AFTER, PARTIAL, abandoned
from augsearch.trainers.workspace.folder import read_document

_HALF_MADE = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.part(\.\w+)?")
"""The names of files that a killed process was writing; see ``policies/atomic.py``."""
_RUN = re.compile(r"[0-9a-f]{32}")
CACHES, WORKSPACES, HALF, ORPHANS, JOBS = (
    "decoded images",
    "what workers read, teachers",
    "half-made files",
    "artifacts of no run",
    "logs of Slurm jobs",
)


@dataclass(frozen=True, slots=True)
class Removable:
    """A file or folder that can go."""

    path: Path
    kind: str
    size: int
    """Bytes on disk."""


@dataclass(frozen=True, slots=True)
class Found:
    """What can go, and what may be kept."""

    items: tuple[Removable, ...]
    kept_for: tuple[str, ...] = ()
    """Unfinished studies, whose images and workspaces stay."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The studies that may go on, and so would have to make anew what is removed."""

    names: tuple[str, ...]
    data: frozenset[str]
    """The first digits of their images' fingerprints."""


def removable(storage: str | None, *, everything: bool = False) -> Found:
    """What can go now; ``everything``: also what unfinished studies would have to make anew.

    Raises:
        UserError: somebody is at work in the folder.
    """
    if not HOME.is_dir():
        return Found(())
    with alone():
        return _found(storage, everything)


def remove(chosen: Found, storage: str | None, *, everything: bool = False) -> int:
    """Remove of ``chosen`` what still can go; returns how many bytes that freed.

    Raises:
        UserError: somebody is at work in the folder, or something can't be removed; the rest is gone then.
    """
    freed, failed = 0, []
    with alone():
        still = {one.path: one for one in _found(storage, everything).items}
        for one in (still[other.path] for other in chosen.items if other.path in still):
            try:
                shutil.rmtree(one.path) if one.path.is_dir() else one.path.unlink()
                freed += one.size
            except OSError as error:
                failed.append(f"{one.path}: {(error.strerror or str(error)).lower()}")
    if failed:
        raise UserError(f"can't be removed: {'; '.join(failed)}; give yourself the right to write there")
    return freed


def _found(storage: str | None, everything: bool) -> Found:
    unfinished = Unfinished((), frozenset()) if everything else _unfinished(storage)
    found = [*_of_caches(unfinished), *_of_work(unfinished), *_half_made(), *_orphans()]
    jobs = HOME / "jobs"
    if not unfinished.names and _is_own(jobs):
        found.append((jobs, JOBS))
    every = {path: Removable(path, kind, _size(path)) for path, kind in found}
    # What lies in something that goes is counted with it.
    outermost = (one for path, one in sorted(every.items()) if not any(up in every for up in path.parents))
    return Found(tuple(outermost), unfinished.names)


def _unfinished(storage: str | None) -> Unfinished:
    address = storage or TrackingSettings().storage
    file = sqlite_file(address)
    if file is not None and not file.exists():
        return Unfinished((), frozenset())
    opened, names, data = open_storage(address), [], set()
    for name in optuna.get_all_study_names(opened):
        known = load_study(opened, name).user_attrs
        if "identity" not in known or _is_done(name, known):
            continue
        names.append(name)
        data.add(str(known["identity"].get("data", "")).rpartition(" ")[2])
    return Unfinished(tuple(names), frozenset(data))


def _is_done(name: str, known: dict[str, Any]) -> bool:
    """Whether a study needs nothing any more; of those that a comparison makes none comes to a verdict."""
    if BESIDE in known or (PROXY_CHECK in known and name.endswith(f" {PROXY_CHECK}")):
        return True
    wants_final = known.get("settings", {}).get("final", True)
    return "final" in known or ("verdict" in known and not wants_final)


def _of_caches(unfinished: Unfinished) -> Iterator[tuple[Path, str]]:
    cache = HOME / "cache"
    if not _is_own(cache):
        return
    yield from ((folder, HALF) for folder in abandoned(cache))
    for folder in cache.iterdir():
        if _is_own(folder) and not folder.name.startswith(PARTIAL) and not _needed(folder, unfinished):
            yield folder, CACHES


def _of_work(unfinished: Unfinished) -> Iterator[tuple[Path, str]]:
    work = HOME / "work"
    for folder in work.iterdir() if _is_own(work) else ():
        if not _is_own(folder):
            continue
        if folder.name == "teachers":
            needed = bool(unfinished.names)
        else:
            try:
                needed = _needed(read_document(folder)["cache"], unfinished)
            except (OSError, ValueError, KeyError, TypeError):  # a kill left it half made
                needed = bool(unfinished.names)
        if not needed:
            yield folder, WORKSPACES
        else:
            yield from ((left, HALF) for left in (folder / "speed").glob("*"))


def _needed(cache: Path, unfinished: Unfinished) -> bool:
    """Whether an unfinished study may be of these images; where that can't be told, it may."""
    if not unfinished.names:
        return False
    known = [_fingerprint(folder) for folder in (HOME / "cache").iterdir() if folder.is_dir()]
    prints = {one[:12] for one in known if one is not None}
    own = _fingerprint(cache)
    return own is None or own[:12] in unfinished.data or not unfinished.data <= prints


def _fingerprint(cache: Path) -> str | None:
    try:
        return str(json.loads((cache / "index.json").read_text(encoding="utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError):
        return None


def _half_made() -> Iterator[tuple[Path, str]]:
    for pattern in (".*.part*", "*/.*.part*", "*/*/.*.part*"):
        for path in HOME.glob(pattern):
            old = time.time() - path.lstat().st_mtime > ABANDONED_AFTER
            if _HALF_MADE.fullmatch(path.name) and path.is_file() and not path.is_symlink() and old:
                yield path, HALF


def _orphans() -> Iterator[tuple[Path, str]]:
    """Artifacts of runs that MLflow's database beside them doesn't know, not even as deleted."""
    database, artifacts = HOME / "mlflow.db", HOME / "artifacts"
    if not database.exists() or not _is_own(artifacts):
        return
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            known = {run for (run,) in connection.execute("SELECT run_uuid FROM runs")}
    except sqlite3.Error:  # another's tables, or they are being written
        return
    for folder in artifacts.iterdir():
        old = time.time() - folder.lstat().st_mtime > ABANDONED_AFTER
        if _is_own(folder) and _RUN.fullmatch(folder.name) and folder.name not in known and old:
            yield folder, ORPHANS


def _is_own(folder: Path) -> bool:
    """Whether it is a folder that lies here; a link may lead to another's."""
    return folder.is_dir() and not folder.is_symlink()


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())


def show(found: Found, display: Display) -> None:
    """Print what can go, a line for each kind, and for whom the rest stays."""
    if found.kept_for:
        names = ", ".join(found.kept_for)
        display.line(f"what unfinished studies go on with stays, --all takes it too: {names}")
    if not found.items:
        display.result(f"nothing in {HOME} can go")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("what")
    table.add_column("how many", justify="right")
    table.add_column("size", justify="right", no_wrap=True)
    for kind in (CACHES, WORKSPACES, HALF, ORPHANS, JOBS):
        sizes = [one.size for one in found.items if one.kind == kind]
        if sizes:
            table.add_row(escape(kind), f"{len(sizes):,}", decimal(sum(sizes)))
    display.table(table)
    for one in found.items:
        display.detail(f"{one.path}  {decimal(one.size)}")


def to_json(found: Found, freed: int | None) -> dict[str, Any]:
    """Plain values; ``freed``: bytes, None where nothing was removed."""
    items = [{"path": str(one.path), "what": one.kind, "bytes": one.size} for one in found.items]
    total = sum(one.size for one in found.items)
    return {"items": items, "bytes": total, "kept_for": list(found.kept_for), "freed": freed}
