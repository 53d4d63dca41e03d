"""The final model: what it is trained on, which epoch is kept, and when the test part is read."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch

from augsearch.policies import Distillation, Mixing, Policy, PolicyFile, Training
from augsearch.trainers import final as finals
from augsearch.trainers.final import FinalEpoch, FinalModel, final_training_part, train_final
from augsearch.trainers.folds import ProxySettings, Workspace, write_workspace
from augsearch.trainers.images import ImageData, Part, open_images
from augsearch.trainers.models import load_model
from augsearch.trainers.scores import Scores, predict, score
from augsearch.trainers.splits import Splits, split

CPU = torch.device("cpu")
CLASSES = ("cat", "cow", "dog", "hen", "pig")
PLAIN = PolicyFile(policy=Policy(num_ops=0))
MIXED = PolicyFile(policy=Policy(num_ops=1, magnitude=5, crop=0.5, mixing=Mixing(kind="cutmix")))


class Source(NamedTuple):
    """A data set in memory, and how it is divided."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    splits: Splits


@pytest.fixture(scope="module")
def source() -> Source:
    """300 images in 5 classes, which differ in colour, under noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 5
    colours = np.array([[130, 60, 60], [60, 130, 60], [60, 60, 130], [120, 110, 40], [90, 90, 90]])
    images = (colours[labels][:, None, None] + rng.normal(20, 45, (300, 8, 8, 3))).clip(0, 255)
    given = np.full(300, Part.ANY, np.int8)
    return Source(images.astype(np.uint8), labels, split(labels, given, classes=CLASSES, seed=0))


def noisy(source: Source, part: str) -> Source:
    """The same but for the part, whose pixels become noise and whose labels become wrong."""
    images, labels = source.images.copy(), source.labels.copy()
    rows = getattr(source.splits, part)
    images[rows] = np.random.default_rng(1).integers(0, 256, images[rows].shape, dtype=np.uint8)
    labels[rows] = (labels[rows] + 1) % 5
    return Source(images, labels, source.splits)


def mislabeled(source: Source, part: str) -> Source:
    """The same but for the part, whose labels become wrong."""
    labels = source.labels.copy()
    rows = getattr(source.splits, part)
    labels[rows] = (labels[rows] + 1) % 5
    return Source(source.images, labels, source.splits)


def study(source: Source, root: Path) -> Workspace:
    """What workers see of a study of it."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / "colours.npz"
    np.savez(path, images=source.images, labels=source.labels, classes=np.array(CLASSES))
    data = open_images(str(path), image_size=None, cache=root / "cache")
    proxy = ProxySettings(model="tiny", epochs=1, fold_size=50, seed=3, device="cpu", teacher="tiny")
    return write_workspace(root / "work", data, source.splits, proxy)


