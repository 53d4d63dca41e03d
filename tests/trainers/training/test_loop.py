"""The training loop: what it does with each image, with its seed and with its time."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from augsearch.policies import TRIVIALAUGMENT, Distillation, Mixing, Policy, UserError
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.evaluation.metrics import TrainingDivergedError, score
from augsearch.trainers.models.build import Normalise, build_model, channel_statistics
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.training import losses
from augsearch.trainers.training.batch import Batch
from augsearch.trainers.training.distributed import Shard
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loader import batches
from augsearch.trainers.training.loop import EpochResult, train
from augsearch.trainers.training.losses import distilled, supervised
from augsearch.trainers.training.recipe import Recipe, one_cycle
from augsearch.trainers.training.setup import TrainingSetup

CPU = torch.device("cpu")
PLAIN = Policy(num_ops=0)
SHORT = Recipe(epochs=2)
FEW = settings(max_examples=30)

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


class Plain(nn.Module):
    """A network without statistics or dropout: what it says of an image depends on no other image."""

    def __init__(self, classes: int, side: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalise = Normalise((100.0,) * 3, (60.0,) * 3, side)
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(8 * (side // 4) ** 2, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.drop(self.body(self.stem(self.normalise(images)).relu()).relu().flatten(1)))


def drawn(seed: int, classes: int = 5, dropout: float = 0.0) -> Plain:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Plain(classes, dropout=dropout)


def trained(
    data: LabeledImages,
    policy: Policy = TRIVIALAUGMENT,
    recipe: Recipe = SHORT,
    *,
    model: nn.Module | None = None,
    **options: Any,
) -> tuple[dict[str, Tensor], list[EpochResult]]:
    """The weights and what was yielded on the way to them."""
    learner = Learner.prepare(model or network(data), recipe)
    settings: dict[str, Any] = {"seed": 0, "device": CPU, **options}
    epochs = list(train(learner, TrainingSetup(data, policy, recipe, **settings)))
    return learner.model.state_dict(), epochs


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def seen(data: LabeledImages, policy: Policy, recipe: Recipe) -> list[list[Tensor]]:
    """The images of every step of every epoch, as the network got them."""
    model = network(data)
    steps: list[Tensor] = []
    model.register_forward_pre_hook(lambda _, inputs: steps.append(inputs[0].clone()))
    epochs = []
    for _ in train(Learner.prepare(model, recipe), TrainingSetup(data, policy, recipe, seed=0, device=CPU)):
        epochs.append(steps.copy())
        steps.clear()
    return epochs


MIXED = Policy(num_ops=2, magnitude=9, crop=0.5, mixing=Mixing(kind="cutmix"))
SAME = Distillation(temperature=3, alpha=0.7)
CLEAN = Distillation(temperature=3, alpha=0.7, teacher_view="clean")


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


@settings(max_examples=20)
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
    # Muon's; all that AdamW moves learns half as fast.
    # 48 images are 6 steps of 8, so that the last step of an epoch begins when 5, 11, 17, 23 of 24 are done.
    expected = [0.01 * one_cycle(done / 24, 0.4) for done in (5, 11, 17, 23)]
    assert [epoch.learning_rate for epoch in epochs] == pytest.approx(expected)
    assert [epoch.rates["convolutions"] for epoch in epochs] == pytest.approx(expected)
    assert [2 * epoch.rates["other"] for epoch in epochs] == pytest.approx(expected)
    assert all(0 <= epoch.waiting <= epoch.seconds for epoch in epochs)
    assert all(epoch.seconds > 0 for epoch in epochs)


def test_the_last_step_is_a_small_one() -> None:
    _, epochs = trained(stripes(48), PLAIN, Recipe(epochs=3, learning_rate=0.02))
    assert epochs[-1].learning_rate < 0.02 / 40


def test_weights_move_by_the_learning_rate_that_is_said() -> None:
    data = stripes(8)
    model = network(data)
    (weight,) = [weight for name, weight in model.named_parameters() if name == "4.weight"]
    before = weight.detach().clone()
    shares = []
    recipe = Recipe(epochs=20, weight_decay=0)
    for epoch in train(
        Learner.prepare(model, recipe), TrainingSetup(data, PLAIN, recipe, seed=0, device=CPU)
    ):
        # Muon's steps have a size of their own, whatever the gradient's.
        shares.append(((weight - before).norm() / epoch.learning_rate).item())
        before = weight.detach().clone()
    assert max(shares) < 2 * min(shares)


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("distillation", [None, SAME, CLEAN], ids=["none", "same", "clean"])
def test_the_loss_of_an_epoch_is_the_mean_of_its_steps(
    distillation: Distillation | None, accumulation: int
) -> None:
    data, model, teacher = with_teacher(stripes(48), 0), drawn(0), drawn(1)
    # So slow that the network stays as it was.
    recipe = Recipe(
        epochs=1,
        learning_rate=1e-12,
        label_smoothing=0.2,
        precision="float32",
        accumulation=accumulation,
    )
    _, (epoch,) = trained(
        data, MIXED, recipe, seed=5, model=model, distillation=distillation, teacher=teacher
    )
    loss = distilled(distillation, 0.2) if distillation else supervised(0.2)
    found = []
    for batch in batches(
        TrainingSetup(data, MIXED, Recipe(batch_size=8), seed=5, device=CPU, distillation=distillation),
        epoch=0,
    ):
        taught = batch
        if distillation is SAME:
            taught = replace(batch, teacher=losses.softened(teacher(batch.images), SAME.temperature))
        found.append(loss(model(batch.images), taught).item())
    assert len(found) == 6
    assert epoch.loss == pytest.approx(np.mean(found), rel=1e-4)


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
    clean = Distillation(temperature=temperature, alpha=0.5, teacher_view="clean")
    for batch in batches(
        TrainingSetup(data, policy, Recipe(batch_size=6), seed=seed, device=CPU, distillation=clean), epoch=1
    ):
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
    clean = Distillation(temperature=temperature, alpha=0.5, teacher_view="clean")
    for batch in batches(
        TrainingSetup(data, policy, Recipe(batch_size=6), seed=seed, device=CPU, distillation=clean), epoch=1
    ):
        parts = batch.images[:, 0].flatten(1)[:, :20].double().numpy() / 255
        assert batch.teacher is not None
        # A pixel has 255 steps, so a share is known to half of one, and an image has two shares.
        np.testing.assert_allclose(batch.targets, parts @ np.eye(4)[data.labels], atol=1.01 / 255)
        np.testing.assert_allclose(batch.teacher, parts @ softened(data, temperature), atol=1.01 / 255)


def test_a_batch_has_the_augmented_images_with_their_own_labels() -> None:
    data = numbered(20, classes=4)
    policy = Policy(num_ops=1, operations=("invert",))
    found = list(batches(TrainingSetup(data, policy, Recipe(batch_size=5), seed=0, device=CPU), epoch=0))
    numbers = [255 - batch.images[:, 0, 0, 0].long() for batch in found]
    assert sorted(torch.cat(numbers).tolist()) == list(range(20))
    for batch, inside in zip(found, numbers, strict=True):
        assert torch.equal(batch.targets, torch.eye(4)[inside % 4])
        assert (batch.images.dtype, batch.targets.dtype) == (torch.uint8, torch.float32)
        assert batch.images.shape == (5, 1, 8, 8)
        assert batch.teacher is None


def test_a_teacher_that_nobody_asks_for_is_not_asked() -> None:
    data = with_teacher(stripes(12), 0)
    for asked in (None, SAME):
        for batch in batches(
            TrainingSetup(data, PLAIN, Recipe(batch_size=6), seed=0, device=CPU, distillation=asked), epoch=0
        ):
            assert batch.teacher is None
    silent = LabeledImages(data.images, data.labels, data.num_classes)
    assert equal(trained(data)[0], trained(silent)[0])


@pytest.mark.parametrize("distillation", [SAME, CLEAN], ids=["same", "clean"])
def test_a_distillation_without_its_teacher_is_refused(distillation: Distillation) -> None:
    known = with_teacher(stripes(12), 0) if distillation is SAME else stripes(12)
    with pytest.raises(ValueError, match="teacher"):
        trained(known, distillation=distillation, teacher=None if distillation is SAME else drawn(1))


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_training_leaves_the_images_labels_and_teacher_as_they_were(kind: str) -> None:
    data = with_teacher(stripes(20), 0)
    assert data.teacher is not None
    arrays = (data.images, data.labels, data.teacher)
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    policy = Policy(num_ops=3, magnitude=20, crop=1.0, mixing=Mixing.model_validate({"kind": kind}))
    trained(data, policy, distillation=CLEAN)
    # No mixing, no operation: the shortest way from the source to a batch.
    for batch in batches(TrainingSetup(data, PLAIN, Recipe(batch_size=4), seed=0, device=CPU), epoch=0):
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
    _, epochs = trained(data, policy, Recipe(epochs=6), model=model)
    assert epochs[-1].loss < epochs[0].loss / 2
    assert score(predict(model, fresh.images, CPU), fresh.labels).accuracy > 0.9


def test_a_loss_that_is_no_number_ends_the_training_with_one_clear_line() -> None:
    data = stripes(40)
    with pytest.raises(TrainingDivergedError) as error:
        trained(data, PLAIN, Recipe(epochs=3, learning_rate=1e20))
    assert str(error.value) == "the loss became nan in epoch 1; lower the learning rate"


def test_nothing_is_trained_before_it_is_asked_for_and_nothing_after_the_last_asking() -> None:
    data = stripes(40)
    model = network(data).eval()
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    recipe = Recipe(epochs=50)
    training = train(Learner.prepare(model, recipe), TrainingSetup(data, PLAIN, recipe, seed=0, device=CPU))
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
    for _ in train(Learner.prepare(model, SHORT), TrainingSetup(data, MIXED, SHORT, seed=0, device=CPU)):
        predict(model, data.images, CPU)
    assert equal(model.state_dict(), trained(data, MIXED)[0])


@FEW
@given(seeds, st.sampled_from(["cutmix", "mixup"]), st.integers(3, 24))
def test_a_mixed_label_says_how_much_of_each_class_can_be_seen(seed: int, kind: str, side: int) -> None:
    # Grey says the class: 0, 80, 160, 240.
    labels = np.arange(24) % 4
    images = np.broadcast_to((80 * labels).astype(np.uint8)[:, None, None, None], (24, side, side, 1))
    data = LabeledImages(np.ascontiguousarray(images), labels, 4)
    policy = Policy(num_ops=0, mixing=Mixing.model_validate({"kind": kind, "probability": 0.9}))
    for batch in batches(TrainingSetup(data, policy, Recipe(batch_size=8), seed=seed, device=CPU), epoch=0):
        grey = batch.images[:, 0].double()
        torch.testing.assert_close(batch.targets.sum(1), torch.ones(8))
        if kind == "cutmix":
            seen = torch.stack([(grey == 80 * label).double().mean((1, 2)) for label in range(4)], dim=1)
            torch.testing.assert_close(batch.targets.double(), seen, rtol=0, atol=1e-6)
        else:
            blend = batch.targets.double() @ torch.tensor([0.0, 80, 160, 240], dtype=torch.float64)
            expected = blend[:, None, None].expand_as(grey)
            torch.testing.assert_close(grey, expected, rtol=0, atol=0.5001)


def test_the_network_is_shown_the_batches_and_nothing_else() -> None:
    data = stripes(40)
    for epoch, steps in enumerate(seen(data, MIXED, SHORT)):
        expected = [
            batch.images
            for batch in batches(
                TrainingSetup(data, MIXED, Recipe(batch_size=64), seed=0, device=CPU), epoch=epoch
            )
        ]
        assert all(torch.equal(one, other) for one, other in zip(steps, expected, strict=True))


def random_states() -> list[bytes]:
    kept = np.random.get_state(legacy=False)  # noqa: NPY002
    return [repr(kept).encode(), repr(random.getstate()).encode(), torch.get_rng_state().numpy().tobytes()]


@pytest.mark.parametrize("distillation", [None, SAME], ids=["alone", "distilled"])
def test_everybodys_generators_neither_matter_nor_change(distillation: Distillation | None) -> None:
    data, found = stripes(40), []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            before = random_states()
            model = drawn(0, dropout=0.5)
            found.append(
                trained(data, MIXED, model=model, seed=9, distillation=distillation, teacher=drawn(1))
            )
            assert random_states() == before
    (weights, epochs), (others, other_epochs) = found
    assert equal(weights, others)
    assert [epoch.loss for epoch in epochs] == [epoch.loss for epoch in other_epochs]


class FewAtOnce(LabeledImages):
    """Images that are augmented a few at a time, so that an epoch has many chunks."""

    @property
    def at_once(self) -> int:
        """Two batches."""
        return 16


def test_every_epoch_chunk_and_seed_is_random_in_its_own_way() -> None:
    drawn_from: list[str] = []

    class Noted(FewAtOnce):
        def views(
            self, chosen: npt.NDArray[np.int64], policy: Policy, rng: np.random.Generator
        ) -> npt.NDArray[np.uint8]:
            drawn_from.append(str(rng.bit_generator.state))
            return super().views(chosen, policy, rng)

    plain = stripes(64)
    data = Noted(plain.images, plain.labels, plain.num_classes)
    dropped_from = []
    for seed in (1, 2):
        model = drawn(0, dropout=0.5)
        model.drop.register_forward_pre_hook(
            lambda *_: dropped_from.append(torch.get_rng_state().numpy().tobytes())
        )
        for rank in range(2):
            trained(data, PLAIN, Recipe(epochs=2, batch_size=8), model=model, seed=seed, shard=Shard(rank, 2))
    # 2 seeds, 2 processes, 2 epochs, and in each 4 chunks of 2 steps.
    assert len(drawn_from) == len(set(drawn_from)) == 32
    assert len(dropped_from) == len(set(dropped_from)) == 64


def few_at_once(threads: int) -> FewAtOnce:
    plain = stripes(60)
    return FewAtOnce(plain.images, plain.labels, plain.num_classes, threads=threads)


def test_batches_that_threads_make_ahead_are_those_made_when_wanted() -> None:
    recipe = Recipe(epochs=2, batch_size=8)
    weights, epochs = trained(few_at_once(0), MIXED, recipe, model=drawn(0, dropout=0.5))
    for threads in (1, 2):
        others, other_epochs = trained(few_at_once(threads), MIXED, recipe, model=drawn(0, dropout=0.5))
        assert equal(weights, others)
        assert [epoch.loss for epoch in epochs] == [epoch.loss for epoch in other_epochs]


class Failing(Plain):
    """A network that gives up."""

    def forward(self, images: Tensor) -> Tensor:
        """Nothing."""
        raise RuntimeError("no answer")


def test_a_training_that_ends_early_leaves_no_thread_behind() -> None:
    before = {*threading.enumerate()}
    learner = Learner.prepare(Failing(5), SHORT)
    training = train(learner, TrainingSetup(few_at_once(2), MIXED, SHORT, seed=0, device=CPU))
    with pytest.raises(RuntimeError, match="no answer"):
        next(training)
    del training
    assert {*threading.enumerate()} <= before  # others' may have ended meanwhile


def test_an_error_of_the_network_is_passed_on() -> None:
    with pytest.raises(RuntimeError, match="no answer"):
        trained(stripes(20), model=Failing(5))


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_teacher_sees_exactly_what_the_student_sees(accumulation: int) -> None:
    data, student, teacher = stripes(40), drawn(0), drawn(1, dropout=0.5).eval()
    shown: dict[str, list[Tensor]] = {"student": [], "teacher": []}
    graded: list[bool] = []
    for name, model in (("student", student), ("teacher", teacher)):

        def note(_: nn.Module, inputs: tuple[Tensor], name: str = name) -> None:
            shown[name].append(inputs[0].clone())

        model.register_forward_pre_hook(note)
    teacher.register_forward_pre_hook(lambda *_: graded.append(torch.is_grad_enabled()))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    recipe = Recipe(epochs=2, accumulation=accumulation)
    trained(data, MIXED, recipe, model=student, distillation=SAME, teacher=teacher)
    assert len(shown["student"]) == 2 * 5 * accumulation
    for own, others in zip(shown["student"], shown["teacher"], strict=True):
        assert torch.equal(own, others)
    assert not any(graded)
    assert all(weight.grad is None for weight in teacher.parameters())
    assert equal(teacher.state_dict(), before)
    assert not teacher.training


@pytest.mark.parametrize("view", ["same", "clean"])
def test_a_teacher_whose_word_weighs_nothing_changes_nothing(view: str) -> None:
    data = with_teacher(stripes(40), 0)
    deaf = Distillation.model_validate({"temperature": 7, "alpha": 0, "teacher_view": view})
    weights, epochs = trained(data, MIXED)
    others, other_epochs = trained(data, MIXED, distillation=deaf, teacher=drawn(1))
    assert equal(weights, others)
    assert [epoch.loss for epoch in epochs] == [epoch.loss for epoch in other_epochs]


def test_the_same_view_is_learned_from_another_word_than_the_clean_one() -> None:
    data, teacher = stripes(40), drawn(1)
    known = LabeledImages(data.images, data.labels, 5, predict(teacher, data.images, CPU))
    same, _ = trained(known, MIXED, distillation=SAME, teacher=teacher)
    clean, _ = trained(known, MIXED, distillation=CLEAN)
    assert not equal(same, clean)
    # But for images that nothing is done to, they say the same.
    recipe = Recipe(epochs=1, precision="float32", learning_rate=1e-12)
    _, (one,) = trained(known, PLAIN, recipe, distillation=SAME, teacher=teacher)
    _, (other,) = trained(known, PLAIN, recipe, distillation=CLEAN)
    assert one.loss == pytest.approx(other.loss, rel=1e-5)


def gradients(
    model: nn.Module, accumulation: int, distillation: Distillation | None = None
) -> tuple[list[list[Tensor]], int]:
    """What an epoch's steps are given, and into how many parts the last batch was divided."""
    data = stripes(60)
    # So slow that the network stays as it was.
    recipe = Recipe(
        epochs=1, batch_size=10, accumulation=accumulation, learning_rate=1e-12, precision="float32"
    )
    learner = Learner.prepare(model, recipe)
    found: list[list[Tensor]] = []

    def note(*_: Any) -> None:
        found.append([weight.grad.clone() for weight in model.parameters() if weight.grad is not None])

    learner.optimizers[0].register_step_pre_hook(note)
    (epoch,) = train(
        learner,
        TrainingSetup(data, MIXED, recipe, seed=0, device=CPU, distillation=distillation, teacher=drawn(1)),
    )
    return found, epoch.accumulation


