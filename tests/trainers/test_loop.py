"""The training loop: what it does with each image, with its seed and with its time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from augsearch.policies import TRIVIALAUGMENT, Distillation, Mixing, Policy
from augsearch.trainers.loop import (
    EpochResult,
    LabeledImages,
    Recipe,
    TrainingDivergedError,
    batches,
    one_cycle,
    train,
)
from augsearch.trainers.losses import Batch, distilled, supervised
from augsearch.trainers.models import ModelSpec, build_model, channel_statistics
from augsearch.trainers.scores import predict, score

CPU = torch.device("cpu")
PLAIN = Policy(num_ops=0)
SHORT = Recipe(epochs=2)
FEW = settings(max_examples=30, deadline=None)

seeds = st.integers(0, 2**32 - 1)


def stripes(count: int, side: int = 16, classes: int = 5, seed: int = 0) -> LabeledImages:
    """Images that can be learned: a class is a direction and a colour of stripes, under noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    y, x = np.mgrid[:side, :side]
    patterns = np.stack([x // 2, y // 2, (x + y) // 3, x // 3 + y // 3, x // 5])[:classes] % 2
    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [180, 180, 40], [120, 120, 120]])
    clean = patterns[labels][..., None] * colours[labels][:, None, None]
    noisy = clean + rng.normal(30, 40, (count, side, side, 3))
    return LabeledImages(noisy.clip(0, 255).astype(np.uint8), labels.astype(np.int64), classes)


def numbered(count: int, classes: int = 3) -> LabeledImages:
    """Images of which every pixel is the image's number."""
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    return LabeledImages(images, np.arange(count) % classes, classes)


def network(data: LabeledImages, seed: int = 0) -> nn.Module:
    _, side, _, channels = data.images.shape
    mean, std = channel_statistics(data.images)
    classes = tuple(str(label) for label in range(data.num_classes))
    spec = ModelSpec(name="tiny", channels=channels, image_size=side, classes=classes, mean=mean, std=std)
    return build_model(spec, seed)


def trained(
    data: LabeledImages,
    policy: Policy = TRIVIALAUGMENT,
    recipe: Recipe = SHORT,
    *,
    seed: int = 0,
    distillation: Distillation | None = None,
) -> tuple[dict[str, Tensor], list[EpochResult]]:
    """The weights and what was yielded on the way to them."""
    model = network(data)
    epochs = list(train(model, data, policy, recipe, seed=seed, device=CPU, distillation=distillation))
    return model.state_dict(), epochs


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def seen(data: LabeledImages, policy: Policy, recipe: Recipe) -> list[list[Tensor]]:
    """The images of every step of every epoch, as the network got them."""
    model = network(data)
    steps: list[Tensor] = []
    model.register_forward_pre_hook(lambda _, inputs: steps.append(inputs[0].clone()))
    epochs = []
    for _ in train(model, data, policy, recipe, seed=0, device=CPU):
        epochs.append(steps.copy())
        steps.clear()
    return epochs


MIXED = Policy(num_ops=2, magnitude=9, crop=0.5, mixing=Mixing(kind="cutmix"))


def test_the_seed_decides_every_weight_and_every_loss_to_the_last_bit() -> None:
    data = stripes(40)
    weights, epochs = trained(data, MIXED, seed=3)
    # Another state of everybody's generator, which must neither matter nor change.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        before = torch.get_rng_state()
        again, epochs_again = trained(data, MIXED, seed=3)
        assert torch.equal(torch.get_rng_state(), before)
    assert equal(weights, again)
    assert [epoch.loss for epoch in epochs] == [epoch.loss for epoch in epochs_again]


def test_another_seed_trains_another_network() -> None:
    data = stripes(40)
    weights, epochs = trained(data, PLAIN, seed=3)
    others, other_epochs = trained(data, PLAIN, seed=4)
    assert not equal(weights, others)
    assert epochs[0].loss != other_epochs[0].loss


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 120), st.integers(2, 40))
def test_an_epoch_trains_once_on_each_of_the_images_it_counts(count: int, batch_size: int) -> None:
    data = numbered(count)
    recipe = Recipe(epochs=2, batch_size=batch_size)
    _, results = trained(data, PLAIN, recipe)
    orders = []
    for steps, result in zip(seen(data, PLAIN, recipe), results, strict=True):
        assert {len(images) for images in steps} == {result.images // len(steps)}
        assert len(steps[0]) <= batch_size
        order = torch.cat([images[:, 0, 0, 0] for images in steps]).tolist()
        assert len(set(order)) == len(order) == result.images
        assert set(order) <= set(range(count))
        assert result.images > count / 2
        orders.append(order)
    # Of few images two epochs may happen to have the same order.
    assert count < 10 or orders[0] != orders[1]


def test_an_epoch_of_few_images_has_several_steps() -> None:
    for count in (48, 60, 100, 200):
        (steps,) = seen(numbered(count), PLAIN, Recipe(epochs=1))
        assert len(steps) >= 6


def test_epochs_are_numbered_and_say_the_learning_rate_of_their_last_step() -> None:
    recipe = Recipe(epochs=4, learning_rate=0.01, warm_up=0.4)
    _, epochs = trained(stripes(48), PLAIN, recipe)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4]
    assert {epoch.epochs for epoch in epochs} == {4}
    # 48 images are 6 steps of 8, so that the last step of an epoch begins when 5, 11, 17, 23 of 24 are done.
    expected = [0.01 * one_cycle(done / 24, 0.4) for done in (5, 11, 17, 23)]
    assert [epoch.learning_rate for epoch in epochs] == pytest.approx(expected)
    assert all(epoch.seconds > 0 for epoch in epochs)


