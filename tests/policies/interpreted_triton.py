"""The kernels of a stage in Triton's interpreter, on CPU tensors: the pixels of torch's own operations.

``test_triton.py`` runs this in a process of its own, since ``TRITON_INTERPRET=1`` must be set before Triton
is imported:

    TRITON_INTERPRET=1 python -m pytest tests/policies/interpreted_triton.py

It takes some milliseconds an image and stage, so batches are small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import triton
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from augsearch.policies import OPERATIONS, RANDAUGMENT, TRIVIALAUGMENT, Policy
from augsearch.policies.backends.torch import by_stage, runner, tables, triton_kernels
from augsearch.policies.backends.torch.by_kind import RunByKind
from augsearch.policies.backends.torch.by_stage import RunByStage
from augsearch.policies.effects import Colour, MeasuredTable, Size, Statistic, Tables, Warp
from augsearch.policies.planner import Draws, encode
from augsearch.policies.sampling import Sampling
from augsearch.policies.tensor import TensorPolicy
from tests.policies.strategies import lists_of_choices

ALL = tuple(OPERATIONS)
CPU = torch.device("cpu")
SHAPES = [(1, 1), (1, 9), (9, 1), (2, 3), (8, 8), (13, 24), (37, 29)]

samplings = st.builds(
    Sampling,
    st.sampled_from(["nearest", "nearest", "nearest", "bilinear"]),
    st.sampled_from(["fill", "reflect"]),
    st.tuples(*[st.integers(0, 255)] * 3),
)


@st.composite
def batches(draw: st.DrawFn) -> torch.Tensor:
    """1 to 3 images of one shape: noise, few grey values, one grey value, or slopes."""
    (height, width), channels = draw(st.sampled_from(SHAPES)), draw(st.sampled_from([1, 3]))
    return images(
        draw(st.integers(1, 3)),
        (channels, height, width),
        draw(st.sampled_from(["noise", "few", "constant", "slopes"])),
        draw(st.integers(0, 99)),
    )


def images(count: int, shape: tuple[int, int, int], kind: str = "slopes", seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    if kind == "constant":
        return torch.full((count, *shape), int(rng.integers(256)), dtype=torch.uint8)
    low, high = {"noise": (0, 256), "few": (100, 104), "slopes": (0, 30)}[kind]
    made = rng.integers(low, high, (count, *shape))
    if kind == "slopes":
        y, x = np.mgrid[: shape[1], : shape[2]]
        made = made + 150 * y // shape[1] + 70 * x // shape[2]
    return torch.from_numpy(made.astype(np.uint8))


def assert_alike(draws: Draws, batch: torch.Tensor, ranges: Any, sampling: Sampling) -> None:
    _, channels, *size = batch.shape
    before = batch.clone()
    expected, result = (
        kind(ranges, Size(*size), channels, sampling, CPU).run(draws, batch)
        for kind in (RunByKind, RunByStage)
    )
    assert result.dtype == torch.uint8
    assert torch.equal(result, expected)
    assert torch.equal(batch, before)


def test_kernels_are_interpreted_here() -> None:
    assert triton.knobs.runtime.interpret
    assert isinstance(runner._runner("standard", Size(8, 8), 3, Sampling(), CPU, "triton"), RunByStage)


@pytest.mark.parametrize("name", OPERATIONS)
@given(
    batch=batches(),
    magnitudes=st.tuples(*[st.integers(0, 30)] * 3),
    negative=st.booleans(),
    ranges=st.sampled_from(["standard", "wide"]),
    sampling=samplings,
    seed=st.integers(0, 99),
)
@settings(max_examples=6)
def test_every_operation_does_what_it_does_by_kinds(
    name: str,
    batch: torch.Tensor,
    magnitudes: tuple[int, ...],
    negative: bool,
    ranges: Any,
    sampling: Sampling,
    seed: int,
) -> None:
    operation = OPERATIONS[name]
    codes = np.repeat(encode([name]), len(batch))
    if operation.standard:
        codes += 2 * np.array(magnitudes[: len(batch)]) + (negative and operation.signed)
    noise = np.random.default_rng(seed).random((len(batch), 1, max(operation.noise, 1)))
    assert_alike(Draws(codes[:, np.newaxis], noise), batch, ranges, sampling)


@pytest.mark.parametrize("border", ["fill", "reflect"])
def test_randaugments_operations_do_so_at_their_strongest_and_with_either_sign(border: Any) -> None:
    codes = [encode([name])[0] for name in RANDAUGMENT]
    strongest = [
        code + 60 for code, name in zip(codes, RANDAUGMENT, strict=True) if OPERATIONS[name].standard
    ]
    signed = [code + 61 for code, name in zip(codes, RANDAUGMENT, strict=True) if OPERATIONS[name].signed]
    drawn = np.array([*codes, *strongest, *signed])[:, np.newaxis]
    batch = images(len(drawn), (3, 13, 24), "noise")
    assert_alike(Draws(drawn, None), batch, "standard", Sampling(border=border, fill=(9, 99, 200)))


@given(
    operations=lists_of_choices(),
    num_ops=st.integers(0, 3),
    magnitude=st.sampled_from([0, 9, 30, "random"]),
    crop=st.sampled_from([0.0, 1.0]),
    sampling=samplings,
    batch=batches(),
    seed=st.integers(0, 99),
)
@settings(max_examples=15)
def test_any_policy_gives_the_pixels_of_the_other_path(
    operations: Any,
    num_ops: int,
    magnitude: Any,
    crop: float,
    sampling: Sampling,
    batch: torch.Tensor,
    seed: int,
) -> None:
    policy = Policy(
        operations=operations,
        num_ops=num_ops,
        magnitude=magnitude,
        crop=crop,
        flip_horizontal=0.5,
        interpolation=sampling.interpolation,
        border=sampling.border,
        fill=sampling.fill,
    )
    draws = policy.draw(len(batch), np.random.default_rng(seed))
    assert_alike(draws, batch, policy.ranges, policy.sampling)


POLICIES = {
    "RandAugment": Policy(),
    "crop, flip, RandAugment": Policy(crop=1.0, flip_horizontal=0.5, fill=(124, 116, 104)),
    "the same, reflect": Policy(crop=1.0, flip_horizontal=0.5, border="reflect"),
    "warps one by one": Policy(crop=1.0, flip_horizontal=0.5, operations=("rotate",), fuse_warps=False),
    "TrivialAugment": TRIVIALAUGMENT,
    "bilinear": Policy(interpolation="bilinear"),
    "all operations": Policy(num_ops=4, magnitude="random", operations=ALL),
    "AugMix": Policy.named("augmix(3,3)"),
}


@pytest.fixture
def by_stage_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(runner, "_engine", "torch")
    runner._runner.cache_clear()
    yield
    runner._runner.cache_clear()


@pytest.mark.usefixtures("by_stage_elsewhere")
@pytest.mark.parametrize("what", POLICIES)
def test_a_module_gives_the_same_pixels_by_either_path(what: str) -> None:
    batch = images(3, (3, 37, 29))  # more pixels than one program changes
    ours, theirs = TensorPolicy(POLICIES[what], seed=3), TensorPolicy(POLICIES[what], seed=3)
    for layout in (torch.channels_last, torch.contiguous_format):
        given_images = batch.contiguous(memory_format=layout)
        expected = theirs(given_images)
        runner.use("triton")
        result = ours(given_images)
        runner.use("torch")
        assert torch.equal(result, expected)
        assert result.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_measured_to_their_last_pixel(channels: int) -> None:
    batch = images(3, (channels, 83, 61))  # more than are measured at once
    batch[:, :, -1, -1] = 255
    batch[:, :, 0, 0] = 0
    codes = encode(["contrast", "auto_contrast", "equalize"])
    codes[0] += 2 * 25
    assert_alike(Draws(codes[:, np.newaxis], None), batch, "standard", Sampling())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("border", ["fill", "reflect"])
@pytest.mark.parametrize("ranges", ["standard", "wide"])
def test_nothing_of_randaugment_is_left_to_the_other_path(channels: int, border: Any, ranges: Any) -> None:
    ours = RunByStage(ranges, Size(24, 20), channels, Sampling(border=border), CPU)
    policy = Policy(
        num_ops=2, magnitude="random", ranges=ranges, crop=1.0, flip_horizontal=0.5, operations=RANDAUGMENT
    )
    stages = ours._planner.stages(policy.draw(800, np.random.default_rng(0)))
    words, _, left = ours._written(stages, 800)
    assert not any(left)
    opcodes = {getattr(triton_kernels, name).value for name in ("KEEP", "TABLE", "SHARPEN")}
    opcodes |= {triton_kernels.COLOUR.value} if channels == 3 else set()
    opcodes |= {getattr(triton_kernels, f"{border.upper()}_WARP").value}
    assert set(np.unique(words[..., 0])) == opcodes
    assert set(np.unique(words[..., 1])) == {0, 1, 2, 3}


class Operations(TorchDispatchMode):
    """Counts what torch is asked to do, views and kernels' launches aside."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.launches = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not function.is_view:
            self.counts[function.__name__] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.usefixtures("by_stage_elsewhere")
