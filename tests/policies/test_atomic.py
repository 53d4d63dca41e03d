"""Writing whole or not at all: no reader, no kill and no second writer ever leaves or sees half a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from augsearch.policies.atomic import whole_file, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_are_written_as_they_are_and_nothing_else_is_left(tmp_path: Path) -> None:
    text, data = "α line\r\nand one more\n", bytes(range(256))
    write_text(tmp_path / "new" / "folder" / "a.json", text)
    write_bytes(tmp_path / "new" / "folder" / "b.bin", data, durable=True)
    assert (tmp_path / "new" / "folder" / "a.json").read_bytes() == text.encode()
    assert (tmp_path / "new" / "folder" / "b.bin").read_bytes() == data
    assert names(tmp_path / "new" / "folder") == ["a.json", "b.bin"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half of the n")
            assert path.read_text() == "old"
            raise RuntimeError("the disk is on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        fail()
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\udcff")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass
    assert path.read_text() == "old"


def test_a_kill_between_writing_and_renaming_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from augsearch.policies.atomic import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('new')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = (name for name in names(tmp_path) if name != "a.txt")
    assert left.startswith(".a.txt.")
    write_text(path, "newer")
    assert path.read_text() == "newer"


def test_writers_at_the_same_time_never_mix_and_a_reader_sees_one_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    contents = {bytes([value]) * 100_000 for value in range(8)}
    write_bytes(path, bytes(100_000))

    def write_and_read(content: bytes) -> set[bytes]:
        seen = set()
        for _ in range(20):
            with whole_file(path) as temporary, temporary.open("wb") as file:
                for begin in range(0, len(content), 10_000):  # with time for the others in between
                    file.write(content[begin : begin + 10_000])
                    file.flush()
            seen.add(path.read_bytes())
        return seen

    with ThreadPoolExecutor(8) as threads:
        seen = set().union(*threads.map(write_and_read, sorted(contents)))
    assert seen <= contents
    assert names(tmp_path) == ["a.bin"]


def test_temporary_names_differ_between_calls_and_processes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as first, whole_file(path) as second:
        assert first != second
        assert str(os.getpid()) in first.name
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the outer block ends last
    assert names(tmp_path) == ["a.txt"]


def test_libraries_that_choose_by_the_suffix_find_it(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.npz") as temporary:
        np.savez(temporary, numbers=np.arange(3))  # would add a missing .npz
    with np.load(tmp_path / "a.npz") as file:
        assert file["numbers"].tolist() == [0, 1, 2]
    assert names(tmp_path) == ["a.npz"]
