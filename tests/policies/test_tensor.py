"""The torch backend: the pixels of the OpenCV backend, on any device, and what a torch user expects."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image
from torch.nn.functional import grid_sample
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader
from torchvision import tv_tensors

from augsearch.policies import (
    OPERATIONS,
    RANDAUGMENT,
    TRIVIALAUGMENT,
    Policy,
    PolicyFile,
    UserError,
    write_policy,
)
from augsearch.policies.backends.opencv import runner as opencv
from augsearch.policies.backends.opencv.prepared import Images
from augsearch.policies.backends.torch import kernels as torch_kernels
from augsearch.policies.backends.torch import runner as torch_runner
from augsearch.policies.backends.torch import tables as torch_tables
from augsearch.policies.effects import Kernel, MeasuredTable, Size, Statistic, Warp
from augsearch.policies.planner import Draws, effect_of, encode
from augsearch.policies.sampling import Sampling
from augsearch.policies.tensor import TensorPolicy

pytestmark = pytest.mark.usefixtures("by_torch")

ALL = tuple(OPERATIONS)
SHAPES = [(1, 1), (1, 9), (9, 1), (2, 3), (8, 8), (13, 24), (47, 33)]

every_operation = pytest.mark.parametrize("name", OPERATIONS)
samplings = st.builds(
    Sampling,
    st.sampled_from(["nearest", "bilinear"]),
    st.sampled_from(["fill", "reflect"]),
    st.tuples(*[st.integers(0, 255)] * 3),
)


def photos(count: int, height: int, width: int, channels: int = 3, seed: int = 0) -> Images:
    """Cut from a real photo, and thereby smooth here and textured there."""
    photo = load_sample_image("china.jpg")
    rng = np.random.default_rng(seed)
    tops, lefts = rng.integers(0, 427 - height, count), rng.integers(0, 640 - width, count)
    cut = [photo[y : y + height, x : x + width] for y, x in zip(tops, lefts, strict=True)]
    return np.ascontiguousarray(np.stack(cut)[..., :channels])


@st.composite
def batches(draw: st.DrawFn) -> Images:
    """Random, real and constant images, 1 to 5 of one shape."""
    (height, width), channels = draw(st.sampled_from(SHAPES)), draw(st.sampled_from([1, 3]))
    count, seed = draw(st.integers(1, 5)), draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    kind = draw(st.sampled_from(["random", "few", "real", "constant"]))
    if kind == "real":
        return photos(count, height, width, channels, seed)
    if kind == "constant":
        return np.full((count, height, width, channels), draw(st.integers(0, 255)), np.uint8)
    low, high = (0, 256) if kind == "random" else (100, 104)
    return rng.integers(low, high, (count, height, width, channels), dtype=np.uint8)


def to_tensor(images: Images) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def to_array(images: torch.Tensor) -> Images:
    return images.permute(0, 2, 3, 1).numpy()


def on_both(draws: Draws, images: Images, ranges: Any, sampling: Sampling) -> tuple[Images, Images]:
    """The same draws by OpenCV and by torch."""
    expected = opencv.run_draws(draws, images, ranges, sampling)
    result = torch_runner.run_draws(draws, to_tensor(images), ranges, sampling)
    return expected, to_array(result)


def difference(ours: Images, theirs: Images) -> np.ndarray:
    return np.abs(ours.astype(int) - theirs)


@every_operation
@given(
    images=batches(),
    magnitude=st.integers(0, 30),
    negative=st.booleans(),
    ranges=st.sampled_from(["standard", "wide"]),
    sampling=samplings,
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_every_operation_does_what_it_does_on_opencv(
    name: str, images: Images, magnitude: int, negative: bool, ranges: Any, sampling: Sampling, seed: int
) -> None:
    operation = OPERATIONS[name]
    code = encode([name])[0]
    if operation.standard:
        code += 2 * magnitude + (negative and operation.signed)
    noise = np.random.default_rng(seed).random((len(images), 1, max(operation.noise, 1)))
    draws = Draws(np.full((len(images), 1), code), noise)
    expected, result = on_both(draws, images, ranges, sampling)
    differ = difference(result, expected)
    if operation.kind == "warp" and sampling.interpolation == "nearest" and name != "resized_crop":
        size = Size(*images.shape[1:3])
        for index, own in enumerate(differ):
            (drawn,) = draws.operations(index) or (None,)
            effect = drawn and effect_of(drawn, ranges, size)
            if effect:
                assert isinstance(effect, Warp)
                own = own[sampling_is_certain(effect, size)]
            assert own.max(initial=0) == 0
    else:
        tolerance = 1 if operation.kind in ("warp", "kernel") else 0
        assert differ.max() <= tolerance


def sampling_is_certain(warp: Warp, size: Size) -> np.ndarray:
    """Which output pixels are read well inside one input pixel, and not between two of them."""
    y, x = np.mgrid[: size.height, : size.width].reshape(2, -1)
    read = warp.matrix @ (x - (size.width - 1) / 2, y - (size.height - 1) / 2, np.ones(x.size))
    read_x, read_y = read[0] / read[2] + (size.width - 1) / 2, read[1] / read[2] + (size.height - 1) / 2
    certain = [np.abs(at - np.floor(at) - 0.5) > 2e-3 for at in (read_x, read_y)]
    return np.logical_and(*certain).reshape(size)


POLICIES = {
    "RandAugment": Policy(),
    "RandAugment, bilinear": Policy(interpolation="bilinear"),
    "TrivialAugment": TRIVIALAUGMENT,
    "TrivialAugment, reflect": TRIVIALAUGMENT.model_copy(update={"border": "reflect"}),
    "crop, flips, turns": Policy(
        num_ops=0, crop=1.0, flip_horizontal=0.5, flip_vertical=0.5, quarter_turns=0.5
    ),
    "crop, flip, RandAugment, fill": Policy(crop=1.0, flip_horizontal=0.5, fill=(124, 116, 104)),
    "crop, reflect": Policy(num_ops=1, crop=0.5, border="reflect"),
    "all operations": Policy(num_ops=4, magnitude="random", operations=ALL, border="reflect"),
    "AutoAugment": Policy.named("autoaugment-svhn"),
    "UniformAugment": Policy.named("uniformaugment"),
    "3-Augment": Policy.named("flip-crop+3-augment"),
    "all operations, bilinear": Policy(
        num_ops=4, magnitude="random", operations=ALL, interpolation="bilinear", fill=(9, 99, 200)
    ),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 37)])
@pytest.mark.parametrize("what", POLICIES)
def test_a_policy_gives_the_pixels_of_its_batch_transform(
    what: str, height: int, width: int, channels: int
) -> None:
    policy = POLICIES[what]
    ours, theirs = TensorPolicy(policy, seed=5), policy.batch_transform(seed=5)
    differ = []
    for seed in range(3):
        images = photos(64, height, width, channels, seed)
        differ.append(difference(to_array(ours(to_tensor(images))), theirs(images)))
    # Points right between two pixels, and bilinear ones right between two grey levels.
    assert np.mean(np.array(differ) > 0) < (1e-3 if policy.interpolation == "nearest" else 1e-2)
    assert np.mean(np.array(differ) > 1) < 1e-3  # what operations like equalize make of one grey level
    assert policy.num_ops or not np.any(differ)


def test_a_policy_without_sampling_and_blur_gives_every_pixel_of_its_batch_transform() -> None:
    exact = [name for name, operation in OPERATIONS.items() if operation.kind not in ("warp", "kernel")]
    policy = Policy(num_ops=5, magnitude="random", operations=tuple(exact))
    images = photos(96, 40, 25)
    ours, theirs = TensorPolicy(policy, seed=1), policy.batch_transform(seed=1)
    for _ in range(4):
        np.testing.assert_array_equal(to_array(ours(to_tensor(images))), theirs(images))


@given(
    taps=st.integers(0, 4).flatmap(lambda half: st.lists(st.floats(0.05, 1), min_size=half, max_size=half)),
    amount=st.sampled_from([-0.7, 0.4, 1.0]),
    edges=st.sampled_from(["keep", "reflect"]),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
)
@settings(max_examples=200)
def test_any_kernel_works_on_any_size(
    taps: list[float], amount: float, edges: Any, height: int, width: int
) -> None:
    weights = np.array([*taps, 1.0, *taps[::-1]])
    kernel = Kernel(tuple((weights / weights.sum()).tolist()), amount, edges)
    images = np.random.default_rng(height).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    expected = np.stack([opencv.run([kernel], image, Sampling()) for image in images])
    runner = torch_runner._runner("standard", Size(height, width), 3, Sampling(), torch.device("cpu"))
    result = run_step(runner, kernel, images)
    # OpenCV counts the weights in 256ths.
    assert difference(result, expected).max() <= 2


def run_step(runner: Any, step: Any, images: Images) -> Images:
    tensors = to_tensor(images).contiguous()
    _, groups = runner._arrange({step: [*range(len(images))]}, len(images))
    for rows, group in groups:
        group.run(tensors[rows], *map(torch.from_numpy, group.arguments))
    return to_array(tensors)


@pytest.mark.parametrize("name", ["auto_contrast", "contrast", "equalize"])
def test_measured_tables_are_written_alike_for_arrays_and_tensors(name: str) -> None:
    operation = OPERATIONS[name]
    size = Size(8, 8)
    member = operation.effect(operation.value(17, "standard", size), [], size)
    assert isinstance(member, MeasuredTable)
    rng = np.random.default_rng(0)
    measured = {
        Statistic.GREY_MEAN: np.arange(256),
        Statistic.EXTREMES: np.moveaxis(np.indices((256, 256)), 0, -1).reshape(256, 256, 2),
        Statistic.HISTOGRAM: rng.integers(0, 300, (500, 3, 256)) * (rng.random((500, 1, 256)) < 0.3),
    }[member.statistic]
    written = member.write(torch.from_numpy(measured))
    assert written.dtype == torch.uint8
    np.testing.assert_array_equal(written.numpy(), member.write(measured))


FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", FLOATS)
def test_floating_images_are_the_uint8_ones_in_255ths(dtype: torch.dtype) -> None:
    images = to_tensor(photos(12, 30, 20))
    expected = TensorPolicy(POLICIES["all operations"], seed=2)(images)
    result = TensorPolicy(POLICIES["all operations"], seed=2)((images.double() / 255).to(dtype))
    assert result.dtype == dtype
    assert torch.equal(result, (expected.double() / 255).to(dtype))


LAYOUTS = {
    "contiguous": lambda images: images.contiguous(),
    "channels last": lambda images: images.contiguous(memory_format=torch.channels_last),
    "strided": lambda images: images.repeat(1, 1, 1, 2)[..., ::2],
    "expanded": lambda images: images[:1].expand(len(images), -1, -1, -1),
    "image": lambda images: tv_tensors.Image(images),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_takes_any_layout_and_changes_no_input(layout: str, dtype: torch.dtype) -> None:
    levels = to_tensor(photos(12, 30, 20)).contiguous()
    given_images = LAYOUTS[layout](levels / 255 if dtype.is_floating_point else levels)
    before = given_images.clone()
    result = TensorPolicy(Policy(num_ops=3), seed=2)(given_images)
    expected = TensorPolicy(Policy(num_ops=3), seed=2)(
        given_images.clone(memory_format=torch.contiguous_format)
    )
    assert torch.equal(result, expected)
    assert torch.equal(given_images, before)
    assert type(result) is type(given_images)
    assert result.is_contiguous(
        memory_format=torch.channels_last if layout == "channels last" else torch.contiguous_format
    )


def test_needs_no_gradient_and_gives_none() -> None:
    images = (to_tensor(photos(4, 16, 16)) / 255).requires_grad_()
    result = TensorPolicy(Policy(), seed=0)(images)
    assert not result.requires_grad
    assert images.grad is None


def test_the_result_is_new_even_where_nothing_is_done() -> None:
    images = to_tensor(photos(4, 16, 16)).contiguous()
    for policy in (Policy(num_ops=0), Policy(num_ops=1, operations=("identity",))):
        result = TensorPolicy(policy, seed=0)(images)
        assert torch.equal(result, images)
        result.zero_()
        assert images.any()


def test_after_eval_images_come_back_as_they_are() -> None:
    augment = TensorPolicy(Policy(), seed=0).eval()
    images = torch.randn(4, 3, 8, 8)  # also normalised ones
    assert augment(images) is images
    levels = to_tensor(photos(4, 16, 16))
    assert not torch.equal(augment.train()(levels), levels)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (4, 3, 0, 8), (4, 1, 8, 0)])
def test_empty_batches_stay_empty(shape: tuple[int, ...]) -> None:
    assert TensorPolicy(Policy(), seed=0)(torch.zeros(shape)).shape == shape


def test_a_seed_repeats_itself_and_another_differs() -> None:
    images = to_tensor(photos(16, 24, 24))

    def three(seed: int) -> torch.Tensor:
        augment = TensorPolicy(Policy(), seed=seed)
        return torch.stack([augment(images) for _ in range(3)])

    first = three(7)
    assert torch.equal(first, three(7))
    assert not torch.equal(first, three(8))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("copied", [lambda module: pickle.loads(pickle.dumps(module)), copy.deepcopy])
def test_a_copy_goes_on_where_the_module_was(copied: Any) -> None:
    images = to_tensor(photos(16, 24, 24))
    augment = TensorPolicy(Policy(), seed=0)
    augment(images)
    other = copied(augment)
    assert torch.equal(other(images), augment(images))


def test_is_a_module_without_parameters_that_says_what_it_does() -> None:
    augment = TensorPolicy(Policy(magnitude=11), seed=42)
    assert not [*augment.parameters(), *augment.buffers()]
    assert not augment.state_dict()
    assert "magnitude=11" in repr(augment)
    assert "seed=42" in repr(augment)


def test_is_loaded_from_a_policy_file(tmp_path: Any) -> None:
    policy = Policy(num_ops=1, magnitude=3)
    write_policy(PolicyFile(policy=policy), tmp_path / "policy.json")
    assert TensorPolicy.load(tmp_path / "policy.json", seed=1).policy == policy


class Collate:
    """Stacks the images of a batch and augments them."""

    def __init__(self) -> None:
        self.augment = TensorPolicy(Policy(), seed=0)

    def __call__(self, images: list[torch.Tensor]) -> torch.Tensor:
        return self.augment(torch.stack(images))


def test_works_in_the_workers_of_a_loader_with_a_stream_for_each() -> None:
    image = to_tensor(photos(1, 20, 20))[0]

    def two_batches() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(3)
        return list(DataLoader([image] * 12, 6, num_workers=2, generator=generator, collate_fn=Collate()))

    first, second = two_batches()
    assert not torch.equal(first, second)
    for batch, again in zip((first, second), two_batches(), strict=True):
        assert torch.equal(batch, again)


def test_settings_of_torch_change_no_pixel() -> None:
    images = to_tensor(photos(32, 24, 24))
    policy = POLICIES["all operations, bilinear"]
    expected = TensorPolicy(policy, seed=4)(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(TensorPolicy(policy, seed=4)(images), expected)
    with torch.inference_mode():
        assert torch.equal(TensorPolicy(policy, seed=4)(images), expected)
    for dtype in (torch.bfloat16, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            assert torch.equal(TensorPolicy(policy, seed=4)(images), expected)
        finally:
            torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(TensorPolicy(policy, seed=4)(images), expected)
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_compiled_model_may_hold_it() -> None:
    images = to_tensor(photos(8, 24, 24))
    model = torch.compile(torch.nn.Sequential(TensorPolicy(Policy(), seed=4)), backend="eager")
    assert torch.equal(model(images), TensorPolicy(Policy(), seed=4)(images))


class Operations(TorchDispatchMode):
    """Counts what torch is asked to do, views aside: on a GPU each is about one kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not function.is_view:
            self.counts[function.__name__] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_a_stage_is_a_fixed_number_of_kernels_and_never_waits_for_the_device(interpolation: Any) -> None:
    augment = TensorPolicy(Policy(interpolation=interpolation), seed=0)
    totals = []
    for count in (256, 512):
        images = to_tensor(photos(count, 16, 16))
        augment(images)  # writes the tables
        with Operations() as operations:
            augment(images)
        totals.append(operations.counts.total())
        reading_back = {"_local_scalar_dense", "nonzero", "masked_select", "bincount", "equal", "unique"}
        assert not reading_back & {name.split(".")[0] for name in operations.counts}
    assert totals[0] == totals[1] <= 2 * 80


