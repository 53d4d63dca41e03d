"""A fold's score: the same on any worker, and blind to what it must not see."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch

from augsearch.policies import TRIVIALAUGMENT, Distillation, Mixing, Policy, UserError
from augsearch.trainers.folds import (
    Candidate,
    Fold,
    FoldResult,
    ProxySettings,
    Stage,
    Workspace,
    open_workspace,
    write_workspace,
)
from augsearch.trainers.images import Part, open_images
from augsearch.trainers.models import ModelSpec, build_model, load_model, save_model
from augsearch.trainers.proxy import (
    check_teacher,
    distillation_logits,
    evaluate,
    prepare_teacher,
    resolve_device,
    spec_for,
)
from augsearch.trainers.scores import Logits, predict
from augsearch.trainers.splits import Splits, split

CPU = torch.device("cpu")
CLASSES = ("cat", "cow", "dog", "hen", "pig")
SEARCH, CONFIRMATION = Fold(Stage.SEARCH, 0), Fold(Stage.CONFIRMATION, 0)
PLAIN = Candidate(policy=Policy(num_ops=0))
TRIVIAL = Candidate(policy=TRIVIALAUGMENT)
DISTILLED = Candidate(policy=TRIVIALAUGMENT, distillation=Distillation(temperature=4, alpha=0.9))

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


class Source(NamedTuple):
    """A data set in memory, and how it is divided."""

    images: Pixels
    labels: Indices
    splits: Splits


@pytest.fixture(scope="module")
def source() -> Source:
    """300 images in 5 classes, which differ in colour, under noise; 20 more have no label."""
    rng = np.random.default_rng(0)
    labels = np.append(np.arange(300) % 5, [-1] * 20)
    colours = np.array([[130, 60, 60], [60, 130, 60], [60, 60, 130], [120, 110, 40], [90, 90, 90]])
    images = (colours[labels][:, None, None] + rng.normal(20, 45, (320, 8, 8, 3))).clip(0, 255)
    given = np.where(labels < 0, Part.UNLABELED, Part.ANY).astype(np.int8)
    return Source(images.astype(np.uint8), labels, split(labels, given, classes=CLASSES, seed=0))


def scrambled(source: Source, *parts: str) -> Source:
    """The same but for the parts, whose pixels become noise and whose labels become wrong."""
    images, labels = source.images.copy(), source.labels.copy()
    rows = np.concatenate([getattr(source.splits, part) for part in parts])
    images[rows] = np.random.default_rng(1).integers(0, 256, images[rows].shape, dtype=np.uint8)
    labels[rows] = (labels[rows] + 1) % 5
    return Source(images, labels, source.splits)


def study(source: Source, root: Path, teacher: str | None = None, **settings: int | str) -> Workspace:
    """What workers see of a study of it."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / "colours.npz"
    np.savez(path, images=source.images, labels=source.labels, classes=np.array(CLASSES))
    data = open_images(str(path), image_size=None, cache=root / "cache")
    assert data.classes == CLASSES
    defaults = {"model": "tiny", "epochs": 2, "fold_size": 50, "seed": 3, "device": "cpu"}
    proxy = ProxySettings.model_validate({**defaults, "teacher": teacher, **settings})
    return write_workspace(root / "work", data, source.splits, proxy)


