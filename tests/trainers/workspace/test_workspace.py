"""Folds and workspaces: what workers are told, and what they are not."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augsearch.policies import Distillation, Mixing, Policy, Transfer
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import Splits, split
from augsearch.trainers.training.recipe import default_epochs, default_final_epochs
from augsearch.trainers.workspace.candidate import Candidate, ProxySettings
from augsearch.trainers.workspace.folder import Workspace, open_workspace, write_workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage, default_fold_size

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

PROXY = ProxySettings(model="tiny", epochs=3, fold_size=12, seed=5, device="cpu", teacher="small")

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.tuples(finite, finite, finite, finite),
    st.integers(0, 10**12),
    st.lists(st.booleans(), max_size=70),
)
def test_a_fold_result_survives_json(
    figures: tuple[float, float, float, float], images: int, correct: list[bool]
) -> None:
    accuracy, log_loss, ece, seconds = figures
    result = FoldResult(accuracy, log_loss, ece, seconds, images, np.array(correct, bool))
    document = json.loads(json.dumps(result.to_json()))
    back = FoldResult.from_json(document)
    assert (back.accuracy, back.log_loss, back.ece, back.seconds, back.images) == (*figures, images)
    assert back.correct.dtype == np.bool_
    assert back.correct.tolist() == correct
    # Reading does not use the document up.
    assert FoldResult.from_json(document).correct.tolist() == correct


def test_a_fold_result_of_old_has_nothing_beside_it() -> None:
    result = FoldResult(0.5, 1.0, 0.1, 2.0, 10, np.ones(3, bool), beside=0.25)
    document = json.loads(json.dumps(result.to_json()))
    assert FoldResult.from_json(document).beside == 0.25
    del document["beside"]
    assert FoldResult.from_json(document).beside is None


def test_a_fold_results_images_take_a_bit_each() -> None:
    few, many = (
        len(json.dumps(FoldResult(0, 0, 0, 0, 0, np.ones(count, bool)).to_json())) for count in (0, 8000)
    )
    assert many - few < 8000 / 8 * 1.4


@pytest.mark.parametrize("seed", [0, 1, 7, 2**31])
def test_no_two_folds_share_a_seed(seed: int) -> None:
    folds = [Fold(stage, index) for stage, index in product(Stage, [*range(200), 2**31])]
    seeds = [number for fold in folds for number in fold.seeds(seed)]
    assert len(set(seeds)) == 2 * len(folds)
    assert all(type(number) is int and 0 <= number < 2**32 for number in seeds)


def test_another_study_seed_gives_other_fold_seeds() -> None:
    fold = Fold(Stage.SEARCH, 3)
    assert fold.seeds(0) == fold.seeds(0)
    assert set(fold.seeds(0)).isdisjoint(fold.seeds(1))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Splits]:
    """A workspace of 240 images in 3 classes and 12 without a label."""
    root = tmp_path_factory.mktemp("study")
    images = np.random.default_rng(0).integers(0, 256, (252, 8, 8), dtype=np.uint8)
    labels = np.append(np.arange(240) % 3, [-1] * 12)
    np.savez(root / "noise.npz", images=images, labels=labels)
    data = open_images(str(root / "noise.npz"), image_size=None, cache=root / "cache")
    splits = split(data.labels, data.given, classes=data.classes, seed=5)
    return write_workspace(root / "made on demand" / "work", data, splits, PROXY), splits


def test_no_index_of_a_test_image_is_written_down_for_workers(study: tuple[Workspace, Splits]) -> None:
    workspace, splits = study
    assert len(splits.test) == 48
    assert sorted(file.name for file in workspace.folder.iterdir()) == ["parts.npz", "workspace.json"]
    with np.load(workspace.folder / "parts.npz") as parts:
        targets = ["target_confirmation", "target_validation"]
        assert sorted(parts.files) == ["confirmation", *targets, "train", "unlabeled", "validation"]
        written = np.concatenate([parts[name] for name in parts.files])
    assert len(written) == 192
    assert np.intersect1d(written, splits.test).size == 0
    assert np.intersect1d(written, splits.unlabeled).size == 0
    document = json.loads((workspace.folder / "workspace.json").read_text("utf-8"))
    assert document.keys() == {"cache", "proxy", "target", "unlabeled"}
    assert document["proxy"] == PROXY.model_dump()


def test_an_opened_workspace_is_the_one_that_was_written(study: tuple[Workspace, Splits]) -> None:
    workspace, splits = study
    open_workspace.cache_clear()
    opened = open_workspace(workspace.folder)
    for name in ("train", "validation", "confirmation"):
        written = getattr(splits, name)
        assert getattr(workspace, name).tolist() == written.tolist()
        assert getattr(opened, name).tolist() == written.tolist()
        assert getattr(opened, name).dtype == np.int64
    assert opened.proxy == PROXY
    assert opened.folder == workspace.folder
    assert opened.data.fingerprint == workspace.data.fingerprint
    np.testing.assert_array_equal(opened.data.images, workspace.data.images)
    assert isinstance(opened.data.images, np.memmap)


def test_a_workspace_may_be_written_anew(study: tuple[Workspace, Splits], tmp_path: Path) -> None:
    workspace, splits = study
    write_workspace(tmp_path, workspace.data, splits, PROXY)
    write_workspace(tmp_path, workspace.data, splits, PROXY.model_copy(update={"epochs": 9}))
    assert open_workspace(tmp_path).proxy.epochs == 9


@pytest.mark.parametrize(
    "candidate",
    [
        Candidate(policy=Policy(num_ops=0)),
        Candidate(
            policy=Policy(num_ops=2, mixing=Mixing(kind="mixup")),
            distillation=Distillation(temperature=3, alpha=0.2, teacher_view="clean"),
            transfer=Transfer(mode="full", backbone_lr_scale=0.03, layer_decay=0.8),
        ),
    ],
)
def test_a_candidate_survives_json(candidate: Candidate) -> None:
    assert Candidate.model_validate(json.loads(json.dumps(candidate.model_dump(mode="json")))) == candidate


@pytest.mark.parametrize(
    ("teacher", "given"),
    [("far/away.safetensors", Path("far/away.safetensors").absolute()), ("small", None), (None, None)],
)
def test_a_teacher_that_is_a_file_stays_where_it_is(
    study: tuple[Workspace, Splits], tmp_path: Path, teacher: str | None, given: Path | None
) -> None:
    workspace, splits = study
    proxy = PROXY.model_copy(update={"teacher": teacher})
    assert write_workspace(tmp_path, workspace.data, splits, proxy).given_teacher == given


def test_each_stage_is_scored_on_its_own_images(study: tuple[Workspace, Splits]) -> None:
    workspace, splits = study
    assert workspace.scored_on(Fold(Stage.SEARCH, 3)).tolist() == splits.validation.tolist()
    assert workspace.scored_on(Fold(Stage.CONFIRMATION, 3)).tolist() == splits.confirmation.tolist()
    assert workspace.scored_rows(Fold(Stage.CONFIRMATION, 3)) is None


def test_cross_fitting_learns_from_and_scores_all_that_is_neither_searched_on_nor_sealed(
    study: tuple[Workspace, Splits],
) -> None:
    workspace, splits = study
    pool = np.sort(np.concatenate([splits.train, splits.confirmation]))
    learned, scored = set(), set()
    for index in range(24):
        fold = Fold(Stage.CROSS_FITTING, index)
        own, others = workspace.training_subset(fold), workspace.scored_on(fold)
        assert not np.intersect1d(own, others).size
        rows = workspace.scored_rows(fold)
        assert rows is not None
        assert pool[rows].tolist() == others.tolist()
        assert workspace.pool_share(fold) == len(own) / len(pool)
        learned.update(own.tolist())
        scored.update(others.tolist())
    assert learned == scored == set(pool.tolist())


def test_where_folds_learn_from_some_groups_the_share_is_that_of_their_images(
    study: tuple[Workspace, Splits],
) -> None:
    """A fold of few images of each of some videos has learned what these show, and nothing of the others."""
    workspace, _ = study
    labels = workspace.data.labels
    groups = 3 * labels + np.arange(len(labels)) % 3
    data = replace(workspace.data, groups=groups)
    proxy = PROXY.model_copy(update={"fold_size": len(np.unique(labels))})
    grouped, folds = replace(workspace, data=data, proxy=proxy), range(6)
    shares = []
    for fold in (Fold(Stage.CROSS_FITTING, index) for index in folds):
        learned = set(groups[grouped.training_subset(fold)].tolist())
        shares.append(grouped.pool_share(fold))
        assert shares[-1] == np.mean([group in learned for group in groups[grouped.pool].tolist()])
    assert min(shares) > proxy.fold_size / len(grouped.pool)


def test_a_fold_trains_on_as_many_training_images_as_asked(study: tuple[Workspace, Splits]) -> None:
    workspace, splits = study
    for stage, index in product((Stage.SEARCH, Stage.CONFIRMATION), range(5)):
        chosen = workspace.training_subset(Fold(stage, index))
        assert len(np.unique(chosen)) == len(chosen) == PROXY.fold_size
        assert np.isin(chosen, splits.train).all()


def test_folds_and_stages_train_on_different_images(study: tuple[Workspace, Splits]) -> None:
    workspace, _ = study
    subsets = [workspace.training_subset(Fold(stage, index)) for stage, index in product(Stage, range(12))]
    assert len({subset.tobytes() for subset in subsets}) == 36


def test_a_study_with_another_seed_has_other_folds(study: tuple[Workspace, Splits], tmp_path: Path) -> None:
    workspace, splits = study
    subsets = {
        write_workspace(tmp_path / str(seed), workspace.data, splits, PROXY.model_copy(update={"seed": seed}))
        .training_subset(Fold(stage, 0))
        .tobytes()
        for seed, stage in product(range(5), Stage)
    }
    assert len(subsets) == 15


WORKER = """
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from augsearch.trainers.workspace.folder import open_workspace
from augsearch.trainers.workspace.folds import Fold, Stage
workspace = open_workspace(Path(sys.argv[1]))
print(workspace.training_subset(Fold(Stage.CONFIRMATION, 7)).tolist())
print("torch" in sys.modules)
"""


def test_another_process_has_the_same_folds_without_loading_torch(study: tuple[Workspace, Splits]) -> None:
    workspace, _ = study
    worker = subprocess.run(
        [sys.executable, "-c", WORKER, str(workspace.folder)], capture_output=True, text=True, check=True
    )
    subset, torch_is_loaded = worker.stdout.splitlines()
    assert json.loads(subset) == workspace.training_subset(Fold(Stage.CONFIRMATION, 7)).tolist()
    assert torch_is_loaded == "False"


@given(st.integers(1, 10**7), st.integers(2, 50))
def test_a_default_fold_leaves_some_images_to_differ_by_and_is_no_larger_than_1000(
    train: int, classes: int
) -> None:
    size = default_fold_size(train, classes)
    assert 1 <= size <= min(train, 1000)
    assert size < train or train < 5 or train <= classes
    assert size >= min(0.8 * train, 1000)


@given(st.integers(51, 20_000), st.integers(1, 100))
def test_of_many_classes_a_default_fold_has_20_images_each_where_there_are_as_many(
    classes: int, each: int
) -> None:
    train = classes * each
    size = default_fold_size(train, classes)
    assert classes <= size <= train
    assert size == min(max(1000, 20 * classes), max(math.ceil(0.8 * train), classes))
    if each >= 25:
        assert size == 20 * classes


def test_a_sample_has_an_image_of_each_of_however_many_classes(source: Source, tmp_path: Path) -> None:
    workspace = source.study(tmp_path)
    chosen = workspace.sample(2)
    assert sorted(workspace.data.labels[chosen]) == [0, 1, 2, 3, 4]
    assert len(workspace.sample(20)) == 20


def test_scoring_a_fold_of_the_search_costs_no_more_than_training_it(source: Source, tmp_path: Path) -> None:
    def scored(stage: Stage, **fields: int) -> list[int]:
        workspace = source.study(tmp_path, **fields)
        rows = workspace.scored_on(Fold(stage, 0))
        images, labels = workspace.scored_images(Fold(stage, 0))
        np.testing.assert_array_equal(images, workspace.data.images[rows])
        np.testing.assert_array_equal(labels, workspace.data.labels[rows])
        return rows.tolist()

    validation = source.splits.validation.tolist()
    assert len(validation) == 45
    assert scored(Stage.SEARCH, fold_size=15, epochs=1) == validation
    few = scored(Stage.SEARCH, fold_size=6, epochs=2)
    assert len(few) == 3 * 6 * 2
    assert set(few) < set(validation)
    assert np.bincount(source.labels[few]).tolist() == pytest.approx([36 / 5] * 5, abs=1)
    assert scored(Stage.CONFIRMATION, fold_size=6, epochs=2) == source.splits.confirmation.tolist()


def test_so_does_scoring_it_on_a_target(source: Source, tmp_path: Path) -> None:
    whole, few = (source.aimed(tmp_path / name, fold_size=5, epochs=n) for name, n in (("a", 9), ("b", 1)))
    assert whole.target is not None
    assert few.target is not None
    assert len(whole.scored_images(Fold(Stage.SEARCH, 0))[1]) == len(whole.target.validation) == 30
    images, labels = few.scored_images(Fold(Stage.SEARCH, 0))
    assert len(images) == len(labels) == 15
    assert len(few.scored_on(Fold(Stage.SEARCH, 0))) == 15
    assert np.bincount(labels).max() == np.bincount(labels)[np.bincount(labels) > 0].min() == 5
    assert len(few.scored_images(Fold(Stage.CONFIRMATION, 0))[1]) == 30


@settings(max_examples=200)
@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_default_epochs_are_bounded_and_fewer_for_more_images(one: int, other: int) -> None:
    few, many = sorted((one, other))
    for epochs, most, passes in ((default_epochs, 120, 12_000), (default_final_epochs, 150, 60_000)):
        assert 30 <= epochs(many) <= epochs(few) <= most
        # Between the bounds the number of image passes is what it is said to be.
        if 30 < epochs(few) < most:
            assert passes <= few * epochs(few) < passes + few


def test_default_epochs_reach_both_bounds() -> None:
    assert [default_epochs(images) for images in (1, 100, 240, 399, 400, 10**6)] == [120, 120, 50, 31, 30, 30]
    assert [default_final_epochs(images) for images in (1, 400, 1000, 2000, 10**6)] == [150, 150, 60, 30, 30]


def test_a_result_keeps_the_groups_of_its_images() -> None:
    made = FoldResult(0.5, 0.7, 0.1, 1.0, 10, np.ones(3, bool), groups=np.array([0, 0, 1]))
    again = FoldResult.from_json(json.loads(json.dumps(made.to_json())))
    assert again.groups is not None
    assert again.groups.tolist() == [0, 0, 1]
    without = replace(made, groups=None).to_json()
    del without["groups"]  # as earlier versions stored it
    assert FoldResult.from_json(without).groups is None
