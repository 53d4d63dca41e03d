"""What is declared in the files of a package is found there, and nowhere else."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from augsearch.trainers.system.registry import declared_in


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / f"toys_of_{tmp_path.name}"  # a name that no other test imports
    folder.mkdir()
    (folder / "__init__.py").write_text("TOY = 'of the package itself'\n")
    (folder / "kite.py").write_text("TOY = 'a kite'\n")
    (folder / "ball.py").write_text("TOY = 'a ball'\n")
    (folder / "price.py").write_text("TOY = 3\n")
    (folder / "tools.py").write_text("HAMMER = 'a hammer'\n")
    (folder / "notes.txt").write_text("TOY = 'a note'\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_what_files_declare_is_found_by_their_names_in_order(package: str) -> None:
    found = declared_in(package, "TOY", str)
    assert list(found.items()) == [("ball", "a ball"), ("kite", "a kite")]


def test_a_file_that_is_added_later_is_found(package: str, tmp_path: Path) -> None:
    assert "top" not in declared_in(package, "TOY", str)
    (tmp_path / package / "top.py").write_text("TOY = 'a top'\n")
    importlib.invalidate_caches()
    assert declared_in(package, "TOY", str)["top"] == "a top"


def test_a_file_that_cannot_be_imported_is_an_error(package: str, tmp_path: Path) -> None:
    (tmp_path / package / "broken.py").write_text("import nothing_of_this_name\n")
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        declared_in(package, "TOY", str)
