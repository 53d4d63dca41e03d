"""A fold's score: the same on any worker, and blind to what it must not see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from augsearch.policies import TRIVIALAUGMENT, Distillation, Mixing, Policy, Transfer, UserError
from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import split
from augsearch.trainers.system.processor import processor
from augsearch.trainers.tasks.fold import evaluate
from augsearch.trainers.tasks.inputs import spec_for
from augsearch.trainers.tasks.teacher import final_teacher
from augsearch.trainers.workspace.candidate import Candidate, ProxySettings
from augsearch.trainers.workspace.folder import Workspace, open_workspace, write_workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

CLASSES = ("cat", "cow", "dog", "hen", "pig")
SEARCH, CONFIRMATION = Fold(Stage.SEARCH, 0), Fold(Stage.CONFIRMATION, 0)
PLAIN = Candidate(policy=Policy(num_ops=0))
TRIVIAL = Candidate(policy=TRIVIALAUGMENT)


@pytest.fixture(scope="module")
def plain(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The study that others are compared with."""
    return source.study(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def taught(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A study whose folds have teachers."""
    return source.study(tmp_path_factory.mktemp("taught"), teacher="tiny")


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
    assert result.hardware is not None
    assert result.hardware.startswith(processor())
    assert result.hardware.endswith((" in float32", " in bfloat16"))


def test_more_epochs_learn_what_can_be_learned(source: Source, tmp_path: Path) -> None:
    workspace = source.study(tmp_path, epochs=12, fold_size=150)
    assert evaluate(workspace.folder, PLAIN, SEARCH).accuracy > 0.9


def test_the_search_is_scored_on_validation_and_nothing_else_that_is_held_out(
    source: Source, plain: Workspace, tmp_path: Path
) -> None:
    expected = figures(evaluate(plain.folder, PLAIN, SEARCH))
    others = source.scrambled("confirmation", "test").study(tmp_path / "others")
    assert figures(evaluate(others.folder, PLAIN, SEARCH)) == expected
    validation = source.scrambled("validation").study(tmp_path / "validation")
    assert figures(evaluate(validation.folder, PLAIN, SEARCH)) != expected


def test_the_confirmation_is_scored_on_images_that_the_search_has_not_seen(
    source: Source, plain: Workspace, tmp_path: Path
) -> None:
    expected = figures(evaluate(plain.folder, PLAIN, CONFIRMATION))
    others = source.scrambled("validation", "test").study(tmp_path / "others")
    assert figures(evaluate(others.folder, PLAIN, CONFIRMATION)) == expected
    confirmation = source.scrambled("confirmation").study(tmp_path / "confirmation")
    assert figures(evaluate(confirmation.folder, PLAIN, CONFIRMATION)) != expected


@pytest.mark.parametrize("metric", ["accuracy", "log-loss", "macro-f1"])
def test_a_target_is_what_counts_and_the_datas_own_images_are_scored_beside_it(
    source: Source, tmp_path: Path, metric: str
) -> None:
    aimed = source.aimed(tmp_path, metric=metric)
    assert aimed.target is not None
    for fold, half in ((SEARCH, aimed.target.validation), (CONFIRMATION, aimed.target.confirmation)):
        plain, result = (evaluate(tmp_path / name, PLAIN, fold) for name in ("work", "aimed"))
        assert plain.beside is None
        # The same training: what is not learned from does not change it.
        assert result.beside == pytest.approx(plain.score, abs=1e-9)
        assert len(result.correct) == len(half)
        assert result.log_loss != plain.log_loss


def test_the_targets_images_are_scored_by_their_own_labels(source: Source, tmp_path: Path) -> None:
    aimed = source.aimed(tmp_path, epochs=8, fold_size=150)
    contrary = source.aimed(tmp_path / "contrary", epochs=8, fold_size=150, mislabeled=True)
    for fold in (SEARCH, CONFIRMATION):
        right, wrong = (evaluate(one.folder, PLAIN, fold) for one in (aimed, contrary))
        assert right.accuracy > 0.5 > wrong.accuracy
        assert right.beside == wrong.beside


def test_what_is_trained_on_matters(source: Source, plain: Workspace, tmp_path: Path) -> None:
    spoiled = source.scrambled("train").study(tmp_path)
    for fold in (SEARCH, CONFIRMATION):
        assert evaluate(spoiled.folder, PLAIN, fold).log_loss != evaluate(plain.folder, PLAIN, fold).log_loss


def test_a_network_that_there_is_not_is_refused(source: Source, tmp_path: Path) -> None:
    workspace = source.study(tmp_path, model="resnet50")
    with pytest.raises(UserError, match="unknown model 'resnet50'"):
        evaluate(workspace.folder, PLAIN, SEARCH)


@pytest.mark.parametrize("view", ["same", "clean"])
def test_distillation_changes_the_result_as_much_as_it_is_told_to(taught: Workspace, view: str) -> None:
    def told(**fields: Any) -> tuple[float, float, float, int, bytes]:
        distillation = Distillation(teacher_view=view, **fields)
        candidate = Candidate(policy=TRIVIALAUGMENT, distillation=distillation)
        return figures(evaluate(taught.folder, candidate, SEARCH))

    undistilled = figures(evaluate(taught.folder, TRIVIAL, SEARCH))
    heard = told(temperature=4, alpha=0.9)
    assert heard != undistilled
    assert told(temperature=4, alpha=0.9) == heard
    assert told(temperature=1, alpha=0.9) != heard
    assert told(temperature=4, alpha=0.5) != heard
    # With α = 0 the teacher is there and not heard.
    assert told(temperature=4, alpha=0)[0] == undistilled[0]
    assert told(temperature=4, alpha=0)[1] == pytest.approx(undistilled[1], rel=1e-4)


@pytest.mark.parametrize("policy", [TRIVIALAUGMENT, Policy(num_ops=0, mixing=Mixing(kind="mixup"))])
def test_it_matters_whether_the_teacher_sees_what_the_student_sees(taught: Workspace, policy: Policy) -> None:
    losses = {
        view: evaluate(
            taught.folder,
            Candidate(policy=policy, distillation=Distillation(temperature=4, alpha=0.9, teacher_view=view)),
            SEARCH,
        ).log_loss
        for view in ("same", "clean")
    }
    assert losses["same"] != losses["clean"]


@pytest.mark.parametrize("view", ["same", "clean"])
def test_each_image_hears_what_the_teacher_says_of_it(
    source: Source, taught: Workspace, tmp_path: Path, view: str
) -> None:
    knows = final_teacher(taught, ("tiny", "none"), source.splits.train, 20, torch.device("cpu")).path
    # The labels are all wrong, but the teacher knows better, and is all that is listened to.
    misled = source.mislabeled("train").study(tmp_path, teacher=str(knows), epochs=12, fold_size=150)
    distillation = Distillation(temperature=2, alpha=1, teacher_view=view)
    candidate = Candidate(policy=PLAIN.policy, distillation=distillation)
    assert evaluate(misled.folder, candidate, SEARCH).accuracy > 0.9
    assert evaluate(misled.folder, PLAIN, SEARCH).accuracy < 0.1


@pytest.mark.parametrize("view", ["same", "clean"])
def test_a_teacher_does_not_open_the_test_part(
    taught: Workspace, source: Source, tmp_path: Path, view: str
) -> None:
    other = source.scrambled("test").study(tmp_path, teacher="tiny")
    distillation = Distillation(temperature=4, alpha=0.9, teacher_view=view)
    candidate = Candidate(policy=TRIVIALAUGMENT, distillation=distillation)
    for fold in (SEARCH, CONFIRMATION):
        assert figures(evaluate(other.folder, candidate, fold)) == figures(
            evaluate(taught.folder, candidate, fold)
        )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of weights for a ResNet-18, as another training left them: for 1,000 classes."""
    folder = tmp_path_factory.mktemp("weights")
    files = [folder / "one.pth", folder / "other.pth"]
    with torch.random.fork_rng():
        for seed, file in enumerate(files):
            torch.manual_seed(seed)
            torch.save(resnet18(weights=None).state_dict(), file)
    return files


def test_transferred_weights_and_how_they_are_used_make_a_difference(
    source: Source, weights: list[Path], tmp_path: Path
) -> None:
    def scored(file: Path, transfer: Transfer) -> tuple[float, float, float, int, bytes]:
        workspace = source.study(
            tmp_path / file.stem,
            model="torchvision:resnet18",
            weights=str(file),
            input_size=32,
            epochs=1,
            fold_size=32,
        )
        return figures(evaluate(workspace.folder, Candidate(policy=PLAIN.policy, transfer=transfer), SEARCH))

    used = [
        (weights[0], Transfer(mode="head")),
        (weights[0], Transfer(mode="full")),
        (weights[0], Transfer(mode="full", backbone_lr_scale=1)),
        (weights[0], Transfer(mode="full", backbone_lr_scale=1, layer_decay=0.7)),
        (weights[1], Transfer(mode="head")),
    ]
    first = [scored(*use) for use in used]
    assert len({log_loss for _, log_loss, *_ in first}) == len(used)
    # Again, and as a worker that has just started would.
    open_workspace.cache_clear()
    assert [scored(*use) for use in used[:2]] == first[:2]


def test_weights_for_another_network_are_refused(source: Source, weights: list[Path], tmp_path: Path) -> None:
    workspace = source.study(
        tmp_path, model="torchvision:squeezenet1_1", weights=str(weights[0]), input_size=32
    )
    candidate = Candidate(policy=PLAIN.policy, transfer=Transfer(mode="head"))
    with pytest.raises(UserError, match=r"weights .*one\.pth: .* another network") as error:
        evaluate(workspace.folder, candidate, SEARCH)
    assert "\n" not in str(error.value)


def test_images_are_normalised_by_the_training_part(source: Source, plain: Workspace, tmp_path: Path) -> None:
    spec = spec_for(plain, "medium")
    assert (spec.name, spec.channels, spec.image_size, spec.classes) == ("medium", 3, 8, CLASSES)
    pixels = source.images[source.splits.train].reshape(-1, 3).astype(float)
    assert spec.mean == pytest.approx(pixels.mean(0), abs=1e-3)
    assert spec.std == pytest.approx(pixels.std(0), abs=1e-3)
    held_out = source.scrambled("validation", "confirmation", "test").study(tmp_path)
    assert spec_for(held_out, "medium") == spec


def test_images_are_normalised_by_all_classes_where_files_lie_class_by_class(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 0, 1], [5500, 5500, 10, 10])
    parts = np.repeat([Split.TRAIN, Split.VALIDATION], [11_000, 20])
    images = (200 * labels).astype(np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    np.savez(tmp_path / "two.npz", images=images, labels=labels, parts=parts)
    data = open_images(str(tmp_path / "two.npz"), image_size=None, cache=tmp_path / "cache")
    splits = split(data.labels, data.given, classes=data.classes, seed=0)
    proxy = ProxySettings(model="tiny", epochs=1, fold_size=10, seed=0, device="cpu")
    spec = spec_for(write_workspace(tmp_path / "work", data, splits, proxy), "tiny")
    # Half the images are black and half are of grey level 200.
    assert spec.mean == pytest.approx((100,), abs=5)
    assert spec.std == pytest.approx((100,), abs=5)
