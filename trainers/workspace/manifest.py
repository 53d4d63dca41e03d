"""A workspace by its content: which files it is made of, wherever they lie, so that it can travel.

What travels is all that folds read: images, parts, settings, and the models and weights that were given. It
is laid out as one folder that names nothing outside of itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from augsearch.trainers.data.dataset import WEIGHTS
from augsearch.trainers.models.names import is_model_file
from augsearch.trainers.system.hashing import KEY_BYTES, cache_key, file_hash, hex_hash, stamp
from augsearch.trainers.system.threads import in_order
from augsearch.trainers.workspace.candidate import ProxySettings
from augsearch.trainers.workspace.folder import DOCUMENT, PARTS, read_document

Content = Path | bytes
"""A file that lies here, or what one is to hold."""

OF_A_CACHE = ("index.json", "images.npy", "labels.npy", "given.npy", "groups.npy", WEIGHTS)
"""What workers read of decoded images; whatever else is kept beside them is the driver's."""


@dataclass(frozen=True, slots=True)
class TravellingFile:
    """A file of a workspace."""

    name: str
    """Where it lies in the workspace's folder, with ``/``."""
    size: int
    """Bytes."""
    key: str
    """The hash of its content, 32 hex digits."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of a workspace."""

    files: tuple[TravellingFile, ...]

    beside: tuple[TravellingFile, ...] = ()
    """What else lies in its folder: what tasks left there, of which more may come, and what one needs."""

    @property
    def key(self) -> str:
        """A hash of what it is made of: workspaces of the same content have the same."""
        return cache_key([asdict(file) for file in self.files])


@dataclass(frozen=True, slots=True)
class Packed:
    """A workspace ready to travel."""

    manifest: Manifest
    contents: Mapping[str, Content]
    """By the keys of the files."""


NOTHING = Packed(Manifest(()), {})
"""No file at all."""


def pack_files(places: Mapping[str, Path]) -> Packed:
    """Files that will lie beside a workspace's own, by the names that they will have.

    Raises:
        OSError: one can't be read.
    """
    hashes = in_order(file_hash, places.values())
    files = tuple(
        TravellingFile(name, _size(place), key)
        for (name, place), key in zip(places.items(), hashes, strict=True)
    )
    return Packed(Manifest((), files), {file.key: places[file.name] for file in files})


def pack_left(folder: Path, names: Sequence[str]) -> Packed:
    """Files that tasks left in ``folder``; each is read once. Those that somebody has removed are left out:
    who needs them makes them anew.

    Raises:
        OSError: one can't be read.
    """
    files = []
    for name in names:
        place = folder / name
        with suppress(FileNotFoundError):
            files.append(TravellingFile(name, _size(place), _hash_of_left(place, stamp(place))))
    return Packed(Manifest((), tuple(files)), {file.key: folder / file.name for file in files})


@lru_cache(maxsize=64)
def _hash_of_left(place: Path, _: tuple[int, int]) -> str:
    return file_hash(place)


def is_workspace(folder: object) -> bool:
    """Whether ``folder`` is the path of a workspace."""
    return isinstance(folder, Path) and (folder / DOCUMENT).is_file()


def pack(folder: Path) -> Packed:
    """The workspace in ``folder``; reads all of it, to know it by its content.

    Raises:
        OSError: a file of it can't be read.
    """
    contents = _contents(folder)
    files = tuple(TravellingFile(name, _size(content), _hash(content)) for name, content in contents.items())
    return Packed(Manifest(files), {file.key: contents[file.name] for file in files})


def glance(folder: Path) -> str:
    """What a workspace's folder is known by without reading its images: another where it is not the same one.

    The small files count as they are, and one of them has the fingerprint of the images; of the others the
    size counts.

    Raises:
        OSError, ValueError, KeyError, TypeError: there is no workspace, or not all of it.
    """
    return _glance(folder, stamp(folder / DOCUMENT), stamp(folder / PARTS))


@lru_cache(maxsize=16)
def _glance(folder: Path, *_: tuple[int, int]) -> str:
    told = [
        [name, _size(content), _hash(content) if name.endswith((".json", PARTS)) else None]
        for name, content in _contents(folder).items()
    ]
    return cache_key(told)


def _contents(folder: Path) -> dict[str, Content]:
    """By name: what the folder holds once it has travelled."""
    document = read_document(folder)
    proxy = ProxySettings(**document["proxy"])
    contents: dict[str, Content] = {PARTS: folder / PARTS, **_cache("images", document["cache"])}
    travels: dict[str, Any] = {"cache": "images", "unlabeled": None, "target": None}
    if document["unlabeled"] is not None:
        travels["unlabeled"] = "unlabeled.npy"
        contents["unlabeled.npy"] = document["unlabeled"]
    if document["target"] is not None:
        travels["target"] = {"source": Path(document["target"]["source"]).name, "cache": "target"}
        contents |= _cache("target", document["target"]["cache"])
    given = {name: f"given/{name}/{file.name}" for name, file in proxy.files.items()}
    for name, file in proxy.files.items():
        contents |= dict(with_card(given[name], file))
    travels["proxy"] = {**document["proxy"], **given}
    if given:
        travels["given"] = given
    contents[DOCUMENT] = json.dumps(travels, indent=2).encode()
    return contents


def _cache(name: str, folder: Path) -> dict[str, Content]:
    return {f"{name}/{file}": folder / file for file in OF_A_CACHE if (folder / file).exists()}


def with_card(name: str, file: Path) -> Iterator[tuple[str, Path]]:
    """A file of weights, and the card of a model that augsearch trained, by the names that they will have."""
    yield name, file
    card = file.with_suffix(".json")
    if is_model_file(file.name) and card.exists():
        yield str(Path(name).with_suffix(".json").as_posix()), card


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _hash(content: Content) -> str:
    return hex_hash(content, size=KEY_BYTES) if isinstance(content, bytes) else file_hash(content)
