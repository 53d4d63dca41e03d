"""Batches for a GPU that is not there: who makes them when, and in what they are copied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from augsearch.policies import Policy
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.training import loader
from augsearch.trainers.training.loader import Epochs, batches
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup

CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))


def setup(device: torch.device) -> TrainingSetup:
    """Images in memory."""
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    recipe = Recipe(epochs=3, batch_size=8)
    return TrainingSetup(LabeledImages(images, np.arange(24) % 3, 3), Policy(), recipe, seed=0, device=device)


class Stream:
    """What a GPU works off in order."""

    made = 0

    def __init__(self, device: torch.device) -> None:
        Stream.made += 1

    @staticmethod
    def wait_stream(other: Stream) -> None:
        """Nothing runs."""


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Copies that stay on the host, in streams that are none."""
    monkeypatch.setattr(Stream, "made", 0)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream)
    monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: None)
    monkeypatch.setattr(loader, "_sent", lambda array, device: torch.from_numpy(array))
    loader._copying.cache_clear()
    yield
    loader._copying.cache_clear()


@pytest.mark.usefixtures("streams")
def test_all_epochs_of_a_process_are_copied_to_a_gpu_in_one_stream() -> None:
    for epoch in range(3):
        assert len(list(batches(setup(CUDA), epoch))) == 3
    assert Stream.made == 1


@pytest.mark.usefixtures("streams")
@pytest.mark.parametrize("device", [CUDA, MPS], ids=str)
def test_the_first_batches_of_an_epoch_are_made_for_a_gpu_while_the_one_before_ends(device: Any) -> None:
    with closing(Epochs(setup(device))) as epochs:
        epochs.begin(1)
        assert epochs._begun is not None
        begun = [batch.images for batch in epochs.of(1)]
    expected = [batch.images for batch in batches(setup(CPU), 1)]
    assert all(torch.equal(*two) for two in zip(begun, expected, strict=True))


def test_a_cpu_is_not_kept_from_what_it_does_at_an_epochs_end() -> None:
    with closing(Epochs(setup(CPU))) as epochs:
        epochs.begin(1)
        assert epochs._begun is None


def test_images_in_memory_are_augmented_ahead_for_a_gpu_however_few_threads_torch_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert [loader._ahead(device) for device in (CPU, CUDA, MPS)] == [0, 2, 2]
