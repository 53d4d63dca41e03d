"""Ray without a shared folder: the workspace comes to a node once, and scores are those of this machine."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from augsearch.policies import Distillation, Policy, PolicyFile, UserError
from augsearch.search.cli import main
from augsearch.search.engines import ray_transfer, travel
from augsearch.search.engines.ray import RayEngine
from augsearch.search.engines.registry import start_engine
from augsearch.search.engines.tasks import evaluate, evaluate_final, make_teacher
from augsearch.search.engines.worker import Limits
from augsearch.search.race.folds import FoldRunner
from augsearch.search.settings.sections import EngineSettings
from augsearch.search.studies.proxy_check import known_check
from augsearch.search.studies.study import load_study, open_storage
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import split
from augsearch.trainers.data.views import OnDisk
from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan, SelectionSet
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.workspace.candidate import Candidate, ProxySettings
from augsearch.trainers.workspace.folder import Workspace, write_workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage
from benchmarks.chaos.nodes import another_node, new_cluster

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'augsearch[ray]'")
LONG = 600
"""Seconds; longer than any of these tasks takes on the busiest machine."""
PLAIN = Candidate(policy=Policy(num_ops=1, magnitude=5))


@pytest.fixture(scope="module")
def far_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("far")


@pytest.fixture(scope="module")
def cluster(far_home: Path) -> Iterator[Any]:
    """A node without room for any task, where the driver is, and one that maps images from its own disk."""
    made = new_cluster()
    variables = {"AUGSEARCH_HOME": str(far_home), "AUGSEARCH_SHARED": "no"}
    another_node(made, num_cpus=2, env_vars=variables)
    made.wait_for_nodes(LONG)
    yield made
    made.shutdown()


@pytest.fixture
def engine(cluster: Any) -> Iterator[RayEngine]:
    made = start_engine(EngineSettings(name="ray", address=cluster.address))
    assert isinstance(made, RayEngine)
    yield made
    made.close()


@pytest.fixture
def workspace(stripes: str) -> Workspace:
    """As a run makes it: in a folder that is named from where the driver runs."""
    data = open_images(stripes, image_size=None, cache=Path("mlruns/cache"))
    splits = split(data.labels, data.given, classes=data.classes, seed=0)
    proxy = ProxySettings(model="tiny", epochs=1, fold_size=40, seed=0, device="cpu")
    return write_workspace(Path("mlruns/work/key"), data, splits, proxy)


def scored(results: list[FoldResult]) -> list[dict[str, Any]]:
    return [result.to_json() | {"seconds": 0.0} for result in results]


def test_folds_of_a_node_that_does_not_see_the_folder_score_the_same(
    engine: RayEngine, workspace: Workspace, far_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_transfer, "PIECE", 10_000)  # images come in several
    put: list[str] = []
    real = ray_transfer._cut
    monkeypatch.setattr(ray_transfer, "_cut", lambda content: put.append(str(content)) or real(content))
    folds = [Fold(Stage.SEARCH, index) for index in range(4)]
    asked: list[Future[FoldResult]] = [
        engine.submit(evaluate, workspace.folder, PLAIN, fold) for fold in folds
    ]
    there = [future.result(LONG) for future in asked]
    assert scored(there) == scored([evaluate(workspace.folder, PLAIN, fold) for fold in folds])
    (far,) = (far_home / "workspaces").iterdir()
    mapped = engine.submit(os.listdir, far).result(LONG)
    assert sorted(mapped) == ["images", "parts.npz", "workspace.json"]
    sent = len(put)
    assert engine.submit(evaluate, workspace.folder, PLAIN, folds[0]).result(LONG).score == there[0].score
    assert len(put) == sent  # what the node has is not sent again


def test_a_node_that_sees_the_folder_uses_it(cluster: Any, workspace: Workspace, tmp_path: Path) -> None:
    home = tmp_path / "near"
    # A GPU that Ray believes in has the task run on this node and no other.
    node = another_node(cluster, num_cpus=1, num_gpus=1, env_vars={"AUGSEARCH_HOME": str(home)})
    cluster.wait_for_nodes(LONG)
    start_engine(EngineSettings(name="ray", address=cluster.address))
    engine = RayEngine(Limits(LONG), "cuda", None, 1)
    fold = Fold(Stage.SEARCH, 0)
    there = engine.submit(evaluate, workspace.folder, PLAIN, fold).result(LONG)
    assert scored([there]) == scored([evaluate(workspace.folder, PLAIN, fold)])
    assert engine.submit(os.getenv, "AUGSEARCH_HOME").result(LONG) == str(home)
    assert not home.exists()
    cluster.remove_node(node)
    ray.shutdown()


def test_a_teacher_that_one_node_made_comes_to_the_others(
    cluster: Any, engine: RayEngine, workspace: Workspace, far_home: Path, tmp_path: Path
) -> None:
    proxy = workspace.proxy.model_copy(update={"teacher": "tiny"})
    splits = split(workspace.data.labels, workspace.data.given, classes=workspace.data.classes, seed=0)
    taught = write_workspace(Path("mlruns/work/taught"), workspace.data, splits, proxy)
    candidate = PLAIN.model_copy(update={"distillation": Distillation(temperature=2, alpha=0.5)})
    here = write_workspace(Path("mlruns/work/here"), workspace.data, splits, proxy)
    fold = Fold(Stage.SEARCH, 0)
    folds: FoldRunner[int] = FoldRunner(engine, taught)
    for number in range(3):
        folds.submit(number, candidate, fold)
    there = finished(folds)
    assert len(there) == 3
    home = tmp_path / "other"
    far = {"AUGSEARCH_HOME": str(home), "AUGSEARCH_SHARED": "no"}
    node = another_node(cluster, num_cpus=1, num_gpus=1, env_vars=far)
    cluster.wait_for_nodes(LONG)
    other: FoldRunner[int] = FoldRunner(RayEngine(Limits(LONG), "cuda", None, 1), taught)
    other.submit(3, candidate, fold)
    there += finished(other)
    cluster.remove_node(node)
    unlike = {"seconds": 0.0, "teacher_seconds": 0.0}
    expected = evaluate(here.folder, candidate, fold).to_json() | unlike
    assert [result.to_json() | unlike for result in there] == [expected] * 4
    made = {path.read_bytes() for path in tmp_path.rglob("search-0-*.safetensors")}
    (mine,) = (taught.folder / "teachers").glob("*.safetensors")
    (theirs,) = home.rglob("search-0-*.safetensors")
    (first,) = far_home.rglob("search-0-*.safetensors")
    assert made == {mine.read_bytes()} == {first.read_bytes()}
    assert theirs.stat().st_nlink == 2  # it came, and was not trained there


def test_a_teacher_whose_files_somebody_removes_is_made_again(
    engine: RayEngine, workspace: Workspace, far_home: Path
) -> None:
    proxy = workspace.proxy.model_copy(update={"teacher": "tiny", "seed": 1})
    splits = split(workspace.data.labels, workspace.data.given, classes=workspace.data.classes, seed=0)
    taught = write_workspace(Path("mlruns/work/removed"), workspace.data, splits, proxy)
    candidate = PLAIN.model_copy(update={"distillation": Distillation(temperature=2, alpha=0.5)})
    fold, found = Fold(Stage.SEARCH, 0), []
    left = engine.submit(make_teacher, taught.folder, fold).result(LONG)
    for remove in (None, taught.fold_teachers, *far_home.glob("workspaces/*/teachers")):
        if remove is not None:
            shutil.rmtree(remove)
        found.append(engine.submit(evaluate, taught.folder, candidate, fold, left).result(LONG).to_json())
    unlike = {"seconds": 0.0, "teacher_seconds": 0.0}
    assert [result | unlike for result in found] == [found[0] | unlike] * len(found)


def finished(folds: FoldRunner[int]) -> list[FoldResult]:
    found: list[FoldResult] = []
    while not folds.is_idle:
        for _, _, result in folds.wait():
            assert isinstance(result, FoldResult), result
            found.append(result)
    return found


def test_a_run_on_such_a_cluster_comes_to_the_same(
    cluster: Any, stripes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [
        *("--trials", "7", "--folds", "1", "--epochs", "1", "--proxy-model", "tiny", "--teacher", "none"),
        *("--confirm-folds", "6", "--finalists", "1", "--workers", "1", "--no-final", "--json"),
    ]
    found = []
    for engine in (["--engine", "local"], ["--engine", "ray", "--address", cluster.address]):
        project = Path(stripes).with_name(engine[1])
        project.mkdir()
        monkeypatch.chdir(project)
        done = CliRunner().invoke(main, ["run", stripes, *flags, *engine])
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)
        assert said["settings"]["engine"] == engine[1]
        found.append({name: said[name] for name in said.keys() - {"settings", "last", "cost"}})
    assert found[0] == found[1]


def photos(root: Path) -> Path:
    """Of 90 by 80 pixels, in three colours."""
    rng = np.random.default_rng(0)
    for number in range(60):
        colour = np.eye(3)[number % 3] * 60 + rng.normal(90, 40, (80, 90, 3))
        path = root / ("red", "green", "blue")[number % 3] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colour.clip(0, 255).astype(np.uint8)).save(path)
    return root


def test_the_original_photos_of_a_final_training_come_too(
    engine: RayEngine, tmp_path: Path, far_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_transfer, "PIECE", 10_000)  # several photos share one
    data = open_images(str(photos(tmp_path / "photos")), image_size=16, cache=Path("mlruns/cache"))
    splits = split(data.labels, data.given, classes=data.classes, seed=0)
    proxy = ProxySettings(model="tiny", epochs=1, fold_size=20, seed=0, device="cpu")
    made = write_workspace(Path("mlruns/work/final"), data, splits, proxy)
    pixels = OnDisk([tmp_path / "photos" / file for file in data.files], 72, 3, kept_in=Path("mlruns/cache"))
    held_out, selection = (
        SelectionSet(pixels, rows, data.labels[rows]) for rows in (splits.confirmation, splits.validation)
    )
    plan = FinalPlan(model="tiny", recipe=Recipe(epochs=1, precision="float32"))
    file = PolicyFile(policy=Policy(num_ops=1, magnitude=5))
    path = made.folder / "final models" / "one.safetensors"
    job = FinalJob(made.folder, file, plan, pixels, splits.train, path, selection=selection)
    there = engine.submit(evaluate_final, job, held_out, "log-loss").result(LONG)
    assert scored([there]) == scored([evaluate_final(job, held_out, "log-loss")])
    used = engine.submit(attrgetter("pixels.paths"), job).result(LONG)
    assert {place.is_relative_to(far_home) for place in used} == {True}
    assert [place.exists() for place in used] == [
        row in splits.train or row in splits.validation for row in range(60)
    ]
    assert not list(far_home.rglob("final models/*.safetensors"))  # once scored, it is of no use
    monkeypatch.setattr(travel, "MOST_BYTES", 1000)
    fewer = replace(job, labeled=splits.train[:9])
    with pytest.raises(UserError, match="are too much to send to a node that doesn't see them"):
        engine.submit(evaluate_final, fewer, held_out, "accuracy").result(LONG)


def test_a_check_on_such_a_cluster_comes_to_the_same(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [
        *("--candidates", "4", "--seeds", "1", "--folds", "1", "--epochs", "1", "--final-epochs", "1"),
        *("--proxy-model", "tiny", "--final-model", "tiny", "--final-size", "72", "--teacher", "none"),
        *("--study", "mine", "--workers", "1", "--metric", "log-loss"),
    ]
    source, found = str(photos(tmp_path / "photos")), []
    for engine in (["--engine", "local"], ["--engine", "ray", "--address", cluster.address]):
        project = tmp_path / engine[1]
        project.mkdir()
        monkeypatch.chdir(project)
        done = CliRunner().invoke(main, ["check-proxy", source, *flags, *engine])
        assert done.exit_code == 0, done.output
        check = known_check(load_study(open_storage("sqlite:///mlruns/studies.db"), "mine proxy check"))
        assert check is not None
        found.append({one.name: (one.proxy, one.final) for one in check.candidates})
    assert found[0] == found[1]
    assert len(set(found[0].values())) == 4
