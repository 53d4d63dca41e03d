"""What a GPU computes comes near to what a CPU does: a training, how it goes on, and what it says of images.

Near and no nearer: a GPU rounds products to fewer bits, and adds up in another order each time.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augsearch.policies import Mixing, Policy, Transfer
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.system.devices import resolve_device
from augsearch.trainers.training.folding import foldable, folded
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loop import EpochResult, train
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

CPU, GPU = torch.device("cpu"), torch.device("cuda")
CLASSES, SIDE = 3, 16
MIXED = Policy(num_ops=1, mixing=Mixing(kind="cutmix"))
SLOW = Recipe(epochs=2, batch_size=16, learning_rate=0.002)
"""So slow that the losses of a training depend on little else than what is computed."""


def images(count: int = 96) -> LabeledImages:
    """Images whose class is their colour, under noise."""
    labels = np.arange(count) % CLASSES
    noise = np.random.default_rng(0).normal(100, 30, (count, SIDE, SIDE, 3))
    noise[np.arange(count), ..., labels] += 60
    return LabeledImages(noise.clip(0, 255).astype(np.uint8), labels, CLASSES)


def network(**fields: Any) -> nn.Module:
    spec = ModelSpec(
        name="tiny", channels=3, image_size=SIDE, classes=("a", "b", "c"), mean=(120,) * 3, std=(45,) * 3
    )
    return build_model(spec.model_copy(update=fields), 0)


def setup(device: torch.device, recipe: Recipe) -> TrainingSetup:
    return TrainingSetup(images(), MIXED, recipe, seed=0, device=device)


def trained(device: torch.device, recipe: Recipe, **options: Any) -> tuple[Learner, list[EpochResult]]:
    """A network after all of its epochs, and what was said of each."""
    learner = Learner.prepare(options.pop("model", None) or network(), recipe, device=device, **options)
    return learner, list(train(learner, setup(device, recipe)))


def losses(epochs: list[EpochResult]) -> list[float]:
    return [epoch.loss for epoch in epochs]


def moved(learner: Learner) -> Tensor:
    """How far each weight has come in training."""
    before = dict(network().named_parameters())
    return torch.cat(
        [(now.cpu() - before[name]).flatten() for name, now in learner.model.named_parameters()]
    ).detach()


@pytest.mark.parametrize("precision", ["auto", "float32", "float16"])
def test_a_gpu_learns_what_a_cpu_does(precision: Any) -> None:
    expected, of_cpu = trained(CPU, SLOW.model_copy(update={"precision": "float32"}))
    learner, of_gpu = trained(GPU, SLOW.model_copy(update={"precision": precision}))
    assert losses(of_gpu) == pytest.approx(losses(of_cpu), rel=0.1)
    assert torch.nn.functional.cosine_similarity(moved(learner), moved(expected), dim=0) > 0.8


def test_a_gpu_learns_in_the_half_precision_that_it_has_units_for() -> None:
    learner = Learner.prepare(network(), Recipe(), device=resolve_device("auto"))
    capability = torch.cuda.get_device_capability()
    if torch.version.hip is None and (7, 0) <= capability < (8, 0):
        assert learner.precision == torch.float16
        assert learner.scaler.is_enabled()
    elif capability >= (8, 0):
        assert learner.precision == torch.bfloat16
        assert not learner.scaler.is_enabled()


@pytest.mark.parametrize("precision", ["auto", "float16"])
def test_on_a_gpu_a_training_goes_on_from_what_was_kept(precision: Any) -> None:
    recipe = SLOW.model_copy(update={"epochs": 4, "precision": precision, "ema": 0.8})
    learner = Learner.prepare(network(), recipe, device=GPU)
    whole, kept = [], io.BytesIO()
    for epoch in train(learner, setup(GPU, recipe)):
        whole.append(epoch)
        if epoch.epoch == 2:
            torch.save(learner.state_dict(), kept)
    again = Learner.prepare(network(), recipe, device=GPU)
    kept.seek(0)
    again.load_state_dict(torch.load(kept, map_location="cpu", weights_only=True))
    assert {one.device.type for one in again.best.state_dict().values()} == {GPU.type}
    rest = list(train(again, setup(GPU, recipe)))
    assert [epoch.epoch for epoch in rest] == [3, 4]
    assert losses(rest) == pytest.approx(losses(whole[2:]), rel=0.05)
    assert torch.nn.functional.cosine_similarity(moved(again), moved(learner), dim=0) > 0.8


class Greedy(nn.Module):
    """Asks for more memory than there is where it is given more than so many images at a time."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.network, self.room = network(), room
        self.refused: list[int] = []

    def forward(self, batch: Tensor) -> Tensor:
        """Logits, if there is room."""
        if len(batch) > self.room:
            self.refused.append(len(batch))
            torch.empty(2**50, dtype=torch.uint8, device=batch.device)
        return self.network(batch)


