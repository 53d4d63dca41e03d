"""Where a training stands: kept, and taken up again, by a later version too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from augsearch.trainers.evaluation.metrics import METRICS, Scores
from augsearch.trainers.training.checkpoints import (
    EVERY,
    Best,
    Keeper,
    TrainingState,
    load_checkpoint,
    save_checkpoint,
)
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.recipe import Recipe


def learner(seed: int) -> Learner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    return Learner.prepare(network, Recipe())


def scores(accuracy: float, balanced: float, macro_f1: float, log_loss: float) -> Scores:
    values = np.full(4, -log_loss)
    return Scores(accuracy, balanced, macro_f1, log_loss, 0.1, np.zeros(4, dtype=np.bool_), values)


@pytest.mark.parametrize("metric", list(METRICS))
def test_what_is_better_is_for_the_metric_to_say_and_else_for_the_log_loss(metric: str) -> None:
    judge = METRICS[metric]
    best = Best.of(3, scores(0.8, 0.7, 0.6, 0.5), judge)
    others = {
        "accuracy": scores(0.9, 0.1, 0.1, 0.9),
        "balanced-accuracy": scores(0.1, 0.9, 0.1, 0.9),
        "macro-f1": scores(0.1, 0.1, 0.9, 0.9),
        "log-loss": scores(0.1, 0.1, 0.1, 0.4),
    }
    for name, found in others.items():
        assert best.beaten_by(found, judge) == (name == metric)
    assert best.beaten_by(scores(0.8, 0.7, 0.6, 0.49), judge)
    assert not best.beaten_by(scores(0.8, 0.7, 0.6, 0.5), judge)


def judged(*right: int) -> Scores:
    """Of 100 images those before the first number are right, and those from the second on."""
    correct = np.arange(100) < right[0]
    correct[right[1] if len(right) > 1 else 100 :] = True
    share = float(correct.mean())
    return Scores(share, share, share, 0.5, 0.1, correct)


def test_the_latest_is_best_whose_score_is_within_one_standard_error_of_the_highest() -> None:
    state, accuracy = TrainingState(), METRICS["accuracy"]
    # 10 images fewer: one standard error is 3. Of 4 differences, that is 2 images.
    taken = [judged(60), judged(80), judged(70), judged(79), judged(77, 99), judged(76, 99), judged(82)]
    assert [state.take(epoch, one, accuracy) for epoch, one in enumerate(taken)] == [
        *(True, True, False, True, True, False, True)
    ]
    assert state.best is state.peak
    assert not state.take(7, judged(78), accuracy)
    assert state.take(8, judged(81), accuracy)
    assert (state.best and state.best.epoch, state.peak and state.peak.epoch) == (8, 6)


def test_of_no_image_but_one_the_best_is_the_highest() -> None:
    state, accuracy = TrainingState(), METRICS["accuracy"]
    one = Scores(1.0, 1.0, 1.0, 0.5, 0.1, np.ones(1, np.bool_))
    none = Scores(0.0, 0.0, 0.0, 0.5, 0.1, np.zeros(1, np.bool_))
    assert [state.take(epoch, found, accuracy) for epoch, found in enumerate((one, none, one))] == [
        *(True, False, True)
    ]


def stood(unlabeled: int) -> TrainingState:
    """The fifth epoch kept, the fourth the highest."""
    best, peak = Best(5, 0.8, 0.6, -0.6), Best(4, 0.8, 0.5, -0.5, np.array([-0.25, -0.75]))
    return TrainingState(best, peak, 700, unlabeled, 12.5)


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, Path, Learner]:
    """A checkpoint, the model beside it, and who was kept."""
    before = learner(seed=1)
    before.epoch = 7
    save_checkpoint(tmp_path / "checkpoint", "key", before, stood(200))
    (tmp_path / "model").touch()
    return tmp_path / "checkpoint", tmp_path / "model", before


def test_what_was_kept_is_taken_up(kept: tuple[Path, Path, Learner]) -> None:
    checkpoint, model, before = kept
    after = learner(seed=2)
    state = load_checkpoint(checkpoint, "key", after, model)
    assert state == stood(200)
    assert state.peak is not None
    assert state.peak.by_image is not None
    assert state.peak.by_image.tolist() == [-0.25, -0.75]
    assert after.epoch == 7
    for one, other in zip(after.model.parameters(), before.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_from_before_unlabeled_images_is_taken_up_too(kept: tuple[Path, Path, Learner]) -> None:
    checkpoint, model, _ = kept
    document = torch.load(checkpoint, weights_only=True)
    del document["unlabeled"], document["learner"]["memory"]
    torch.save(document, checkpoint)
    after = learner(seed=2)
    assert load_checkpoint(checkpoint, "key", after, model) == stood(0)
    assert (after.epoch, after.memory) == (7, {})


def test_a_checkpoint_from_before_other_metrics_has_the_score_of_accuracy(
    kept: tuple[Path, Path, Learner],
) -> None:
    checkpoint, model, _ = kept
    document = torch.load(checkpoint, weights_only=True)
    document["best"] = document["best"][:3]
    torch.save(document, checkpoint)
    assert load_checkpoint(checkpoint, "key", learner(seed=2), model).best == Best(5, 0.8, 0.6, 0.8)


def test_one_from_when_the_highest_epoch_was_kept_goes_on_so(kept: tuple[Path, Path, Learner]) -> None:
    checkpoint, model, _ = kept
    document = torch.load(checkpoint, weights_only=True)
    del document["peak"], document["peak_by_image"]
    torch.save(document, checkpoint)
    state = load_checkpoint(checkpoint, "key", learner(seed=2), model)
    assert state.best is state.peak
    assert not state.take(8, scores(0.8, 0.8, 0.8, 0.6), METRICS["log-loss"])


def test_of_another_training_or_without_its_model_nothing_is_taken_up(
    kept: tuple[Path, Path, Learner],
) -> None:
    checkpoint, model, _ = kept
    after = learner(seed=2)
    assert load_checkpoint(checkpoint, "another", after, model) == TrainingState()
    assert load_checkpoint(checkpoint.with_name("none"), "key", after, model) == TrainingState()
    model.unlink()
    assert load_checkpoint(checkpoint, "key", after, model) == TrainingState()
    checkpoint.write_bytes(b"damaged")
    model.touch()
    assert load_checkpoint(checkpoint, "key", after, model) == TrainingState()
    assert after.epoch == 0


def test_checkpoints_lie_apart_but_the_first_and_the_last_are_always_kept(tmp_path: Path) -> None:
    time, kept, trained = 0.0, [], learner(seed=1)
    path = tmp_path / "checkpoint"
    keeper = Keeper(path, "key", clock=lambda: time)
    state = stood(0)
    for epoch in range(1, 11):
        trained.epoch = epoch
        time += EVERY / 3
        keeper.after_epoch(trained, state, last=epoch == 9)
        kept.append(torch.load(path, weights_only=True)["learner"]["epoch"])
    assert kept == [1, 1, 1, 4, 4, 4, 7, 7, 9, 9]
    keeper.save(trained, state)
    assert torch.load(path, weights_only=True)["learner"]["epoch"] == 10


def test_on_a_cpu_the_best_epoch_is_the_checkpoints_though_the_model_is_a_later_ones(
    kept: tuple[Path, Path, Learner],
) -> None:
    checkpoint, model, _ = kept
    model.with_suffix(".json").write_text('{"training": {"best_epoch": 7}}')
    best = load_checkpoint(checkpoint, "key", learner(seed=2), model).best
    assert best is not None
    assert best.epoch == 5
