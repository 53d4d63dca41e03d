"""Going through a folder of images: what counts as one, and what lies about beside them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from augsearch.policies.errors import some
from augsearch.trainers.data.image_files import SUFFIXES, is_image_content
from augsearch.trainers.system.names import printable

SYSTEM_FOLDERS = frozenset(
    {
        *(
            "__macosx",
            "@eadir",
            "@recycle",
            "#recycle",
            "@recently-snapshot",
            "#snapshot",
            "@tmp",
            "~snapshot",
        ),
        *("$recycle.bin", "system volume information", "lost+found", "__pycache__"),
    }
)
"""Names, in small letters, of folders that systems and network disks make for themselves."""

SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})

CACHE_MARK = "CACHEDIR.TAG"
"""A file that marks its folder as a cache (bford.info/cachedir)."""

MOST_SAID = 12
"""Kinds that a line names."""

MOST_LOOKED_INTO = 20
"""Files of each unknown suffix that are looked into."""


@dataclass(slots=True)
class PassedOver:
    """What lay about in a folder and is no image of it."""

    hidden: Counter[str] = field(default_factory=Counter)
    """By the name of a hidden or marked folder or file; a folder counts once."""
    suffixes: Counter[str] = field(default_factory=Counter)
    """Files that are no images by their suffix, by suffix."""
    images: dict[str, str] = field(default_factory=dict)
    """By suffix: a file whose content is an image all the same."""
    _looked_into: Counter[str] = field(default_factory=Counter)

    def add_hidden(self, name: str) -> None:
        """Count something hidden."""
        kind = "._*" if name.startswith("._") else name
        self.hidden[kind if kind.lower() in SYSTEM_FILES | SYSTEM_FOLDERS or kind == "._*" else ".*"] += 1

    def add_file(self, path: str, name: str) -> None:
        """Count a file of an unknown suffix, and look into some of them."""
        suffix = os.path.splitext(name)[1].lower() or "no suffix"  # noqa: PTH122
        self.suffixes[suffix] += 1
        if suffix not in self.images and self._looked_into[suffix] < MOST_LOOKED_INTO:
            self._looked_into[suffix] += 1
            if _is_image_inside(path):
                self.images[suffix] = path

    def in_words(self, root: Path) -> list[str]:
        """What a person is told: one line on images that are left out, one on all else."""
        lines = []
        if self.images:
            counts = [f"{self.suffixes[suffix]:,} with {printable(suffix)}" for suffix in self.images]
            example = printable(os.path.relpath(next(iter(self.images.values())), root))
            lines.append(
                f"left out files that hold images but don't have an image's suffix: {some(counts, 5)} "
                f"({example}, say); rename them, to .jpg or .png say, to use them"
            )
        others = [
            *(
                f"{count:,} {suffix}"
                for suffix, count in self.suffixes.most_common()
                if suffix not in self.images
            ),
            *(f"{count:,} {name}" for name, count in self.hidden.most_common()),
        ]
        if others:
            lines.append(
                f"passed over what is no image: {some([printable(one) for one in others], MOST_SAID)}"
            )
        return lines


def walk(
    folder: Path,
    prefix: str,
    passed: PassedOver | None = None,
    above: frozenset[tuple[int, int]] = frozenset(),
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the images below ``folder``, as paths after ``prefix``.

    Links are followed, but none that leads back to where it came from. What is no image is counted in
    ``passed``.
    """
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    if above and os.path.exists(folder / CACHE_MARK):  # noqa: PTH110 - of a closed folder False, and no error
        if passed is not None:
            passed.hidden[f"{folder.name}/ (marked as a cache)"] += 1
        return
    with os.scandir(folder) as children:
        for child in children:
            if is_folder(child):
                yield from walk(folder / child.name, f"{prefix}/{child.name}", passed, above | {here})
            elif is_image(child):
                yield f"{prefix}/{child.name}", child
            elif passed is not None:
                note(child, passed)


def note(child: os.DirEntry[str], passed: PassedOver) -> None:
    """Count what is neither an image nor a folder to look into."""
    if is_hidden(child.name):
        passed.add_hidden(child.name)
    elif child.is_file():
        passed.add_file(child.path, child.name)


def subfolders(path: Path) -> list[Path]:
    """The folders directly inside ``path``, by name, without hidden ones and what systems leave."""
    with os.scandir(path) as children:
        return [path / child.name for child in sorted(children, key=lambda c: c.name) if is_folder(child)]


def own_images(path: Path) -> bool:
    """Whether images lie directly inside ``path``."""
    with os.scandir(path) as children:
        return any(is_image(child) for child in children)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is a system's and no person's."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS or name.lower() in SYSTEM_FILES


def is_folder(child: os.DirEntry[str]) -> bool:
    """Whether it is a folder to look into."""
    return child.is_dir() and not is_hidden(child.name)


def is_image(child: os.DirEntry[str]) -> bool:
    """Whether it is an image, by its name."""
    suffix = os.path.splitext(child.name)[1].lower()  # noqa: PTH122 (a Path for each of a million files is slow)
    return suffix in SUFFIXES and not child.name.startswith(".") and not child.is_dir()


def _is_image_inside(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (it is a string as the system gave it)
            return is_image_content(file.read(16))
    except OSError:
        return False