@pytest.fixture
def fresh_runners() -> Iterator[None]:
    torch_runner._runner.cache_clear()
    yield
    torch_runner._runner.cache_clear()


@pytest.mark.usefixtures("fresh_runners")
def test_tables_that_were_forgotten_are_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    images = to_tensor(photos(64, 16, 16))
    expected = [TensorPolicy(TRIVIALAUGMENT, seed)(images) for seed in range(4)]
    torch_runner._runner.cache_clear()
    monkeypatch.setattr(torch_tables, "MOST_TABLES", 100)
    for seed in range(4):
        assert torch.equal(TensorPolicy(TRIVIALAUGMENT, seed)(images), expected[seed])


@pytest.mark.parametrize("border", ["fill", "reflect"])
def test_images_with_more_pixels_than_float32_can_count_are_sampled_alike(
    border: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = to_tensor(photos(32, 16, 21))
    policy = Policy(border=border)
    expected = TensorPolicy(policy, seed=0)(images)
    monkeypatch.setattr(torch_kernels, "WHOLE_IN_FLOAT32", 300)
    assert torch.equal(TensorPolicy(policy, seed=0)(images), expected)


def test_levels_that_nobody_checked_are_clamped() -> None:
    from augsearch.policies.tensor import _to_levels

    images = torch.tensor([-3.0, float("nan"), 0.5, 1.2, float("inf"), -float("inf")])
    assert _to_levels(images, checked=False).tolist() == [0, 0, 128, 255, 255, 0]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.zeros((2, 8, 8, 3), np.uint8),
            r"images must be a tensor \(B, C, H, W\), got uint8 \(2, 8, 8, 3\)",
        ),
        (
            torch.zeros(3, 8, 8),
            r"images must be a tensor \(B, C, H, W\), uint8, .*, got torch.float32 \(3, 8, 8\)",
        ),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "images must be .* got torch.int64"),
        (torch.zeros(2, 17, 8, 8), r"images must have 1 to 16 channels, got torch.float32 \(2, 17, 8, 8\)"),
        (torch.zeros(2, 32, 32, 3), "images must have 1 to 16 channels"),
        (
            torch.full((2, 3, 8, 8), 200.0),
            r"floating images must lie in \[0, 1\], got 200 to 200; augment before",
        ),
        (torch.full((2, 3, 8, 8), -0.1), "floating images must lie in"),
        (torch.full((2, 3, 8, 8), float("nan")), "floating images must lie in .* got nan to nan"),
    ],
)
def test_other_input_is_refused_in_one_line(images: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        TensorPolicy(Policy(), seed=0)(images)
    assert "\n" not in str(caught.value)


def test_every_batch_on_the_cpu_is_checked() -> None:
    augment = TensorPolicy(Policy(), seed=0)
    augment(torch.zeros(2, 3, 8, 8))
    with pytest.raises(UserError, match="floating images must lie in"):
        augment(torch.full((2, 3, 8, 8), 2.0))


@pytest.mark.parametrize(
    ("policy", "seed", "message"),
    [
        ("policy.json", 0, "policy must be a Policy, got str; to read a file there is TensorPolicy.load"),
        (Policy(), -1, "seed must be a whole number ≥ 0, got -1"),
    ],
)
def test_a_module_of_something_else_is_refused(policy: Any, seed: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TensorPolicy(policy, seed)


@pytest.mark.parametrize("shape", SHAPES)
def test_places_put_within_the_image_need_no_border(shape: tuple[int, int]) -> None:
    """As on Apple's GPUs, where some releases of torch have none."""
    geometry = torch_kernels.Geometry(Size(*shape), 3, Sampling(), torch.device("cpu"))
    random = torch.Generator().manual_seed(0)
    pixels = torch.rand((4, 3, *shape), generator=random) * 255
    at = torch.rand((4, *shape, 2), generator=random) * 4 - 2
    border = grid_sample(pixels, at, padding_mode="border", align_corners=False)
    within = grid_sample(pixels, geometry._within(at), padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(within, border, rtol=0, atol=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("what", POLICIES)
def test_a_gpu_gives_the_pixels_of_the_cpu(what: str) -> None:
    images = to_tensor(photos(64, 40, 56))
    there, here = TensorPolicy(POLICIES[what], seed=1), TensorPolicy(POLICIES[what], seed=1)
    for batch in (images, images / 255):
        result, expected = there(batch.cuda()), here(batch)
        assert (result.dtype, result.device.type) == (batch.dtype, "cuda")
        scale = 255 if batch.is_floating_point() else 1
        differ = (result.cpu().double() - expected.double()).abs() * scale > 0.5
        # Sharpness, blur and bilinear sampling may round to the next grey level.
        assert differ.double().mean() < (1e-4 if POLICIES[what].interpolation == "nearest" else 1e-2)
        assert POLICIES[what].num_ops or not differ.any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_gpu_is_never_waited_for_after_the_first_batch() -> None:
    images = (to_tensor(photos(64, 40, 56)) / 255).cuda()
    augment = TensorPolicy(POLICIES["all operations"], seed=1)
    augment(images)
    try:
        torch.cuda.set_sync_debug_mode("error")
        for _ in range(5):
            augment(images)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_operations_of_randaugment_are_among_those_compared() -> None:
    assert set(RANDAUGMENT) < set(ALL)
