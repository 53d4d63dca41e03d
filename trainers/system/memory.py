"""Memory that is freed stays at hand while a network is trained."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# malloc.h of the GNU C library; the manual page mallopt(3) explains them.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_WITHIN = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 64 << 20}
"""No block has a mapping of its own, nothing is handed back, and more is asked for in large pieces."""
_AFTER = {_MMAP_MAX: 65_536, _TRIM_THRESHOLD: 64 << 20, _TOP_PAD: 128 << 10}
"""The library's own values; of the threshold, the one to which it would have risen by itself."""


@contextmanager
def memory_at_hand() -> Iterator[None]:
    """Within the block, memory that is freed is kept for what is asked for next; then the system has it back.

    Each step of a training frees and asks for the same blocks. The GNU C library hands large ones to the
    system and gets them anew, zeroed page by page: a tenth to a third of a step. With other libraries, and
    other systems, nothing is done. It holds for the whole process: of two blocks at once the first to end
    ends it for both, which costs time alone.
    """
    library = _glibc()
    if library is None:
        yield
        return
    _tell(library, _WITHIN)
    try:
        yield
    finally:
        _tell(library, _AFTER)
        library.malloc_trim(0)


def _tell(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library of this process where it is GNU's."""
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