@pytest.fixture(scope="module")
def plain(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The study that others are compared with."""
    return study(source, tmp_path_factory.mktemp("plain"))


def start(
    workspace: Workspace,
    splits: Splits,
    path: Path,
    file: PolicyFile = PLAIN,
    epochs: int = 2,
    limit: int | None = None,
) -> Generator[FinalEpoch, None, FinalModel]:
    return train_final(
        workspace,
        splits,
        file,
        model_name="tiny",
        epochs=epochs,
        limit=limit,
        path=path,
        card={"policy_file": "policy.json"},
    )


def finish(training: Generator[FinalEpoch, None, FinalModel]) -> tuple[list[FinalEpoch], FinalModel]:
    epochs = []
    while True:
        try:
            epochs.append(next(training))
        except StopIteration as stop:
            return epochs, stop.value


def weights(path: Path) -> bytes:
    return path.read_bytes()


def card_of(final: FinalModel) -> dict[str, object]:
    document = json.loads(final.path.with_suffix(".json").read_text("utf-8"))
    assert isinstance(document, dict)
    return document


def scored(path: Path, data: ImageData, part: npt.NDArray[np.int64]) -> Scores:
    """Scores of a saved model, without any of the code under test that chooses images."""
    model, _ = load_model(path)
    return score(predict(model, data.images[part], CPU), data.labels[part])


def losses(epochs: list[FinalEpoch]) -> list[float]:
    return [epoch.training.loss for epoch in epochs]


def test_every_epoch_is_yielded_and_the_model_left_with_its_card(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "made on demand" / "model.safetensors"
    epochs, final = finish(start(plain, source.splits, path, MIXED, epochs=3))
    assert [epoch.training.epoch for epoch in epochs] == [1, 2, 3]
    assert all(len(epoch.validation.correct) == len(source.splits.confirmation) for epoch in epochs)
    assert final.path == path
    assert final.images == sum(epoch.training.images for epoch in epochs)
    assert final.seconds > 0
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.json", "model.safetensors"]
    card = card_of(final)
    assert card["policy_file"] == "policy.json"
    assert card["training"] == {
        "best_epoch": final.best_epoch,
        "epochs": 3,
        "trained_on": final.trained_on,
        "validation_accuracy": final.validation.accuracy,
    }
    assert card["model"] == json.loads(final.spec.model_dump_json())
    assert "test" not in card


def test_the_epoch_that_is_best_on_the_confirmation_part_is_kept(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    epochs, final = finish(start(plain, source.splits, tmp_path / "model.safetensors", epochs=4))
    best = max(epochs, key=lambda epoch: (epoch.validation.accuracy, -epoch.validation.log_loss))
    assert final.best_epoch == best.training.epoch
    kept = scored(final.path, plain.data, source.splits.confirmation)
    assert kept.correct.tolist() == best.validation.correct.tolist() == final.validation.correct.tolist()
    assert kept.log_loss == pytest.approx(best.validation.log_loss, rel=1e-6)


def test_a_later_epoch_that_is_worse_is_not_kept(source: Source, tmp_path: Path) -> None:
    # The more is learned, the less agrees with a confirmation part that has the labels wrong.
    contrary = study(mislabeled(source, "confirmation"), tmp_path)
    epochs, final = finish(start(contrary, source.splits, tmp_path / "model.safetensors", epochs=5))
    best = max(epochs, key=lambda epoch: (epoch.validation.accuracy, -epoch.validation.log_loss))
    assert final.best_epoch == best.training.epoch < 5
    assert best.validation.accuracy > epochs[-1].validation.accuracy
    kept = scored(final.path, contrary.data, source.splits.confirmation)
    assert kept.correct.tolist() == best.validation.correct.tolist()
    assert kept.log_loss == pytest.approx(best.validation.log_loss, rel=1e-6)


def test_of_epochs_that_are_equally_right_the_surest_is_kept(source: Source, tmp_path: Path) -> None:
    # Colours without noise are all recognised, long before the last epoch.
    colours = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0], [0, 0, 0]], np.uint8)
    images = np.tile(colours[source.labels][:, None, None], (1, 8, 8, 1))
    easy = study(Source(images, source.labels, source.splits), tmp_path)
    epochs, final = finish(start(easy, source.splits, tmp_path / "model.safetensors", epochs=6))
    right = [epoch for epoch in epochs if epoch.validation.accuracy == 1]
    assert len(right) > 1
    surest = min(right, key=lambda epoch: epoch.validation.log_loss)
    assert surest is not right[0]
    assert final.best_epoch == surest.training.epoch


def test_an_epoch_that_is_more_often_right_is_kept_though_it_is_too_sure(
    source: Source, tmp_path: Path
) -> None:
    # Where every other label is wrong, who has learned is right about half, and surprised by the rest.
    labels = source.labels.copy()
    rows = source.splits.confirmation[::2]
    labels[rows] = (labels[rows] + 1) % 5
    half = study(Source(source.images, labels, source.splits), tmp_path)
    epochs, final = finish(start(half, source.splits, tmp_path / "model.safetensors", epochs=8))
    best = max(epochs, key=lambda epoch: epoch.validation.accuracy)
    assert final.validation.accuracy == best.validation.accuracy
    assert min(epoch.validation.log_loss for epoch in epochs) < final.validation.log_loss


def test_the_same_file_and_seed_train_the_same_model_to_the_last_bit(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    epochs, _ = finish(start(plain, source.splits, one, MIXED))
    others, _ = finish(start(plain, source.splits, other, MIXED))
    assert losses(epochs) == losses(others)
    assert weights(one) == weights(other)


def test_the_policy_of_the_file_is_obeyed(plain: Workspace, source: Source, tmp_path: Path) -> None:
    epochs, _ = finish(start(plain, source.splits, tmp_path / "plain.safetensors", PLAIN))
    others, _ = finish(start(plain, source.splits, tmp_path / "mixed.safetensors", MIXED))
    assert losses(epochs) != losses(others)


def test_training_never_reads_the_test_part(plain: Workspace, source: Source, tmp_path: Path) -> None:
    other = study(noisy(source, "test"), tmp_path)
    assert other.data.fingerprint != plain.data.fingerprint
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    epochs, final = finish(start(plain, source.splits, one, MIXED))
    others, final_of_other = finish(start(other, source.splits, two, MIXED))
    assert losses(epochs) == losses(others)
    assert [epoch.validation.log_loss for epoch in epochs] == [epoch.validation.log_loss for epoch in others]
    assert weights(one) == weights(two)
    assert card_of(final) == card_of(final_of_other)


def test_the_confirmation_part_chooses_the_epoch_and_is_not_trained_on(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    other = study(noisy(source, "confirmation"), tmp_path)
    epochs, _ = finish(start(plain, source.splits, tmp_path / "one.safetensors"))
    others, _ = finish(start(other, source.splits, tmp_path / "two.safetensors"))
    assert losses(epochs) == losses(others)
    assert epochs[-1].validation.accuracy != others[-1].validation.accuracy


def test_train_and_validation_are_both_trained_on(plain: Workspace, source: Source, tmp_path: Path) -> None:
    splits = source.splits
    both = final_training_part(splits, None)
    assert both.tolist() == sorted([*splits.train, *splits.validation])
    epochs, final = finish(start(plain, splits, tmp_path / "one.safetensors"))
    assert final.trained_on == len(both) == 195
    for part in ("train", "validation"):
        other = study(mislabeled(source, part), tmp_path / part)
        others, _ = finish(start(other, splits, tmp_path / "two.safetensors"))
        assert losses(epochs) != losses(others)


def test_a_limit_is_of_all_that_is_trained_on(source: Source, tmp_path: Path) -> None:
    given = np.full(300, Part.ANY, np.int8)
    splits = split(source.labels, given, classes=CLASSES, seed=0, limit=60)
    limited = Source(source.images, source.labels, splits)
    assert final_training_part(splits, 60).tolist() == splits.train.tolist()
    epochs, final = finish(
        start(study(limited, tmp_path / "one"), splits, tmp_path / "one.safetensors", limit=60)
    )
    assert final.trained_on == 60
    assert all(epoch.training.images <= 60 for epoch in epochs)
    # The validation part is not trained on then.
    other = study(noisy(limited, "validation"), tmp_path / "two")
    finish(start(other, splits, tmp_path / "two.safetensors", limit=60))
    assert weights(tmp_path / "one.safetensors") == weights(tmp_path / "two.safetensors")


def test_the_test_writes_its_figures_on_the_card(plain: Workspace, source: Source, tmp_path: Path) -> None:
    _, final = finish(start(plain, source.splits, tmp_path / "model.safetensors", epochs=6))
    before, saved = card_of(final), weights(final.path)
    test = finals.test_final(plain, source.splits, final)
    expected = scored(final.path, plain.data, source.splits.test)
    assert test.correct.tolist() == expected.correct.tolist()
    assert test.accuracy > 0.9
    assert card_of(final) == {
        **before,
        "test": {
            "images": len(source.splits.test),
            "accuracy": test.accuracy,
            "log_loss": test.log_loss,
            "ece": test.ece,
        },
    }
    assert weights(final.path) == saved


def test_the_test_is_on_the_test_part(plain: Workspace, source: Source, tmp_path: Path) -> None:
    _, final = finish(start(plain, source.splits, tmp_path / "model.safetensors", epochs=6))
    right = finals.test_final(plain, source.splits, final)
    wrong = finals.test_final(study(mislabeled(source, "test"), tmp_path), source.splits, final)
    assert not (right.correct & wrong.correct).any()
    for part in ("train", "validation", "confirmation"):
        elsewhere = study(noisy(source, part), tmp_path / part)
        assert finals.test_final(elsewhere, source.splits, final).correct.tolist() == right.correct.tolist()


def test_the_distillation_of_the_file_is_obeyed_and_its_teacher_made_if_missing(
    source: Source, tmp_path: Path
) -> None:
    workspace = study(source, tmp_path)
    epochs, _ = finish(start(workspace, source.splits, tmp_path / "alone.safetensors"))
    assert not workspace.teacher_logits.exists()

    def distilled(temperature: float, alpha: float) -> list[float]:
        distillation = Distillation(temperature=temperature, alpha=alpha)
        file = PLAIN.model_copy(update={"training": Training(distillation=distillation)})
        taught, final = finish(start(workspace, source.splits, tmp_path / "taught.safetensors", file))
        assert np.isfinite([*losses(taught), final.validation.log_loss]).all()
        return losses(taught)

    heard = distilled(temperature=4, alpha=0.9)
    assert heard != losses(epochs)
    logits = np.load(workspace.teacher_logits)
    assert np.isnan(logits[source.splits.test]).all()
    assert distilled(temperature=2, alpha=0.9) != heard
    assert distilled(temperature=4, alpha=0) == pytest.approx(losses(epochs), rel=1e-5)


def test_each_image_hears_what_the_teacher_says_of_it(source: Source, tmp_path: Path) -> None:
    labels = source.labels.copy()
    rows = final_training_part(source.splits, None)
    labels[rows] = (labels[rows] + 1) % 5
    misled = study(Source(source.images, labels, source.splits), tmp_path)
    # The labels are all wrong, but the teacher knows better, and is all that is listened to.
    np.save(misled.teacher_logits, 20 * np.eye(5, dtype=np.float32)[source.labels])
    distillation = Distillation(temperature=2, alpha=1)
    file = PLAIN.model_copy(update={"training": Training(distillation=distillation)})
    epochs, _ = finish(start(misled, source.splits, tmp_path / "taught.safetensors", file, epochs=8))
    assert epochs[-1].validation.accuracy > 0.9
    epochs, _ = finish(start(misled, source.splits, tmp_path / "alone.safetensors", PLAIN, epochs=8))
    assert epochs[-1].validation.accuracy < 0.1


def test_a_training_that_is_given_up_leaves_no_model(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    training = start(plain, source.splits, tmp_path / "model.safetensors", epochs=50)
    assert next(training).training.epoch == 1
    training.close()
    assert list(tmp_path.iterdir()) == []
