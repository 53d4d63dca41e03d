"""Asking a model about unlabeled images: every readable one, the same as all at once, and never twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from augsearch.policies import UserError
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import split
from augsearch.trainers.data.unlabeled.dataset import HowOpened, Unlabeled, open_unlabeled
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.evaluation.metrics import TrainingDivergedError
from augsearch.trainers.semi import labeling as module
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.labeling import label
from augsearch.trainers.semi.predictions import Predictions

CPU = torch.device("cpu")
COUNT = 30
KINDS = ["decoded", "lazily", "rows"]


class Model(nn.Module):
    """Says of an image how bright its four quarters are, and counts how many it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.dropout = nn.Dropout(0.5)
        self.asked = 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        return self.dropout(self.pool(images.float().mean(1, keepdim=True))).flatten(1) / 10


class Pool:
    """30 unlabeled files, of which two can't be read and two are copies, or as many rows of an archive."""

    def __init__(self, root: Path, kind: str) -> None:
        rng = np.random.default_rng(0)
        self.kind, self.root, self.folder = kind, root, root / "more"
        self.labeled = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
        self.images = rng.integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8)
        self.images[[9, 20]] = self.images[4]
        self.bad = [] if kind == "rows" else [6, 17]
        self.folder.mkdir()
        for number, image in enumerate(self.images):
            Image.fromarray(image).save(self.path(number))
        for number in self.bad:
            self.path(number).write_text(f"no image {number}")
        self.good = np.delete(np.arange(COUNT), self.bad)

    def path(self, number: int) -> Path:
        return self.folder / f"{number:03}.png"

    def open(self) -> Unlabeled:
        """Open, as a process that starts does."""
        source = self.root / "data.npz"
        rows = self.images if self.kind == "rows" else self.images[:0]
        labels = np.append(np.arange(20) % 2, np.full(len(rows), -1))
        np.savez(source, images=np.concatenate([self.labeled, rows]), labels=labels)
        data = open_images(str(source), image_size=None, cache=self.root / "cache")
        splits = split(data.labels, data.given, classes=data.classes, seed=0)
        folder = None if self.kind == "rows" else self.folder
        side = 65 if self.kind == "lazily" else None
        where = {"folder": folder, "cache": self.root / "cache"}
        found = open_unlabeled(str(source), data, splits, **where, how=HowOpened(side=side))
        assert found is not None
        return found