@pytest.fixture(scope="module")
def plain(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The study that others are compared with."""
    return study(source, tmp_path_factory.mktemp("plain"))


def figures(result: FoldResult) -> tuple[float, float, float, int, bytes]:
    """All but the time it took."""
    return result.accuracy, result.log_loss, result.ece, result.images, result.correct.tobytes()


def test_a_fold_scores_the_same_every_time_to_the_last_bit(plain: Workspace) -> None:
    mixed = Candidate(policy=Policy(num_ops=2, magnitude=9, crop=0.5, mixing=Mixing(kind="cutmix")))
    first = figures(evaluate(plain.folder, mixed, SEARCH))
    evaluate(plain.folder, PLAIN, CONFIRMATION)
    assert figures(evaluate(plain.folder, mixed, SEARCH)) == first
    # As a worker that has just started would.
    open_workspace.cache_clear()
    assert figures(evaluate(plain.folder, mixed, SEARCH)) == first


def test_candidates_and_folds_make_a_difference(plain: Workspace) -> None:
    folds = [SEARCH, Fold(Stage.SEARCH, 1), CONFIRMATION]
    losses = {
        evaluate(plain.folder, candidate, fold).log_loss for candidate in (PLAIN, TRIVIAL) for fold in folds
    }
    assert len(losses) == 6


def test_a_result_says_what_was_trained_and_scored(plain: Workspace, source: Source) -> None:
    result = evaluate(plain.folder, PLAIN, SEARCH)
    # 50 images are 6 steps of 8, in each of 2 epochs.
    assert result.images == 96
    assert result.seconds > 0
    assert len(result.correct) == len(source.splits.validation)
    assert result.accuracy == result.correct.mean()
    assert len(evaluate(plain.folder, PLAIN, CONFIRMATION).correct) == len(source.splits.confirmation)


def test_more_epochs_learn_what_can_be_learned(source: Source, tmp_path: Path) -> None:
    workspace = study(source, tmp_path, epochs=12, fold_size=150)
    assert evaluate(workspace.folder, PLAIN, SEARCH).accuracy > 0.9


def test_the_search_is_scored_on_validation_and_nothing_else_that_is_held_out(
    source: Source, plain: Workspace, tmp_path: Path
) -> None:
    expected = figures(evaluate(plain.folder, PLAIN, SEARCH))
    others = study(scrambled(source, "confirmation", "test"), tmp_path / "others")
    assert figures(evaluate(others.folder, PLAIN, SEARCH)) == expected
    validation = study(scrambled(source, "validation"), tmp_path / "validation")
    assert figures(evaluate(validation.folder, PLAIN, SEARCH)) != expected


def test_the_confirmation_is_scored_on_images_that_the_search_has_not_seen(
    source: Source, plain: Workspace, tmp_path: Path
) -> None:
    expected = figures(evaluate(plain.folder, PLAIN, CONFIRMATION))
    others = study(scrambled(source, "validation", "test"), tmp_path / "others")
    assert figures(evaluate(others.folder, PLAIN, CONFIRMATION)) == expected
    confirmation = study(scrambled(source, "confirmation"), tmp_path / "confirmation")
    assert figures(evaluate(confirmation.folder, PLAIN, CONFIRMATION)) != expected


def test_what_is_trained_on_matters(source: Source, plain: Workspace, tmp_path: Path) -> None:
    spoiled = study(scrambled(source, "train"), tmp_path)
    for fold in (SEARCH, CONFIRMATION):
        assert evaluate(spoiled.folder, PLAIN, fold).log_loss != evaluate(plain.folder, PLAIN, fold).log_loss


@pytest.fixture(scope="module")
def taught(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A study whose teacher was trained for it."""
    workspace = study(source, tmp_path_factory.mktemp("taught"), teacher="tiny")
    assert prepare_teacher(workspace.folder) > 0
    return workspace


def logits_of(workspace: Workspace) -> Logits:
    return np.asarray(np.load(workspace.teacher_logits))


def known(splits: Splits) -> Indices:
    return np.concatenate([splits.train, splits.validation, splits.confirmation])


def test_a_teacher_says_nothing_of_test_images(taught: Workspace, source: Source) -> None:
    logits = logits_of(taught)
    assert logits.shape == (320, 5)
    assert logits.dtype == np.float32
    assert np.isfinite(logits[known(source.splits)]).all()
    assert np.isnan(logits[source.splits.test]).all()
    assert np.isnan(logits[source.splits.unlabeled]).all()


def test_a_teacher_learns_from_the_training_part_alone(
    taught: Workspace, source: Source, tmp_path: Path
) -> None:
    held_out = ("test", "validation", "confirmation")
    other = study(scrambled(source, *held_out), tmp_path, teacher="tiny")
    prepare_teacher(other.folder)
    train = source.splits.train
    assert logits_of(other)[train].tobytes() == logits_of(taught)[train].tobytes()
    # It is a teacher worth listening to, on images that it has not seen too.
    validation = source.splits.validation
    assert (logits_of(taught)[validation].argmax(1) == source.labels[validation]).mean() > 0.9


def test_a_trained_teacher_is_kept_with_its_logits(taught: Workspace, source: Source) -> None:
    model, spec = load_model(taught.teacher_model)
    assert spec == spec_for(taught, "tiny")
    rows = known(source.splits)
    expected = predict(model, source.images[rows], CPU)
    np.testing.assert_array_equal(logits_of(taught)[rows], expected)
    left = {file.name for file in taught.folder.iterdir()}
    assert left == {
        "parts.npz", "workspace.json", "teacher.npy", "teacher.safetensors", "teacher.json"
    }  # fmt: skip


def save_teacher(path: Path, **fields: object) -> ModelSpec:
    """An untrained network in a file."""
    spec = ModelSpec.model_validate(
        {
            "name": "small",
            "channels": 3,
            "image_size": 8,
            "classes": CLASSES,
            "mean": (100.0,) * 3,
            "std": (50.0,) * 3,
            **fields,
        }
    )
    save_model(build_model(spec, seed=1), spec, path, {})
    return spec


def test_a_teacher_from_a_file_speaks_as_the_network_in_it(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    save_teacher(path)
    workspace = study(source, tmp_path, teacher=str(path))
    prepare_teacher(workspace.folder)
    rows = known(source.splits)
    expected = predict(load_model(path)[0], source.images[rows], CPU)
    np.testing.assert_array_equal(logits_of(workspace)[rows], expected)
    assert np.isnan(logits_of(workspace)[source.splits.test]).all()
    assert not workspace.teacher_model.exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"classes": ("cat", "dog")}, "its classes are ('cat', 'dog'), the data's ('cat', 'cow', "),
        ({"classes": CLASSES[::-1]}, "its classes are ('pig', 'hen', "),
        ({"image_size": 16}, "its image size are 16, the data's 8"),
        ({"channels": 1, "mean": (100,), "std": (50,)}, "its channels are 1, the data's 3"),
    ],
)
def test_a_teacher_of_other_classes_or_images_is_refused_by_name(
    source: Source, tmp_path: Path, fields: dict[str, object], said: str
) -> None:
    path = tmp_path / "teacher.safetensors"
    spec = save_teacher(path, **fields)
    workspace = study(source, tmp_path, teacher=str(path))
    for attempt in (
        lambda: prepare_teacher(workspace.folder),
        lambda: check_teacher(spec, workspace),
    ):
        with pytest.raises(UserError) as error:
            attempt()
        assert str(error.value).startswith(f"teacher {path}: {said}")
        assert "\n" not in str(error.value)
    assert not workspace.teacher_logits.exists()


