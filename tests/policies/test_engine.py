"""The compiled core does to the last bit what OpenCV's path does, on any processor, and is loaded in time."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from augsearch.policies import OPERATIONS, TRIVIALAUGMENT, Policy, UserError
from augsearch.policies.backends import engine
from augsearch.policies.backends.opencv import runner as opencv
from augsearch.policies.pictures import array_of, image_of
from augsearch.policies.regions import Erasing, ResizedCrop

pytest.importorskip("numba", reason="needs numba: pip install 'augsearch[numba]'")
from augsearch.policies.backends.compiled import runner as core
from augsearch.policies.backends.compiled.agreement import block_of_columns
from augsearch.policies.backends.compiled.instructions import Kind, instruction_of
from augsearch.policies.effects import Size
from tests.policies.strategies import lists_of_choices


@pytest.fixture(autouse=True)
def _each_begins_undecided() -> Iterator[None]:
    engine.use("auto")
    yield
    engine.use("auto")


def some_images(count: int, height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    images = np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    images[::3] = images[::3] // 3 + 50  # with something to stretch
    images[1:2] = 77  # of one grey value
    return images


policies = st.builds(
    Policy,
    num_ops=st.integers(0, 4),
    magnitude=st.one_of(st.integers(0, 30), st.just("random")),
    operations=lists_of_choices(),
    crop=st.sampled_from([0.0, 0.5, 1.0]),
    flip_horizontal=st.sampled_from([0.0, 0.5]),
    flip_vertical=st.sampled_from([0.0, 0.5]),
    quarter_turns=st.sampled_from([0.0, 0.5]),
    resized_crop=st.sampled_from([None, None, ResizedCrop()]),
    erasing=st.sampled_from([None, Erasing(probability=0.5)]),
    interpolation=st.sampled_from(["nearest", "nearest", "bilinear"]),
    border=st.sampled_from(["fill", "reflect"]),
    fill=st.one_of(st.just((0, 0, 0)), st.tuples(*[st.integers(0, 255)] * 3)),
    fuse_warps=st.booleans(),
)


@given(
    policy=policies,
    seed=st.integers(0, 99),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    channels=st.sampled_from([1, 3]),
)
@settings(max_examples=200)
def test_both_paths_give_the_same_pixels(
    policy: Policy, seed: int, height: int, width: int, channels: int
) -> None:
    images = some_images(8, height, width, channels, seed)
    before = images.copy()
    draws = policy.draw(8, np.random.default_rng(seed))
    compiled = core.run_draws(draws, images, policy.ranges, policy.sampling)
    np.testing.assert_array_equal(images, before)
    expected = opencv.run_draws(draws, images, policy.ranges, policy.sampling)
    np.testing.assert_array_equal(compiled, expected)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("border", ["fill", "reflect"])
@pytest.mark.parametrize("shape", [(224, 224, 3), (201, 331, 1), (3, 5000, 3), (2500, 7, 3)])
def test_both_paths_give_the_same_pixels_of_large_and_long_images(
    shape: Any, border: Any, interpolation: Any
) -> None:
    """What is read from too far away for whole numbers goes OpenCV's way."""
    policy = Policy(
        num_ops=3,
        operations=tuple(OPERATIONS),
        crop=0.5,
        flip_horizontal=0.5,
        border=border,
        interpolation=interpolation,
    )
    images = some_images(24, *shape)
    draws = policy.draw(24, np.random.default_rng(5))
    compiled = core.run_draws(draws, images, policy.ranges, policy.sampling)
    np.testing.assert_array_equal(compiled, opencv.run_draws(draws, images, policy.ranges, policy.sampling))