def test_a_batch_of_any_size_is_a_kernel_or_two_a_stage_and_is_never_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: Counter[str] = Counter()

    def uncounted(name: str, launch: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            # The interpreter copies tensors to and fro.
            with torch.utils._python_dispatch._disable_current_modes():
                return launch(*arguments, **options)

        return run

    for name in ("change", "measure"):
        kernel = getattr(triton_kernels, name)
        launched = {grid: uncounted(name, kernel[grid]) for grid in ((4, 1), (8, 1), (4, 3), (8, 3))}
        monkeypatch.setattr(triton_kernels, name, launched)
    runner.use("triton")
    policy = Policy(crop=1.0, flip_horizontal=0.5)
    ours = runner._runner("standard", Size(12, 12), 3, policy.sampling, CPU, "triton")
    ours._written(ours._planner.stages(policy.draw(800, np.random.default_rng(0))), 800)  # writes all tables
    augment = TensorPolicy(policy, seed=0)
    totals = []
    for count in (4, 8):
        batch = images(count, (3, 12, 12))
        counts.clear()
        with Operations() as operations:
            augment(batch)
        stages = counts["change"]
        assert 2 <= stages <= 3
        assert counts["measure"] <= stages
        totals.append(operations.counts.total() - stages - counts["measure"])  # an empty tensor for each
        waiting = {"_local_scalar_dense", "nonzero", "masked_select", "bincount", "equal", "unique"}
        assert not waiting & {name.split(".")[0] for name in operations.counts}
    assert totals[0] == totals[1] <= 4, operations.counts


@pytest.mark.usefixtures("by_stage_elsewhere")
def test_tables_that_were_forgotten_are_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = images(4, (3, 9, 11))
    policy = Policy(num_ops=3, magnitude="random")
    expected = [TensorPolicy(policy, seed)(batch) for seed in range(2)]
    monkeypatch.setattr(tables, "MOST_TABLES", 100)
    runner.use("triton")
    for seed in range(2):
        assert torch.equal(TensorPolicy(policy, seed)(batch), expected[seed])


def test_strengths_of_sharpening_beyond_those_that_are_kept_go_the_other_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(by_stage, "MOST_SHARPENED", 2)
    ours = RunByStage("standard", Size(9, 9), 3, Sampling(), CPU)
    codes = encode(["sharpness"] * 4) + 2 * np.array([3, 9, 17, 30])
    draws, batch = Draws(codes[:, np.newaxis], None), images(4, (3, 9, 9))
    _, _, left = ours._written(ours._planner.stages(draws), 4)
    assert sorted(index for indices in left[0].values() for index in indices) == [2, 3]
    expected = RunByKind("standard", Size(9, 9), 3, Sampling(), CPU).run(draws, batch)
    assert torch.equal(ours.run(draws, batch), expected)


def strangers_table(histogram: Any) -> Any:
    return (histogram.cumsum(-1) % 256).astype(np.uint8)


def test_what_whole_numbers_do_not_hold_exactly_goes_the_other_way() -> None:
    reflecting = RunByStage("standard", Size(8, 8), 3, Sampling(border="reflect"), CPU)
    filling = RunByStage("standard", Size(8, 8), 3, Sampling(), CPU)
    seen = Warp(np.array([[1, 0, 0], [0, 1, 0], [0.01, 0, 1]]))
    far = Warp(np.array([[1, 0, 1e7], [0, 1, 0], [0, 0, 1]]))
    assert filling._words(seen) is not None
    assert reflecting._words(seen) is None
    assert reflecting._words(far) is None
    assert filling._words(Warp(np.eye(3), enlarges=True)) is None
    assert filling._words(Colour(np.full((3, 4), 30.0))) is None
    assert filling._words(Tables((MeasuredTable(Statistic.HISTOGRAM, strangers_table),))) is None


def test_images_that_32_bits_could_not_measure_and_other_channels_go_the_other_way() -> None:
    assert by_stage.can_run(Size(1600, 1600), 3)
    assert not by_stage.can_run(Size(1700, 1700), 3)
    assert not by_stage.can_run(Size(8, 8), 2)


@given(st.lists(st.floats(-(2.0**22), 2.0**22, width=32), min_size=1, max_size=64))
@settings(max_examples=30)
def test_coordinates_are_rounded_as_torch_rounds_them(numbers: list[float]) -> None:
    at = torch.tensor([*numbers, -0.49999997, 0.49999997, -0.5, 0.5, 1.5, 2.5, -1.5, -2.5, -1e-40, 0.0])
    at = torch.cat((at, torch.floor(at[: len(numbers)]) + 0.5))
    result = torch.zeros(256, dtype=torch.int32)
    padded = torch.zeros(256)
    padded[: len(at)] = at
    rounding[(1,)](padded, result)
    assert torch.equal(result, padded.round().to(torch.int32))


@triton.jit
def rounding(source, result):  # type: ignore[no-untyped-def]
    at = triton.language.arange(0, 256)
    triton.language.store(result + at, triton_kernels._rounded(triton.language.load(source + at)))