@pytest.fixture(params=KINDS)
def pool(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    monkeypatch.setattr(module, "CHUNK", 7)
    return Pool(tmp_path, request.param)


def images_of(unlabeled: Unlabeled, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.concatenate(list(unlabeled.pixels.clean(indices)))


def check(unlabeled: Unlabeled, indices: NDArray[np.int64], predictions: Predictions, count: int) -> None:
    """Check that they are what the model says of the images all at once."""
    assert len(indices) == len(predictions) == count
    assert set(indices) <= set(unlabeled.chosen)
    assert (np.diff(indices) > 0).all()
    expected = Predictions.from_logits(predict(Model(), images_of(unlabeled, indices), CPU))
    assert predictions.num_classes == 4
    assert predictions.labels.dtype == np.int32
    assert predictions.probabilities.dtype == np.float32
    np.testing.assert_array_equal(predictions.labels, expected.labels)
    np.testing.assert_allclose(predictions.probabilities, expected.probabilities, rtol=1e-5)


@pytest.mark.parametrize("stored", [False, True])
def test_every_image_that_can_be_read_gets_what_the_model_says_of_it(pool: Pool, stored: bool) -> None:
    unlabeled, model = pool.open(), Model()
    with LabelStore(pool.root / "labels.db") as store:
        indices, predictions = label(model, unlabeled, CPU, store=store if stored else None, model_name="a")
    check(unlabeled, indices, predictions, len(pool.good))
    if pool.kind != "rows":
        assert [Path(unlabeled.files(index)).stem for index in indices] == [f"{n:03}" for n in pool.good]
    assert len(unlabeled.unreadable) == len(pool.bad)


def test_how_many_are_asked_about_together_changes_nothing(pool: Pool) -> None:
    unlabeled = pool.open()
    one, other = (label(Model(), unlabeled, CPU, batch_size=size)[1] for size in (3, 100))
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-5)


def test_what_is_known_is_not_asked_again(pool: Pool) -> None:
    model = Model()
    with LabelStore(pool.root / "labels.db") as store:
        indices, predictions = label(model, pool.open(), CPU, store=store, model_name="a")
        assert model.asked == len(pool.good) - 2, "three files are the same"
        again, same = label(model, pool.open(), CPU, store=store, model_name="a")
        assert model.asked == len(pool.good) - 2
        np.testing.assert_array_equal(again, indices)
        np.testing.assert_array_equal(same.labels, predictions.labels)
        np.testing.assert_array_equal(same.probabilities, predictions.probabilities)
        label(model, pool.open(), CPU, store=store, model_name="another")
    assert model.asked == 2 * (len(pool.good) - 2)


def test_identical_images_get_identical_predictions(pool: Pool) -> None:
    unlabeled = pool.open()
    with LabelStore(pool.root / "labels.db") as store:
        indices, predictions = label(Model(), unlabeled, CPU, store=store, model_name="a")
    rows = np.flatnonzero(np.isin(pool.good, [4, 9, 20]))
    assert len(rows) == 3
    assert len(indices) == len(pool.good)
    assert len({predictions.probabilities[row].tobytes() for row in rows}) == 1


@pytest.mark.parametrize("after", [7, 14, 28])
def test_a_kill_between_chunks_costs_no_answer_that_was_given(pool: Pool, after: int) -> None:
    undisturbed = label(Model(), pool.open(), CPU)

    def kill(done: int, total: int) -> None:
        assert total == len(pool.open().chosen)
        if done == after:
            raise KeyboardInterrupt

    before, later = Model(), Model()
    path = pool.root / "labels.db"
    with LabelStore(path) as store, pytest.raises(KeyboardInterrupt):
        label(before, pool.open(), CPU, store=store, model_name="a", progress=kill)
    assert 0 < before.asked < len(pool.good)
    unlabeled = pool.open()
    with LabelStore(path) as store:
        indices, predictions = label(later, unlabeled, CPU, store=store, model_name="a")
    assert before.asked + later.asked == len(pool.good) - 2
    check(unlabeled, indices, predictions, len(pool.good))
    np.testing.assert_array_equal(indices, undisturbed[0])


def test_progress_reaches_all_images(pool: Pool) -> None:
    unlabeled = pool.open()
    total = len(unlabeled.chosen)
    calls: list[tuple[int, int]] = []
    label(Model(), unlabeled, CPU, progress=lambda done, all_of_them: calls.append((done, all_of_them)))
    assert calls == [(min(done, total), total) for done in range(7, total + 7, 7)]


@pytest.mark.parametrize("kind", ["decoded", "lazily"])
def test_a_file_that_was_renamed_or_moved_is_known_by_its_content(tmp_path: Path, kind: str) -> None:
    pool, model = Pool(tmp_path, kind), Model()
    with LabelStore(tmp_path / "labels.db") as store:
        label(model, pool.open(), CPU, store=store, model_name="a")
        asked = model.asked
        (pool.folder / "deep").mkdir()
        for number in range(0, COUNT, 2):
            pool.path(number).rename(pool.folder / "deep" / f"renamed {number}.png")
        Image.new("RGB", (8, 8), (1, 2, 3)).save(pool.folder / "new.png")
        unlabeled = pool.open()
        indices, predictions = label(model, unlabeled, CPU, store=store, model_name="a")
    assert model.asked == asked + 1
    check(unlabeled, indices, predictions, len(pool.good) + 1)


def test_a_file_that_goes_between_two_askings_is_left_out(tmp_path: Path) -> None:
    pool = Pool(tmp_path, "lazily")
    unlabeled = pool.open()
    shutil.rmtree(pool.folder)
    pool.folder.mkdir()
    Image.fromarray(pool.images[3]).save(pool.path(3))
    for kept in (None, LabelStore(tmp_path / "labels.db")):
        indices, predictions = label(Model(), unlabeled, CPU, store=kept, model_name="a")
        assert indices.tolist() == [3]
        assert len(predictions) == 1
    kept.close()


def test_every_modules_mode_is_put_back_and_none_is_trained(pool: Pool) -> None:
    model = Model()
    model.pool.eval()
    label(model, pool.open(), CPU)
    assert (model.training, model.pool.training, model.dropout.training) == (True, False, True)


@pytest.mark.parametrize("stored", [False, True])
def test_outputs_that_are_no_numbers_are_refused_and_not_kept(pool: Pool, stored: bool) -> None:
    class Broken(Model):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * torch.nan

    unlabeled = pool.open()
    with LabelStore(pool.root / "labels.db") as store:
        with pytest.raises(TrainingDivergedError):
            label(Broken(), unlabeled, CPU, store=store if stored else None, model_name="a")
        assert store.known("a", unlabeled.keys(unlabeled.chosen)) == {}


@pytest.mark.parametrize("stored", [False, True])
def test_if_no_image_is_left_a_person_is_told(tmp_path: Path, stored: bool) -> None:
    pool = Pool(tmp_path, "lazily")
    for number in range(COUNT):
        pool.path(number).write_text("no image")
    with LabelStore(tmp_path / "labels.db") as store, pytest.raises(UserError) as error:
        label(Model(), pool.open(), CPU, store=store if stored else None, model_name="a")
    assert str(error.value).startswith(
        f"{pool.folder}: no image is left to learn from, the first can't be read: 000.png: cut off"
    )