@settings(deadline=None)
@given(
    st.floats(0.01, 0.99),
    st.lists(st.floats(0, 1), min_size=2, max_size=20),
)
def test_one_cycle_rises_to_1_and_falls_to_0(warm_up: float, moments: list[float]) -> None:
    rising = [one_cycle(moment, warm_up) for moment in sorted(moments) if moment <= warm_up]
    falling = [one_cycle(moment, warm_up) for moment in sorted(moments) if moment >= warm_up]
    # Libraries' cosines wobble in the last bit.
    assert (np.diff(rising) >= 0).all()
    assert (np.diff(falling) <= 1e-12).all()
    assert all(0 <= factor <= 1 for factor in rising + falling)
    assert one_cycle(0, warm_up) > 0
    assert one_cycle(warm_up, warm_up) == 1
    assert one_cycle(warm_up / 2, warm_up) == pytest.approx(0.5)
    assert one_cycle((1 + warm_up) / 2, warm_up) == pytest.approx(0.5)
    assert one_cycle(1, warm_up) == pytest.approx(0, abs=1e-12)


def test_the_last_step_is_a_small_one() -> None:
    _, epochs = trained(stripes(48), PLAIN, Recipe(epochs=3, learning_rate=0.02))
    assert epochs[-1].learning_rate < 0.02 / 40


def test_weights_move_by_the_learning_rate_that_is_said() -> None:
    data = stripes(8)
    model = network(data)
    (weight,) = [weight for name, weight in model.named_parameters() if name == "4.weight"]
    before = weight.detach().clone()
    shares = []
    for epoch in train(model, data, PLAIN, Recipe(epochs=20, weight_decay=0), seed=0, device=CPU):
        # Muon's steps have a size of their own, whatever the gradient's.
        shares.append(((weight - before).norm() / epoch.learning_rate).item())
        before = weight.detach().clone()
    assert max(shares) < 2 * min(shares)


@pytest.mark.parametrize("distillation", [None, Distillation(temperature=3, alpha=0.7)])
def test_the_loss_of_an_epoch_is_the_mean_of_its_steps(distillation: Distillation | None) -> None:
    data = with_teacher(stripes(48), 0)
    # So slow that the network stays as it was.
    recipe = Recipe(epochs=1, learning_rate=1e-12, label_smoothing=0.2)
    _, (epoch,) = trained(data, MIXED, recipe, seed=5, distillation=distillation)
    loss = distilled(distillation, 0.2) if distillation else supervised(0.2)
    steps = batches(data, MIXED, 8, np.random.default_rng(5), CPU, distillation)
    model = network(data)
    losses = [loss(model(batch.images), batch).item() for batch in steps]
    assert len(losses) == 6
    assert epoch.loss == pytest.approx(np.mean(losses), rel=1e-4)


def parts_of(batch: Batch) -> npt.NDArray[np.float64]:
    """(B, N): how much of each image each of a batch's images holds, read from its pixels.

    It is for ``numbered`` images after CutMix.
    """
    images = batch.images[:, 0].flatten(1).numpy()
    return np.stack([np.bincount(image, minlength=images.max() + 1) for image in images]) / images.shape[1]


