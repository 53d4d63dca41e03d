"""Where a training stands: kept, and taken up again, by a later version too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from augsearch.trainers.training.checkpoints import Best, TrainingState, load_checkpoint, save_checkpoint
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.recipe import Recipe


def learner(seed: int) -> Learner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    return Learner.prepare(network, Recipe())


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, Path, Learner]:
    """A checkpoint, the model beside it, and who was kept."""
    before = learner(seed=1)
    before.epoch = 7
    save_checkpoint(tmp_path / "checkpoint", "key", before, TrainingState(Best(5, 0.8, 0.6), 700, 200, 12.5))
    (tmp_path / "model").touch()
    return tmp_path / "checkpoint", tmp_path / "model", before


def test_what_was_kept_is_taken_up(kept: tuple[Path, Path, Learner]) -> None:
    checkpoint, model, before = kept
    after = learner(seed=2)
    assert load_checkpoint(checkpoint, "key", after, model) == TrainingState(
        Best(5, 0.8, 0.6), 700, 200, 12.5
    )
    assert after.epoch == 7
    for one, other in zip(after.model.parameters(), before.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_from_before_unlabeled_images_is_taken_up_too(kept: tuple[Path, Path, Learner]) -> None:
    checkpoint, model, _ = kept
    document = torch.load(checkpoint, weights_only=True)
    del document["unlabeled"], document["learner"]["memory"]
    torch.save(document, checkpoint)
    after = learner(seed=2)
    assert load_checkpoint(checkpoint, "key", after, model) == TrainingState(Best(5, 0.8, 0.6), 700, 0, 12.5)
    assert (after.epoch, after.memory) == (7, {})


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
