"""CutMix and MixUp: labels that say what the pixels hold, on arrays and on tensors alike."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from augsearch.policies import Mixing, UserError, draw_mix
from augsearch.policies.mixing import Mix
from augsearch.policies.tensor import TensorMixing, _mixed

CUTMIX, MIXUP = Mixing(kind="cutmix"), Mixing(kind="mixup")

mixings = st.builds(
    Mixing,
    kind=st.sampled_from(["cutmix", "mixup"]),
    alpha=st.floats(0.05, 10),
    probability=st.sampled_from([0.0, 0.5, 1.0]),
)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 24), st.integers(1, 24), st.sampled_from([1, 3]))
seeds = st.integers(0, 2**32)
ordinary = settings(max_examples=200)


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def numbered(count: int, height: int, width: int, channels: int) -> np.ndarray:
    """Image i is i everywhere, so that a mixed one says what it holds."""
    return np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None, None], (count, height, width, channels)
    ).copy()


@given(shape=shapes, alpha=st.floats(0.05, 10), seed=seeds)
@ordinary
def test_cutmix_label_weights_are_the_shares_of_pixels(
    shape: tuple[int, int, int, int], alpha: float, seed: int
) -> None:
    count, height, width, _ = shape
    transform = Mixing(kind="cutmix", alpha=alpha).batch_transform(classes=count, seed=seed)
    mixed, labels = transform(numbered(*shape), np.arange(count))
    pixels = mixed[..., 0].reshape(count, -1)
    shares = np.stack([np.bincount(own, minlength=count) for own in pixels]) / (height * width)
    np.testing.assert_allclose(labels, shares, atol=1e-7)  # float32


@given(shape=shapes, alpha=st.floats(0.05, 10), seed=seeds)
@ordinary
def test_cutmix_changes_one_rectangle_and_takes_it_from_one_partner_in_place(
    shape: tuple[int, int, int, int], alpha: float, seed: int
) -> None:
    images = noise(shape)
    mix = draw_mix(Mixing(kind="cutmix", alpha=alpha), shape[0], shape[1:3], np.random.default_rng(seed))
    if mix is None:
        assert shape[0] == 1
        return
    assert mix.box is not None
    top, left, bottom, right = mix.box
    assert 0 <= top <= bottom <= shape[1]
    assert 0 <= left <= right <= shape[2]
    mixed = mix.images(images)
    inside = np.zeros(shape[1:3], dtype=bool)
    inside[top:bottom, left:right] = True
    np.testing.assert_array_equal(mixed[:, ~inside], images[:, ~inside])
    np.testing.assert_array_equal(mixed[:, inside], images[mix.partners][:, inside])


@given(shape=shapes, alpha=st.floats(0.05, 10), seed=seeds)
@ordinary
def test_mixup_is_numpys_weighted_mean(shape: tuple[int, int, int, int], alpha: float, seed: int) -> None:
    mixing, images = Mixing(kind="mixup", alpha=alpha), noise(shape)
    targets = np.eye(shape[0], dtype=np.float32)
    mix = draw_mix(mixing, shape[0], shape[1:3], np.random.default_rng(seed))
    mixed, labels = mixing.batch_transform(shape[0], seed)(images, np.arange(shape[0]))
    if mix is None:
        assert shape[0] == 1
        np.testing.assert_array_equal(mixed, images)
        return
    expected = mix.kept * images + (1 - mix.kept) * images[mix.partners]
    assert np.abs(mixed - expected).max() <= 0.5 + 1e-4
    np.testing.assert_allclose(labels, mix.kept * targets + (1 - mix.kept) * targets[mix.partners], atol=1e-6)


@given(mixing=mixings, shape=shapes, seed=seeds)
@ordinary
def test_mixed_labels_are_probabilities_and_no_input_changes(
    mixing: Mixing, shape: tuple[int, int, int, int], seed: int
) -> None:
    images, labels = noise(shape), np.random.default_rng(seed).integers(0, 7, shape[0])
    before = images.copy(), labels.copy()
    mixed, targets = mixing.batch_transform(classes=7, seed=seed)(images, labels)
    assert (mixed.shape, mixed.dtype) == (images.shape, np.uint8)
    assert (targets.shape, targets.dtype) == ((shape[0], 7), np.float32)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert targets.min() >= 0
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(labels, before[1])


@given(count=st.integers(2, 64), seed=seeds, kind=st.sampled_from(["cutmix", "mixup"]))
@ordinary
def test_every_image_is_the_partner_of_one(count: int, seed: int, kind: Any) -> None:
    mix = draw_mix(Mixing(kind=kind), count, (8, 8), np.random.default_rng(seed))
    assert mix is not None
    assert sorted(mix.partners.tolist()) == [*range(count)]
    assert 0 <= mix.kept <= 1


@pytest.mark.parametrize("mixing", [CUTMIX, MIXUP], ids=["cutmix", "mixup"])
def test_the_kept_share_is_drawn_from_beta(mixing: Mixing) -> None:
    rng = np.random.default_rng(0)
    mixes = [draw_mix(mixing, 2, (64, 64), rng) for _ in range(4000)]
    kept = np.array([mix.kept for mix in mixes if mix])
    if mixing.kind == "mixup":  # Beta(1, 1) is uniform
        np.testing.assert_allclose(np.quantile(kept, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.03)
    else:  # the rectangle is clipped at the border
        assert 0.5 < kept.mean() < 0.75


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_probability_zero_is_one_hot_labels_and_the_very_images(kind: Any) -> None:
    mixing = Mixing(kind=kind, probability=0)
    images, labels = noise((5, 7, 9, 3)), np.array([0, 3, 1, 1, 2])
    for transform in (mixing.batch_transform(4, seed=0), mixing.batch_transform(4, seed=1)):
        mixed, targets = transform(images, labels)
        np.testing.assert_array_equal(mixed, images)
        np.testing.assert_array_equal(targets, np.eye(4, dtype=np.float32)[labels])


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
@pytest.mark.parametrize("shape", [(0, 5, 4, 1), (1, 5, 4, 1), (4, 0, 5, 3), (4, 5, 0, 3)])
def test_batches_of_one_and_of_nothing_come_back_as_they_are(kind: Any, shape: tuple[int, ...]) -> None:
    images, labels = noise(shape), np.zeros(shape[0], dtype=np.int64)
    mixed, targets = Mixing(kind=kind).batch_transform(3, seed=0)(images, labels)
    assert mixed is images
    assert targets.tolist() == [[1, 0, 0]] * shape[0]
    tensors = to_tensor(images)
    ours, our_targets = TensorMixing(Mixing(kind=kind), 3, seed=0)(tensors, torch.from_numpy(labels))
    assert ours is tensors
    assert our_targets.tolist() == [[1, 0, 0]] * shape[0]


def to_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@given(mixing=mixings, shape=shapes, seed=seeds, soft=st.booleans())
@ordinary
def test_tensors_are_mixed_as_arrays(
    mixing: Mixing, shape: tuple[int, int, int, int], seed: int, soft: bool
) -> None:
    images, rng = noise(shape), np.random.default_rng(seed)
    labels = rng.dirichlet(np.ones(5), shape[0]).astype(np.float32) if soft else rng.integers(0, 5, shape[0])
    mixed, targets = mixing.batch_transform(5, seed)(images, labels)
    ours, our_targets = TensorMixing(mixing, 5, seed)(to_tensor(images), torch.from_numpy(labels))
    ours = ours.permute(0, 2, 3, 1).numpy()
    if mixing.kind == "cutmix":
        np.testing.assert_array_equal(ours, mixed)
    else:
        assert np.abs(ours.astype(int) - mixed).max() <= 1
        mix = draw_mix(mixing, shape[0], shape[1:3], np.random.default_rng(seed))
        if mix is not None:
            exact = mix.kept * images + (1 - mix.kept) * images[mix.partners]
            assert np.abs(ours - exact).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(our_targets.numpy(), targets)
    assert our_targets.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("mixing", [CUTMIX, MIXUP], ids=["cutmix", "mixup"])
def test_floating_tensors_of_any_range_keep_their_dtype(mixing: Mixing, dtype: torch.dtype) -> None:
    images = torch.randn((6, 3, 10, 12), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(6)
    precise, targets = TensorMixing(mixing, 6, seed=3)(images, labels)
    mixed, same_targets = TensorMixing(mixing, 6, seed=3)(images.to(dtype), labels)
    assert mixed.dtype == dtype
    torch.testing.assert_close(mixed.double(), precise, atol=6 * torch.finfo(dtype).eps, rtol=0)
    assert torch.equal(targets, same_targets)


def test_gradients_flow_through_mixed_tensors() -> None:
    for mixing in (CUTMIX, MIXUP):
        images = torch.rand(4, 3, 8, 8, requires_grad=True)
        TensorMixing(mixing, 4, seed=0)(images, torch.arange(4))[0].sum().backward()
        assert images.grad is not None
        torch.testing.assert_close(images.grad.sum(), torch.tensor(4.0 * 3 * 8 * 8))


def test_after_eval_nothing_is_mixed_and_labels_are_still_probabilities() -> None:
    images, labels = to_tensor(noise((4, 8, 8, 3))), torch.tensor([0, 1, 2, 1])
    mixed, targets = TensorMixing(CUTMIX, 3, seed=0).eval()(images, labels)
    assert mixed is images
    assert torch.equal(targets, torch.eye(3)[labels])


@pytest.mark.parametrize("copied", [lambda mixer: pickle.loads(pickle.dumps(mixer)), copy.deepcopy])
def test_a_seed_repeats_itself_and_a_copy_goes_on_where_it_was(copied: Any) -> None:
    images, labels = noise((8, 12, 12, 3)), np.arange(8)
    for make, arguments in (
        (lambda: MIXUP.batch_transform(8, seed=5), (images, labels)),
        (lambda: TensorMixing(MIXUP, 8, seed=5), (to_tensor(images), torch.from_numpy(labels))),
    ):
        first, again = make(), make()
        once = [first(*arguments)[1] for _ in range(3)]
        for one, other in zip(once, (again(*arguments)[1] for _ in range(3)), strict=True):
            np.testing.assert_array_equal(one, other)
        assert not np.array_equal(once[0], once[1])
        np.testing.assert_array_equal(copied(first)(*arguments)[1], first(*arguments)[1])
        assert "seed=5" in repr(first)
        assert "mixup" in repr(first)


class Collate:
    """Stacks images and labels, and mixes them."""

    def __init__(self) -> None:
        self.mix = TensorMixing(MIXUP, 12, seed=0)

    def __call__(self, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = zip(*pairs, strict=True)
        mixed: tuple[torch.Tensor, torch.Tensor] = self.mix(torch.stack(images), torch.stack(labels))
        return mixed


def test_works_in_the_workers_of_a_loader_with_a_stream_for_each() -> None:
    data = TensorDataset(to_tensor(noise((12, 8, 8, 3))), torch.arange(12) % 6)

    def two_batches() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(3)
        loader = DataLoader(data, 6, num_workers=2, generator=generator, collate_fn=Collate())
        return [targets for _, targets in loader]

    first, second = two_batches()
    assert not torch.equal(first, second)
    for batch, again in zip((first, second), two_batches(), strict=True):
        assert torch.equal(batch, again)


@pytest.mark.parametrize("kind", ["CutMix", "MixUp"])
def test_agrees_with_torchvision_for_the_same_box_and_weight(kind: str) -> None:
    images, labels = torch.rand(6, 3, 20, 30), torch.arange(6)
    partners = np.roll(np.arange(6), 1)
    theirs = getattr(v2, kind)(num_classes=6)
    for seed in range(20):
        torch.manual_seed(seed)
        params = theirs.make_params([images])
        torch.manual_seed(seed)
        mixed, targets = theirs(images, labels)
        if kind == "CutMix":
            left, top, right, bottom = params["box"]
            mix = Mix(partners, params["lam_adjusted"], (top, left, bottom, right))
        else:
            mix = Mix(partners, params["lam"], None)
        torch.testing.assert_close(_mixed(images, mix, torch.from_numpy(partners)), mixed)
        torch.testing.assert_close(mix.targets(torch.eye(6)), targets)


def test_agrees_with_kornia_for_the_same_box() -> None:
    kornia = pytest.importorskip("kornia.augmentation")
    images, labels = torch.rand(6, 3, 20, 30), torch.arange(6)
    theirs = kornia.RandomCutMixV2(same_on_batch=True, data_keys=["input", "class"], use_correct_lambda=True)
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, pairs = theirs(images, labels)
        (left, top), _, (right, bottom), _ = theirs._params["crop_src"][0, 0].int().tolist()
        partners = theirs._params["mix_pairs"][0].numpy()
        cut = (bottom + 1 - top) * (right + 1 - left)
        mix = Mix(partners, 1 - cut / 600, (top, left, bottom + 1, right + 1))
        torch.testing.assert_close(_mixed(images, mix, torch.from_numpy(partners)), mixed)
        own, others, kept = pairs[0].unbind(1)
        theirs_soft = (
            kept[:, None] * torch.eye(6)[own.long()] + (1 - kept)[:, None] * torch.eye(6)[others.long()]
        )
        torch.testing.assert_close(mix.targets(torch.eye(6)), theirs_soft)


IMAGES = noise((4, 6, 6, 3))
RIGHT = np.arange(4)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES / 255, RIGHT, r"images must be a uint8 .*, got float64 \(4, 6, 6, 3\)"),
        (IMAGES[0], RIGHT, r"images must be .*\(B, .*, got .*uint8 \("),
        (
            IMAGES,
            RIGHT / 2,
            r"labels must be whole numbers \(B,\) or probabilities \(B, 4\), got .*float64 \(4,\)",
        ),
        (IMAGES, RIGHT > 1, "labels must be whole numbers .* got .*bool"),
        (IMAGES, np.eye(4, 3, dtype=np.float32), r"labels must be .* got .*float32 \(4, 3\)"),
        (IMAGES, np.eye(4, dtype=np.int64), r"labels must be .* got .*int64 \(4, 4\)"),
        (IMAGES, RIGHT[:3], "there must be a label for each of the 4 images, got 3"),
        (IMAGES, RIGHT + 1, "labels must lie in 0–3, got 1 to 4"),
        (IMAGES, RIGHT - 1, "labels must lie in 0–3, got -1 to 2"),
        (IMAGES, 2 * np.eye(4), r"the labels' probabilities must lie in \[0, 1\], got 0 to 2"),
        (IMAGES, np.full((4, 4), np.nan), r"the labels' probabilities must lie in \[0, 1\], got nan to nan"),
        (IMAGES, [0, 1, 2, 3], "labels must be an? (array|tensor), got list"),
    ],
)
def test_other_input_is_refused_in_one_line(images: Any, labels: Any, message: str) -> None:
    tensors = torch.from_numpy(images), torch.from_numpy(labels) if isinstance(labels, np.ndarray) else labels
    calls = [(CUTMIX.batch_transform(4, seed=0), (images, labels))]
    if "uint8 .*" not in message:  # floating tensors are welcome
        calls.append((TensorMixing(CUTMIX, 4, seed=0), tensors))
    for transform, arguments in calls:
        with pytest.raises(UserError, match=message) as caught:
            transform(*arguments)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", [0, -1, 2.0, True, "10"])
def test_a_number_of_classes_is_a_whole_number(classes: Any) -> None:
    for make in (CUTMIX.batch_transform, lambda *given: TensorMixing(CUTMIX, *given)):
        with pytest.raises(UserError, match="classes must be a whole number ≥ 1, got"):
            make(classes, 0)


def test_a_module_of_something_else_is_refused() -> None:
    with pytest.raises(UserError, match="mixing must be a Mixing, got str"):
        TensorMixing("cutmix", 10, seed=0)  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mixing", [CUTMIX, MIXUP], ids=["cutmix", "mixup"])
def test_a_gpu_mixes_as_the_cpu(mixing: Mixing) -> None:
    images, labels = to_tensor(noise((16, 20, 30, 3))), torch.arange(16) % 10
    here, there = TensorMixing(mixing, 10, seed=0), TensorMixing(mixing, 10, seed=0)
    for _ in range(5):
        mixed, targets = here(images, labels)
        others, other_targets = there(images.cuda(), labels.cuda())
        assert (others.cpu().int() - mixed.int()).abs().max() <= 1
        torch.testing.assert_close(other_targets.cpu(), targets)