def padded(parts: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    return np.pad(parts, ((0, 0), (0, count - parts.shape[1])))


def with_teacher(data: LabeledImages, seed: int) -> LabeledImages:
    logits = np.random.default_rng(seed).normal(0, 4, (len(data.labels), data.num_classes))
    return LabeledImages(data.images, data.labels, data.num_classes, logits.astype(np.float32))


def softened(data: LabeledImages, temperature: float) -> npt.NDArray[np.float64]:
    assert data.teacher is not None
    return torch.from_numpy(data.teacher).double().div(temperature).softmax(1).numpy()


@FEW
@given(seeds, st.floats(0.5, 20), st.sampled_from([0.0, 0.5, 1.0]))
def test_cutmix_mixes_labels_and_the_teachers_word_as_it_mixes_pixels(
    seed: int, temperature: float, probability: float
) -> None:
    data = with_teacher(numbered(20, classes=4), seed)
    policy = Policy(num_ops=0, mixing=Mixing(kind="cutmix", probability=probability))
    distillation = Distillation(temperature=temperature, alpha=0.5)
    for batch in batches(data, policy, 6, np.random.default_rng(seed), CPU, distillation):
        parts = padded(parts_of(batch), 20)
        assert batch.teacher is not None
        np.testing.assert_allclose(batch.targets, parts @ np.eye(4)[data.labels], atol=1e-6)
        np.testing.assert_allclose(batch.teacher, parts @ softened(data, temperature), atol=1e-5)


@FEW
@given(seeds, st.floats(0.5, 20))
def test_mixup_mixes_labels_and_the_teachers_word_as_it_mixes_pixels(seed: int, temperature: float) -> None:
    # Of image i only pixel i is white, so that a mixed image says how much it has of each.
    images = (255 * np.eye(20, 25, dtype=np.uint8)).reshape(20, 5, 5, 1)
    data = with_teacher(LabeledImages(images, np.arange(20) % 4, 4), seed)
    policy = Policy(num_ops=0, mixing=Mixing(kind="mixup"))
    distillation = Distillation(temperature=temperature, alpha=0.5)
    for batch in batches(data, policy, 6, np.random.default_rng(seed), CPU, distillation):
        parts = batch.images[:, 0].flatten(1)[:, :20].double().numpy() / 255
        assert batch.teacher is not None
        # A pixel has 255 steps, so a share is known to half of one, and an image has two shares.
        np.testing.assert_allclose(batch.targets, parts @ np.eye(4)[data.labels], atol=1.01 / 255)
        np.testing.assert_allclose(batch.teacher, parts @ softened(data, temperature), atol=1.01 / 255)


def test_a_batch_has_the_augmented_images_with_their_own_labels() -> None:
    data = numbered(20, classes=4)
    policy = Policy(num_ops=1, operations=("invert",))
    (batch,) = batches(data, policy, 20, np.random.default_rng(0), CPU)
    numbers = 255 - batch.images[:, 0, 0, 0].long()
    assert sorted(numbers.tolist()) == list(range(20))
    assert batch.targets.argmax(1).tolist() == (numbers % 4).tolist()
    assert (batch.images.dtype, batch.targets.dtype) == (torch.uint8, torch.float32)
    assert batch.images.shape == (20, 1, 8, 8)
    assert batch.targets.shape == (20, 4)
    assert batch.teacher is None


def test_a_teacher_that_nobody_asks_for_stays_unheard() -> None:
    data = with_teacher(stripes(12), 0)
    (batch,) = batches(data, PLAIN, 12, np.random.default_rng(0), CPU)
    assert batch.teacher is None
    silent = LabeledImages(data.images, data.labels, data.num_classes)
    assert equal(trained(data)[0], trained(silent)[0])


def test_a_distillation_without_a_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher"):
        trained(stripes(12), distillation=Distillation(temperature=4, alpha=0.5))


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_training_leaves_the_images_labels_and_teacher_as_they_were(kind: str) -> None:
    data = with_teacher(stripes(20), 0)
    assert data.teacher is not None
    arrays = (data.images, data.labels, data.teacher)
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    policy = Policy(num_ops=3, magnitude=20, crop=1.0, mixing=Mixing.model_validate({"kind": kind}))
    trained(data, policy, distillation=Distillation(temperature=4, alpha=0.5))
    # No mixing, no operation: the shortest way from the source to a batch.
    for batch in batches(data, PLAIN, 4, np.random.default_rng(0), CPU):
        batch.images.zero_()
        batch.targets.zero_()
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("count", [2, 5, 9])
def test_a_handful_of_images_trains(count: int) -> None:
    weights, epochs = trained(stripes(count, classes=2), MIXED, Recipe(epochs=3))
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert [epoch.images for epoch in epochs] == [min(count, 8)] * 3


def test_what_can_be_learned_is_learned() -> None:
    data, fresh = stripes(200), stripes(100, seed=1)
    model = network(data)
    policy = Policy(num_ops=1, magnitude=3)
    losses = [epoch.loss for epoch in train(model, data, policy, Recipe(epochs=6), seed=0, device=CPU)]
    assert losses[-1] < losses[0] / 2
    assert score(predict(model, fresh.images, CPU), fresh.labels).accuracy > 0.9


def test_a_loss_that_is_no_number_ends_the_training_with_one_clear_line() -> None:
    data = stripes(40)
    training = train(network(data), data, PLAIN, Recipe(epochs=3, learning_rate=1e20), seed=0, device=CPU)
    with pytest.raises(TrainingDivergedError) as error:
        list(training)
    assert str(error.value) == "the loss became nan in epoch 1; lower the learning rate"


def test_nothing_is_trained_before_it_is_asked_for_and_nothing_after_the_last_asking() -> None:
    data = stripes(40)
    model = network(data).eval()
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    training = train(model, data, PLAIN, Recipe(epochs=50), seed=0, device=CPU)
    assert equal(model.state_dict(), fresh)
    assert not model.training

    first = next(training)
    assert first.epoch == 1
    assert model.training
    assert not equal(model.state_dict(), fresh)
    after_one = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    training.close()
    assert equal(model.state_dict(), after_one)
    assert list(training) == []


def test_scoring_between_epochs_does_not_change_the_training() -> None:
    data = stripes(40)
    model = network(data)
    for _ in train(model, data, MIXED, SHORT, seed=0, device=CPU):
        predict(model, data.images, CPU)
    assert equal(model.state_dict(), trained(data, MIXED)[0])
