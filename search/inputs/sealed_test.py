"""The sealed test part: known by its content, and every read of it on record."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import optuna

from augsearch.policies import UserError
from augsearch.policies.atomic import write_text
from augsearch.search.inputs.run_data import Data
from augsearch.search.settings.sections import HOME
from augsearch.trainers.data.content import keys_of_files, keys_of_pixels
from augsearch.trainers.data.images import image_paths
from augsearch.trainers.system.hashing import digest, hex_hash

ATTRIBUTE = "test"
"""The attribute of a study that holds the hash of its test part, and when it read it."""


def hash_of_test(source: str | None, data: Data) -> str:
    """A hex hash of the test part's images and classes, in whatever order and among whatever others they are.

    Of files it is the bytes that count, so that the side to which they are decoded does not; else the pixels.
    """
    rows = data.splits.test
    # The folder is another one when a file changes, so what was found out once holds.
    kept = data.images.cache / f"test-{data.splits.digests()['test']}"
    if kept.exists():
        return kept.read_text(encoding="utf-8")
    paths = image_paths(source, data.images)
    if paths is None:
        keys = keys_of_pixels(data.images.images, rows)
    else:
        keys = keys_of_files([paths[row] for row in rows])
    classes = [data.images.classes[label] for label in data.images.labels[rows]]
    lines = sorted(f"{key.hex()} {name}" for key, name in zip(keys, classes, strict=True))
    found = hex_hash("\n".join(lines).encode())
    write_text(kept, found)
    return found


def seal_test(study: optuna.Study, source: str | None, data: Data) -> None:
    """Write into ``study`` which test part is its own; one that has another is not taken up.

    Raises:
        UserError: it was made with another test part.
    """
    found, known = hash_of_test(source, data), study.user_attrs.get(ATTRIBUTE)
    if known is None:
        study.set_user_attr(ATTRIBUTE, {"hash": found, "reads": []})
    elif known["hash"] != found:
        raise UserError(
            f"study {study.study_name!r} was made from other data or settings: test part was "
            f"{known['hash'][:12]}, is {found[:12]}; use another --study"
        )


def reads_of_test(study: optuna.Study) -> list[dict[str, str]]:
    """Every read of the study's test part that is on record, by it and by others, the first one first."""
    known = study.user_attrs.get(ATTRIBUTE)
    if known is None:
        return []
    path = _record_of(known["hash"])
    others = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    reads = {(read["time"], read["by"]): read for read in [*known["reads"], *others]}
    return [read for _, read in sorted(reads.items())]


def _record_of(test_hash: str) -> Path:
    return HOME / "test-reads" / f"{test_hash}.jsonl"


def record_test_read(source: str | None, data: Data, by: str, study: optuna.Study | None = None) -> int:
    """Write down that the test part is about to be read, in ``study`` too; returns how often it had been."""
    found = hash_of_test(source, data)
    path = _record_of(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Reads used to be kept by the whole data set and the places of the test images in it.
    old = _record_of(digest([data.images.fingerprint, data.splits.digests()["test"]]))
    before = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in (old, path) if file.exists())
    read = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "by": by}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(read) + "\n")
    if study is not None:
        known = study.user_attrs.get(ATTRIBUTE, {"hash": found, "reads": []})
        study.set_user_attr(ATTRIBUTE, {**known, "reads": [*known["reads"], read]})
    return before
