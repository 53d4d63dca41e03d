"""Gradients are clipped by the norm of all of them, before the optimizers see them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from augsearch.policies import Policy
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import train
from augsearch.trainers.training.recipe import CLIPPED, Recipe, usual_clip
from augsearch.trainers.training.setup import TrainingSetup

CPU = torch.device("cpu")
SPEC = ModelSpec(name="tiny", channels=3, image_size=12, classes=("a", "b"), mean=(128,) * 3, std=(60,) * 3)


def norms(clip: float | None) -> list[float]:
    """The norm of all gradients at each step of an epoch."""
    recipe = Recipe(epochs=1, batch_size=8, clip=clip)
    learner = Learner.prepare(build_model(SPEC, 0), recipe)
    found: list[float] = []

    def seen(*_: Any) -> None:
        every = [one.grad for one in learner.model.parameters() if one.grad is not None]
        found.append(float(torch.stack([one.norm() for one in every]).norm()))

    learner.optimizers[0].register_step_pre_hook(seen)
    images = np.random.default_rng(0).integers(0, 256, (48, 12, 12, 3), dtype=np.uint8)
    data = LabeledImages(images, np.arange(48) % 2, 2)
    list(train(learner, TrainingSetup(data, Policy(num_ops=0), recipe, seed=0, device=CPU)))
    return found


def test_no_step_has_gradients_of_a_larger_norm() -> None:
    free = norms(None)
    clip = min(free) / 3
    assert norms(clip) == pytest.approx([clip] * len(free), rel=1e-4)
    assert norms(1000 * max(free)) == free


def test_families_that_are_trained_so_are_clipped() -> None:
    for network in ("vit_base_patch16_224", "convnext_tiny", "swin_t", "deit3_small"):
        assert usual_clip(network) == CLIPPED
    for network in ("resnet50", "lite0", "efficientnet_b0", "medium"):
        assert usual_clip(network) is None


def test_recipes_without_it_are_written_as_before() -> None:
    assert "clip" not in Recipe().model_dump()
    assert Recipe.model_validate(Recipe(clip=2).model_dump()).clip == 2
