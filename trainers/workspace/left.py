"""Files that a task leaves in a workspace's folder, for other tasks to find there, on whichever machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from augsearch.policies.atomic import write_bytes


@dataclass(frozen=True, slots=True)
class LeftFiles:
    """What a task returns that has left files; given to another task, the files are there where that runs."""

    names: tuple[str, ...]
    """Where they lie in the workspace's folder, with ``/``."""
    contents: tuple[bytes, ...] = ()
    """Theirs, on the way to a driver whose folder is another one."""

    def packed(self, folder: Path) -> LeftFiles:
        """With the contents that lie in ``folder``."""
        return LeftFiles(self.names, tuple((folder / name).read_bytes() for name in self.names))

    def unpacked(self, folder: Path) -> LeftFiles:
        """With the contents written into ``folder``, where there are any and no such files yet."""
        for name, content in zip(self.names, self.contents, strict=bool(self.contents)):
            if not (folder / name).exists():
                write_bytes(folder / name, content)
        return LeftFiles(self.names)
