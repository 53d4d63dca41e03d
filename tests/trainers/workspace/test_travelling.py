"""Workspaces travel by content: whole, checked, once for a machine, and without a path of where they were."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from augsearch.policies import Distillation, Policy
from augsearch.trainers.data.dataset import load_cache
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.saved import save_model
from augsearch.trainers.tasks.fold import evaluate
from augsearch.trainers.tasks.inputs import spec_for
from augsearch.trainers.workspace import node_cache
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import Workspace, open_workspace, write_workspace
from augsearch.trainers.workspace.folds import Fold, Stage
from augsearch.trainers.workspace.manifest import Packed, TravellingFile, glance, is_workspace, pack
from augsearch.trainers.workspace.node_cache import held, materialise, missing, node_home

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

FOLD = Fold(Stage.SEARCH, 0)
TAUGHT = Candidate(policy=Policy(num_ops=1, magnitude=5), distillation=Distillation(temperature=2, alpha=0.5))


@pytest.fixture(scope="module")
def workspace(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With a target, unlabeled images and a given teacher, whose weights the student starts from."""
    root = tmp_path_factory.mktemp("driver")
    aimed = source.aimed(root)
    model = root / "teacher.safetensors"
    spec = spec_for(aimed, "tiny")
    save_model(build_model(spec, seed=1), spec, model, {})
    np.save(root / "unlabeled.npy", source.images[:20])
    proxy = aimed.proxy.model_copy(update={"teacher": str(model), "weights": str(model)})
    beside = (root / "unlabeled.npy", np.arange(10))
    return write_workspace(root / "full", aimed.data, source.splits, proxy, beside, aimed.target)


def read(packed: Packed, file: TravellingFile) -> Iterator[bytes]:
    content = packed.contents[file.key]
    whole = content if isinstance(content, bytes) else content.read_bytes()
    yield whole[:1000]
    yield whole[1000:]


def test_what_travelled_scores_the_same_where_nothing_else_is_left(
    workspace: Workspace, tmp_path: Path
) -> None:
    here = evaluate(workspace.folder, TAUGHT, FOLD)
    root = workspace.folder.parent
    packed = pack(workspace.folder)
    folder = materialise(packed.manifest, tmp_path, lambda file: read(packed, file))
    hidden = root.rename(root.with_name("hidden"))
    try:
        there = open_workspace(folder)
        assert there.given_teacher == folder / "given/teacher/teacher.safetensors"
        np.testing.assert_array_equal(there.unlabeled, workspace.unlabeled)
        again = evaluate(folder, TAUGHT, FOLD)
        for file in folder.rglob("*.json"):
            assert str(root) not in file.read_text("utf-8"), file
    finally:
        hidden.rename(root)
    unlike = {"seconds": 0.0}
    assert again.to_json() | unlike == here.to_json() | unlike


def test_of_several_that_want_it_at_once_one_fetches(workspace: Workspace, tmp_path: Path) -> None:
    packed = pack(workspace.folder)
    asked: list[str] = []

    def fetch(file: TravellingFile) -> Iterator[bytes]:
        asked.append(file.name)
        return read(packed, file)

    threads = [
        threading.Thread(target=materialise, args=(packed.manifest, tmp_path, fetch)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == len(set(asked)) == len({file.key for file in packed.manifest.files})
    assert missing(packed.manifest, tmp_path) == []
    folder = held(packed.manifest, tmp_path)
    assert folder is not None
    assert {str(file.relative_to(folder)) for file in folder.rglob("*.*")} == {
        file.name for file in packed.manifest.files
    }
    assert [path.name for path in (tmp_path / "workspaces").iterdir()] == [folder.name]


def test_another_study_of_the_same_images_brings_what_is_its_own(
    workspace: Workspace, source: Source, tmp_path: Path
) -> None:
    packed = pack(workspace.folder)
    materialise(packed.manifest, tmp_path, lambda file: read(packed, file))
    longer = workspace.proxy.model_copy(update={"epochs": 9})
    other = write_workspace(workspace.folder.with_name("other"), workspace.data, source.splits, longer)
    wanted = missing(pack(other.folder).manifest, tmp_path)
    assert {file.name for file in wanted} <= {"workspace.json", "parts.npz"}


def test_what_came_damaged_is_an_error_and_no_file(workspace: Workspace, tmp_path: Path) -> None:
    packed = pack(workspace.folder)

    def damaged(file: TravellingFile) -> Iterator[bytes]:
        yield b"x" * file.size

    with pytest.raises(OSError, match="that are not the"):
        materialise(packed.manifest, tmp_path, damaged)
    assert held(packed.manifest, tmp_path) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    materialise(packed.manifest, tmp_path, lambda file: read(packed, file))


def test_a_workspace_is_known_by_what_it_holds_and_not_by_where_it_lies(
    source: Source, tmp_path: Path
) -> None:
    workspace = source.study(tmp_path / "mine")
    before, key = glance(workspace.folder), pack(workspace.folder).manifest.key
    shutil.move(tmp_path / "mine", tmp_path / "yours")
    moved = tmp_path / "yours" / "work"
    assert is_workspace(moved)
    assert (glance(moved), pack(moved).manifest.key) == (before, key)
    assert open_workspace(moved).data.cache.parent == tmp_path / "yours" / "cache"
    longer = workspace.proxy.model_copy(update={"epochs": 9})
    write_workspace(moved, open_workspace(moved).data, source.splits, longer)
    assert glance(moved) != before
    with pytest.raises(OSError, match="No such file"):
        glance(workspace.folder)


def test_what_nobody_uses_goes_in_time(
    workspace: Workspace, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = pack(source.study(tmp_path / "old").folder), pack(workspace.folder)
    gone = materialise(old.manifest, tmp_path, lambda file: read(old, file))
    monkeypatch.setattr(node_cache, "KEPT", -1.0)
    materialise(new.manifest, tmp_path, lambda file: read(new, file))
    assert not gone.exists()


def test_a_machine_says_where_it_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGSEARCH_HOME", str(tmp_path))
    assert node_home() == tmp_path
    monkeypatch.delenv("AUGSEARCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert node_home().name.lower() == "augsearch"


def test_groups_and_weights_travel_too(source: Source, tmp_path: Path) -> None:
    plain = source.study(tmp_path / "here")
    count = len(plain.data.labels)
    np.save(plain.data.cache / "groups.npy", np.arange(count) // 2)
    np.save(plain.data.cache / "weights.npy", np.linspace(0.5, 2, count))
    data = load_cache(plain.data.cache)
    packed = pack(write_workspace(tmp_path / "work", data, source.splits, plain.proxy).folder)
    there = open_workspace(materialise(packed.manifest, tmp_path, lambda file: read(packed, file))).data
    of_each = {field.name for field in fields(data) if isinstance(getattr(data, field.name), np.ndarray)}
    assert {"groups", "weights"} < of_each
    for name in of_each:
        np.testing.assert_array_equal(getattr(there, name), getattr(data, name), err_msg=name)