@pytest.mark.parametrize("interpolates", [False, True])
def test_the_core_itself_does_all_of_randaugment(interpolates: bool) -> None:
    """So that the tests above do not compare OpenCV's path with itself."""
    reads_between = block_of_columns(3) is not None
    if interpolates and not reads_between:
        pytest.skip("this OpenCV reads between pixels in its own way on this processor")
    for name in Policy().names:
        operation = OPERATIONS[name]
        value = operation.value(9, "standard", Size(32, 32))
        effect = operation.effect(value, (), Size(32, 32))
        found = instruction_of(effect, 3, reads_between=reads_between, interpolates=interpolates)
        assert found.kind is not Kind.FOREIGN, name


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("border", ["fill", "reflect"])
def test_the_core_reads_between_pixels_whatever_opencv_rounds(
    channels: int, border: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the two don't agree to the last bit, the tests above would not see the core at all."""
    monkeypatch.setattr(core, "block_of_columns", lambda channels: 16)
    policy = Policy(
        num_ops=3,
        operations=("rotate", "shear_x", "shear_y"),
        magnitude="random",
        resized_crop=ResizedCrop(),
        interpolation="bilinear",
        border=border,
        fill=(90, 90, 90),
    )
    level = np.add.outer(np.arange(50), 2 * np.arange(70)) % 180
    images = np.broadcast_to(level[..., None], (40, 50, 70, channels)).astype(np.uint8)
    draws = policy.draw(40, np.random.default_rng(1))
    core.runner_for.cache_clear()
    compiled = core.run_draws(draws, images, policy.ranges, policy.sampling)
    core.runner_for.cache_clear()
    expected = opencv.run_draws(draws, images, policy.ranges, policy.sampling)
    far = np.abs(compiled.astype(int) - expected) > 12  # as much as older versions may round coordinates
    assert far.mean() < 0.01
    assert (compiled != images).any()


BOTH_PATHS = """
import numpy as np
from augsearch.policies import Policy
from augsearch.policies.backends.compiled import runner as core
from augsearch.policies.backends.compiled.agreement import block_of_columns
from augsearch.policies.backends.opencv import runner as opencv

policy = Policy(operations=("rotate", "shear_x"), interpolation="bilinear", magnitude="random")
images = np.random.default_rng(0).integers(0, 256, (64, 90, 90, 3), dtype=np.uint8)
draws = policy.draw(64, np.random.default_rng(0))
compiled = core.run_draws(draws, images, policy.ranges, policy.sampling)
assert (compiled == opencv.run_draws(draws, images, policy.ranges, policy.sampling)).all()
print(block_of_columns(3))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of x86 processors")
def test_where_opencv_rounds_otherwise_between_pixels_its_path_is_taken() -> None:
    """Without AVX2 OpenCV rounds products and sums apart, where the core rounds them at once."""
    if "avx2" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        pytest.skip("this processor has no AVX2")
    env = {**os.environ, "OPENCV_CPU_DISABLE": "AVX512_SKX,AVX2,FMA3"}
    done = subprocess.run(
        [sys.executable, "-c", BOTH_PATHS], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "None"), done.stderr


def test_single_images_of_every_type_are_the_same_by_both_paths() -> None:
    torch = pytest.importorskip("torch")
    image = some_images(1, 23, 31, 3)[0]
    forms = [image, image[:, :, 0], PILImage.fromarray(image), torch.from_numpy(image).permute(2, 0, 1)]
    read_only = image.copy()
    read_only.flags.writeable = False
    forms += [read_only, image[::-1]]
    policy = TRIVIALAUGMENT.model_copy(update={"crop": 1.0, "flip_horizontal": 0.5})
    for form in forms:
        found = []
        for path in ("opencv", "numba"):
            engine.use(path)  # type: ignore[arg-type]
            transform = policy.transform(seed=3)
            found.append([np.asarray(transform(form)) for _ in range(40)])
        np.testing.assert_array_equal(*found)


def test_instructions_with_a_policys_own_values_are_written_once() -> None:
    """Working each out anew took a hundred times as long as what it did to a small image."""
    policy = Policy.named("augmix(3,3)")
    runner = core.Runner(policy.ranges, (9, 9, 3), policy.sampling)
    rng = np.random.default_rng(0)
    chains = policy.draw(4000, rng).chains
    assert chains is not None
    images = some_images(4000, 9, 9, 3)
    for draws in chains.each:
        runner.augment(draws, images)
    written = len(runner.instructions_of(chains.each[0])[1])
    again = policy.draw(4000, rng).chains
    assert again is not None
    for draws in again.each:
        assert len(runner.instructions_of(draws)[1]) == written


def test_threads_share_the_core() -> None:
    images = some_images(32, 40, 40, 3)
    policy = Policy(num_ops=3, magnitude="random", operations=tuple(OPERATIONS), crop=1.0)
    draws = [policy.draw(32, np.random.default_rng(seed)) for seed in range(8)]

    def augmented(one: Any) -> np.ndarray:
        return core.run_draws(one, images, policy.ranges, policy.sampling)

    core.runner_for.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(augmented, draws))
    for one, found in zip(draws, together, strict=True):
        np.testing.assert_array_equal(found, opencv.run_draws(one, images, policy.ranges, policy.sampling))


LOOKED_UP = """
import numpy as np
from numba import njit
from augsearch.policies.backends.compiled import colours
from augsearch.policies.backends.compiled.vectors import block_bytes, bytes_at

@njit
def looked_up(source, target, entries):
    for_all, by_channel = bytes_at(target, 0), bytes_at(target, source.size)
    colours.look_up(bytes_at(source, 0), for_all, source.size, bytes_at(entries, 0))
    colours.look_up_by_channel(bytes_at(source, 0), by_channel, source.size, bytes_at(entries, 0))
    return block_bytes()

rng = np.random.default_rng(0)
entries = rng.integers(0, 256, 768, dtype=np.uint8)
for pixels in (1, 64, 65, 500):
    source = rng.integers(0, 256, 3 * pixels, dtype=np.uint8)
    target = np.empty(6 * pixels, np.uint8)
    width = looked_up(source, target, entries)
    assert (target[: 3 * pixels] == entries[source]).all()
    assert (target[3 * pixels :] == entries[np.arange(3 * pixels) % 3 * 256 + source]).all()
print(width)
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of x86 processors")
@pytest.mark.parametrize(
    ("processor", "features", "width"), [("haswell", "+avx2,+ssse3", "32"), ("x86-64", "+sse2", "0")]
)
def test_look_ups_are_right_without_avx512(processor: str, features: str, width: str) -> None:
    if width == "32" and "avx2" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        pytest.skip("this processor has no AVX2")
    env = {**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
    done = subprocess.run(
        [sys.executable, "-c", LOOKED_UP], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, width), done.stderr


def test_a_process_goes_on_while_the_core_is_loaded_and_takes_it_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(engine.VARIABLE, raising=False)
    choice = engine.Choice()
    side = 128 * 128 * 3  # counted as four
    assert choice.core_for(1, side) is None
    assert choice.core_for(engine.WORTH_LOADING // 4 - 2, side * (engine.WORTH_LOADING // 4 - 2)) is None
    choice.wait()
    assert choice.core is None  # as nothing was begun
    assert choice.core_for(1, side) is None
    choice.wait()
    assert choice.core_for(1, side) is core
    monkeypatch.setenv(engine.VARIABLE, "numba")
    assert engine.Choice().core_for(1, 1) is core
    monkeypatch.setenv(engine.VARIABLE, "opencv")
    never = engine.Choice()
    assert never.core_for(engine.WORTH_LOADING, 1) is None
    never.wait()
    assert never.core_for(1, 1) is None


FORKED = """
import os
from augsearch.policies.backends import engine

engine._choice.core_for(engine.WORTH_LOADING, 1)
child = os.fork()
if not child:
    os._exit(0 if engine._choice.core else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="of systems that fork")
def test_no_process_is_forked_while_the_compiler_holds_its_locks() -> None:
    env = {name: value for name, value in os.environ.items() if name != engine.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", FORKED], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "0", done.stderr


def test_without_numba_opencvs_path_goes_on_and_who_asks_for_numba_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, core.__name__, None)
    choice = engine.Choice("auto")
    assert choice.core_for(engine.WORTH_LOADING, 1) is None
    choice.wait()
    assert choice.engine == "opencv"
    with pytest.raises(
        UserError, match=r"^AUGSEARCH_ENGINE is numba, which can't be loaded .*install"
    ) as told:
        engine.Choice("numba").core_for(1, 1)
    assert "\n" not in str(told.value)
    monkeypatch.setenv(engine.VARIABLE, "fast")
    with pytest.raises(UserError, match="AUGSEARCH_ENGINE must be auto, opencv or numba, got fast"):
        engine.Choice().core_for(1, 1)


def test_a_core_that_does_not_compile_is_told_once_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("no such processor")

    monkeypatch.setattr(core, "compile_or_load", fails)
    choice = engine.Choice("auto")

    def tried() -> None:
        choice.core_for(engine.WORTH_LOADING, 1)
        choice.wait()

    with pytest.warns(UserWarning, match="OpenCV goes on without: no such processor"):
        tried()
    assert choice.core_for(engine.WORTH_LOADING, 1) is None
    with pytest.raises(RuntimeError, match="no such processor"):
        engine.Choice("numba").core_for(1, 1)


def test_policies_are_imported_without_numba() -> None:
    code = "import sys, augsearch.policies; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_pil_images_become_arrays_and_arrays_images_as_pil_does_it(tmp_path: Path) -> None:
    pixels = some_images(1, 13, 17, 3)[0]
    PILImage.fromarray(pixels).save(tmp_path / "image.png")
    with PILImage.open(tmp_path / "image.png") as not_read_yet:
        np.testing.assert_array_equal(array_of(not_read_yet), pixels)
    for form in (pixels, pixels[:, :, 0], pixels[:0]):
        expected = PILImage.fromarray(form)
        made = image_of(form)
        assert (made.mode, made.size, made.tobytes()) == (expected.mode, expected.size, expected.tobytes())
        np.testing.assert_array_equal(array_of(made), form)
    kept = array_of(PILImage.fromarray(pixels))  # of an image that is gone
    made = image_of(kept)
    kept[:] = 0
    np.testing.assert_array_equal(np.asarray(made), pixels)


def test_instructions_of_large_batches_are_not_kept_for_ever() -> None:
    policy, images = Policy(num_ops=2, magnitude=9), np.zeros((core.MOST_ROWS // 4, 4, 5, 3), np.uint8)
    for seed in range(12):
        draws = policy.draw(len(images), np.random.default_rng(seed))
        core.run_draws(draws, images, policy.ranges, policy.sampling)
    runner = core.runner_for(policy.ranges, images.shape[1:], policy.sampling)
    assert sum(map(len, runner._latest)) <= core.MOST_ROWS
    many = np.zeros((core.MOST_ROWS + 1, 4, 5, 3), np.uint8)
    draws = policy.draw(len(many), np.random.default_rng(0))
    core.run_draws(draws, many, policy.ranges, policy.sampling)
    assert list(runner._latest) == [draws]