def test_where_the_memory_of_a_gpu_runs_out_a_batch_is_divided() -> None:
    model = Greedy(5)
    _, epochs = trained(GPU, SLOW, model=model)
    assert [epoch.accumulation for epoch in epochs] == [4, 4]
    assert model.refused == [16, 8]
    assert all(map(np.isfinite, losses(epochs)))


def test_where_the_memory_of_a_gpu_runs_out_fewer_images_are_predicted_at_a_time() -> None:
    model = Greedy(30).to(GPU)
    logits = predict(model, images().images, GPU)
    assert model.refused == [96, 48]
    np.testing.assert_allclose(logits, predict(model.network, images().images, GPU), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("average_flips", [False, True])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "half"])
def test_a_gpu_says_of_images_what_a_cpu_does(half: bool, average_flips: bool) -> None:
    model, pixels = network(average_flips=average_flips), images().images
    expected = predict(model, pixels, CPU)
    precision = torch.float16 if half else torch.float32
    logits = predict(model.to(GPU), pixels, GPU, precision=precision)
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(logits, expected, rtol=0, atol=scale * (0.05 if half else 0.01))


def test_on_a_gpu_normalisations_that_keep_their_statistics_are_folded() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)
    )
    with torch.no_grad():
        for norm in (model[1], model[4]):
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(0.5, 2)
    model.eval().to(GPU)
    batch = torch.rand(4, 3, SIDE, SIDE, device=GPU)
    pairs = foldable(model, batch)
    assert pairs == [(model[0], model[1]), (model[3], model[4])]
    expected = model(batch)
    with folded(pairs):
        torch.testing.assert_close(model(batch), expected, rtol=0.01, atol=0.02)


def test_on_a_gpu_all_weights_of_a_pretrained_network_are_trained() -> None:
    recipe = SLOW.model_copy(update={"precision": "float32"})
    _, of_cpu = trained(CPU, recipe, transfer=Transfer(mode="full"))
    _, of_gpu = trained(GPU, recipe, transfer=Transfer(mode="full"))
    assert losses(of_gpu) == pytest.approx(losses(of_cpu), rel=0.1)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_gpu_averages_weights_as_a_cpu_does_and_is_not_waited_for() -> None:
    averages = []
    for device in (CPU, GPU):
        learner = Learner.prepare(network(), Recipe(ema=0.7), device=device)
        assert learner.average is not None
        random = torch.Generator().manual_seed(0)
        for _ in range(3):
            with torch.no_grad():
                for weight in learner.model.parameters():
                    weight += torch.randn(weight.shape, generator=random).to(device)
            try:
                torch.cuda.set_sync_debug_mode("error")
                learner.average.update_parameters(learner.model)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        averages.append({name: value.cpu() for name, value in learner.best.state_dict().items()})
    torch.testing.assert_close(averages[1], averages[0], rtol=1e-4, atol=1e-5)