@pytest.mark.parametrize(
    ("teacher", "said"),
    [("nowhere.safetensors", "no such file"), ("resnet50", "unknown model 'resnet50'; built in are tiny, ")],
)
def test_a_teacher_that_there_is_not_is_refused(
    source: Source, tmp_path: Path, teacher: str, said: str
) -> None:
    workspace = study(source, tmp_path, teacher=teacher)
    with pytest.raises(UserError, match=said):
        prepare_teacher(workspace.folder)


def test_a_network_that_there_is_not_is_refused(source: Source, tmp_path: Path) -> None:
    workspace = study(source, tmp_path, model="resnet50")
    with pytest.raises(UserError, match="unknown model 'resnet50'"):
        evaluate(workspace.folder, PLAIN, SEARCH)


def test_distillation_changes_the_result_as_much_as_it_is_told_to(taught: Workspace) -> None:
    undistilled = figures(evaluate(taught.folder, TRIVIAL, SEARCH))
    heard = figures(evaluate(taught.folder, DISTILLED, SEARCH))
    assert heard != undistilled
    assert figures(evaluate(taught.folder, DISTILLED, SEARCH)) == heard

    def told(temperature: float, alpha: float) -> tuple[float, float, float, int, bytes]:
        distillation = Distillation(temperature=temperature, alpha=alpha)
        candidate = Candidate(policy=TRIVIALAUGMENT, distillation=distillation)
        return figures(evaluate(taught.folder, candidate, SEARCH))

    assert told(temperature=1, alpha=0.9) != heard
    assert told(temperature=4, alpha=0.5) != heard
    # With α = 0 the teacher is there and not heard.
    assert told(temperature=4, alpha=0)[0] == undistilled[0]
    assert told(temperature=4, alpha=0)[1] == pytest.approx(undistilled[1], rel=1e-4)