def gradients_by_hand(distillation: Distillation | None = None) -> list[list[Tensor]]:
    model, teacher = drawn(0), drawn(1)
    loss = distilled(distillation, 0.1) if distillation else supervised(0.1)
    found = []
    for batch in batches(
        TrainingSetup(stripes(60), MIXED, Recipe(batch_size=10), seed=0, device=CPU), epoch=0
    ):
        taught = replace(batch, teacher=losses.softened(teacher(batch.images), SAME.temperature))
        whole = torch.autograd.grad(loss(model(batch.images), taught), list(model.parameters()))
        found.append(list(whole))
    return found


@pytest.mark.parametrize("accumulation", [1, 2, 4, 5])
@pytest.mark.parametrize("distillation", [None, SAME], ids=["alone", "distilled"])
def test_the_gradient_of_a_step_is_that_of_the_whole_batch_in_however_many_parts(
    accumulation: int, distillation: Distillation | None
) -> None:
    found, used = gradients(drawn(0), accumulation, distillation)
    assert (len(found), used) == (6, accumulation)
    torch.testing.assert_close(found, gradients_by_hand(distillation), rtol=1e-4, atol=1e-6)


def test_what_a_step_has_added_up_before_memory_ran_out_does_not_count() -> None:
    model = drawn(0)
    calls: list[int] = []

    def run_out(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 4:  # the second part of the second step
            raise torch.OutOfMemoryError

    model.head.register_forward_hook(run_out)
    found, used = gradients(model, 2)
    assert used == 4
    assert len(calls) == 2 + 2 + 5 * 4
    torch.testing.assert_close(found, gradients_by_hand(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("asked", "used"), [(4, 4), (5, 4), (1000, 4)])
def test_no_part_of_a_batch_has_a_single_image(asked: int, used: int) -> None:
    data = stripes(40)
    model = network(data)
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    _, (epoch,) = trained(data, PLAIN, Recipe(epochs=1, accumulation=asked), model=model)
    assert epoch.accumulation == used
    assert sizes == [2] * 20


class Cramped(nn.Module):
    """Memory for so many images at a time, in front of a network."""

    def __init__(self, network: nn.Module, room: int, real: bool) -> None:
        super().__init__()
        self.network, self.room, self.real = network, room, real
        self.refused: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        """Logits, if there is room."""
        if len(images) > self.room:
            self.refused.append(len(images))
            if self.real:
                torch.empty(2**60, dtype=torch.uint8)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nAnd so on")
        return self.network(images)


@pytest.mark.parametrize("real", [False, True], ids=["of a GPU", "of this machine"])
def test_where_memory_runs_out_a_batch_is_divided_as_if_it_had_been_asked_for(real: bool) -> None:
    data = stripes(96)
    model = Cramped(network(data), room=5, real=real)
    weights, epochs = trained(data, MIXED, Recipe(epochs=2, batch_size=16), model=model)
    assert [epoch.accumulation for epoch in epochs] == [4, 4]
    # Once for the whole and once for its half; from then on it is known.
    assert model.refused == [16, 8]
    asked, others = trained(
        data, MIXED, Recipe(epochs=2, batch_size=16, accumulation=4), model=Cramped(network(data), 16, real)
    )
    assert equal(weights, asked)
    assert [epoch.loss for epoch in epochs] == [epoch.loss for epoch in others]


def test_a_teacher_that_fills_the_memory_is_asked_of_parts_too() -> None:
    teacher = Cramped(drawn(1), room=3, real=False)
    _, (epoch,) = trained(
        stripes(48), MIXED, Recipe(epochs=1), model=drawn(0), distillation=SAME, teacher=teacher
    )
    assert epoch.accumulation == 4
    assert teacher.refused == [8, 4]


def test_where_not_even_two_images_fit_one_line_says_what_to_do() -> None:
    data = stripes(48)
    with pytest.raises(UserError) as error:
        trained(data, PLAIN, Recipe(epochs=1), model=Cramped(network(data), 1, False))
    assert str(error.value) == (
        "out of memory even with 2 images at a time; use a smaller --image-size or network"
    )


def test_one_of_several_processes_does_not_begin_a_step_anew() -> None:
    """The others would wait for its gradients for ever."""
    data = stripes(48)
    learner = Learner.prepare(Cramped(network(data), 5, False), SHORT)
    learner.parallel = learner.model
    with pytest.raises(
        UserError, match="out of memory with 8 images at a time; give a larger --accumulation"
    ):
        next(train(learner, TrainingSetup(data, PLAIN, SHORT, seed=0, device=CPU)))


@settings(max_examples=20)
@given(st.integers(8, 100), st.integers(8, 40), st.integers(2, 4), st.booleans())
def test_the_shards_of_each_batch_together_are_the_batch(
    count: int, batch_size: int, processes: int, mixed: bool
) -> None:
    data = with_teacher(numbered(count), 0)
    recipe = Recipe(batch_size=batch_size)
    setup = TrainingSetup(data, PLAIN, recipe, seed=3, device=CPU, distillation=CLEAN)
    whole = list(batches(setup, epoch=1))
    shards = [
        list(batches(replace(setup, shard=Shard(rank, processes)), epoch=1)) for rank in range(processes)
    ]
    for batch, *parts in zip(whole, *shards, strict=True):
        sizes = [len(part.images) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        numbers = torch.cat([part.images[:, 0, 0, 0] for part in parts])
        order = numbers.argsort()
        expected = batch.images[:, 0, 0, 0].argsort()
        for field in ("images", "targets", "teacher"):
            together = torch.cat([getattr(part, field) for part in parts])[order]
            assert torch.equal(together, getattr(batch, field)[expected])
    # Each process augments in its own way, and mixes its own images with their own labels.
    if mixed and count >= 16:
        policy = Policy(num_ops=0, mixing=Mixing(kind="cutmix"))
        for rank in range(2):
            for batch in batches(replace(setup, policy=policy, shard=Shard(rank, 2)), epoch=1):
                parts_seen = padded(parts_of(batch), count)
                np.testing.assert_allclose(batch.targets, parts_seen @ np.eye(3)[data.labels], atol=1e-6)


def test_an_epoch_counts_the_images_of_all_processes() -> None:
    data = stripes(63)
    counts = {
        trained(data, PLAIN, Recipe(epochs=1, batch_size=9), shard=Shard(rank, 2))[1][0].images
        for rank in range(2)
    }
    assert counts == {63}