def test_each_image_hears_what_the_teacher_says_of_it(source: Source, tmp_path: Path) -> None:
    wrong = source.labels.copy()
    wrong[source.splits.train] = (wrong[source.splits.train] + 1) % 5
    misled = Source(source.images, wrong, source.splits)
    workspace = study(misled, tmp_path, epochs=12, fold_size=150)
    # Its labels are all wrong, but the teacher knows better, and is all that is listened to.
    np.save(workspace.teacher_logits, 20 * np.eye(5, dtype=np.float32)[source.labels])
    candidate = Candidate(policy=PLAIN.policy, distillation=Distillation(temperature=2, alpha=1))
    assert evaluate(workspace.folder, candidate, SEARCH).accuracy > 0.9
    assert evaluate(workspace.folder, PLAIN, SEARCH).accuracy < 0.1


def test_a_teacher_does_not_open_the_test_part(taught: Workspace, source: Source, tmp_path: Path) -> None:
    other = study(scrambled(source, "test"), tmp_path)
    # The same teacher, which has heard nothing of the test part.
    teacher = distillation_logits(taught, DISTILLED.distillation)
    assert teacher is not None
    np.save(other.teacher_logits, teacher)
    for fold in (SEARCH, CONFIRMATION):
        assert figures(evaluate(other.folder, DISTILLED, fold)) == figures(
            evaluate(taught.folder, DISTILLED, fold)
        )


def test_a_teacher_is_made_only_where_one_is_asked_for_and_missing(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    save_teacher(path)
    workspace = study(source, tmp_path, teacher=str(path))
    assert distillation_logits(workspace, None) is None
    assert not workspace.teacher_logits.exists()
    made = distillation_logits(workspace, DISTILLED.distillation)
    assert made is not None
    np.testing.assert_array_equal(made, logits_of(workspace))
    path.unlink()
    again = distillation_logits(workspace, DISTILLED.distillation)
    np.testing.assert_array_equal(again, made)


def test_images_are_normalised_by_the_training_part(source: Source, plain: Workspace, tmp_path: Path) -> None:
    spec = spec_for(plain, "medium")
    assert (spec.name, spec.channels, spec.image_size, spec.classes) == ("medium", 3, 8, CLASSES)
    pixels = source.images[source.splits.train].reshape(-1, 3).astype(float)
    assert spec.mean == pytest.approx(pixels.mean(0), abs=1e-3)
    assert spec.std == pytest.approx(pixels.std(0), abs=1e-3)
    held_out = study(scrambled(source, "validation", "confirmation", "test"), tmp_path)
    assert spec_for(held_out, "medium") == spec


def test_images_are_normalised_by_all_classes_where_files_lie_class_by_class(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 0, 1], [5500, 5500, 10, 10])
    parts = np.repeat([Part.TRAIN, Part.VALIDATION], [11_000, 20])
    images = (200 * labels).astype(np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    np.savez(tmp_path / "two.npz", images=images, labels=labels, parts=parts)
    data = open_images(str(tmp_path / "two.npz"), image_size=None, cache=tmp_path / "cache")
    splits = split(data.labels, data.given, classes=data.classes, seed=0)
    proxy = ProxySettings(model="tiny", epochs=1, fold_size=10, seed=0, device="cpu")
    spec = spec_for(write_workspace(tmp_path / "work", data, splits, proxy), "tiny")
    # Half the images are black and half are of grey level 200.
    assert spec.mean == pytest.approx((100,), abs=5)
    assert spec.std == pytest.approx((100,), abs=5)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:first", "cuda:-1"])
def test_a_device_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="device must be auto, cpu, cuda or cuda:NUMBER, got"):
        resolve_device(name)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="device cuda:99: this machine has"):
        resolve_device("cuda:99")
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
