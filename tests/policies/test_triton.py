"""A kernel a stage in Triton: the pixels of torch's own operations, and code for GPUs that rounds alike.

Without a GPU the kernels run in Triton's interpreter (``interpreted_triton.py``) and are compiled for GPUs
that aren't there, since the interpreter takes what the compiler does not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

from augsearch.policies import OPERATIONS, TRIVIALAUGMENT, Policy, UserError
from augsearch.policies.backends.torch import runner
from augsearch.policies.backends.torch.by_kind import RunByKind
from augsearch.policies.effects import Size
from augsearch.policies.sampling import Sampling
from augsearch.policies.tensor import TensorPolicy

ROOT = Path(__file__).parents[2]

needs_triton = pytest.mark.skipif(not runner.triton_can(), reason="this torch comes without Triton 3.8")
needs_gpu = pytest.mark.skipif(
    not (runner.triton_can() and torch.cuda.is_available()), reason="needs a CUDA device, and Triton 3.8"
)


def photos(count: int, channels: int, height: int, width: int) -> torch.Tensor:
    photo = load_sample_image("china.jpg")
    rng = np.random.default_rng(0)
    tops, lefts = rng.integers(0, 427 - height, count), rng.integers(0, 640 - width, count)
    cut = [photo[y : y + height, x : x + width, :channels] for y, x in zip(tops, lefts, strict=True)]
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(autouse=True)
def own_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has augmented nothing yet."""
    monkeypatch.setattr(runner, "_engine", None)
    monkeypatch.delenv(runner.VARIABLE, raising=False)
    runner._runner.cache_clear()
    yield
    runner._runner.cache_clear()


@needs_triton
def test_the_interpreter_gives_the_pixels_of_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("interpreted_triton.py"))],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1", "TRITON_CACHE_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed\b", done.stdout, re.MULTILINE), done.stdout


def compiled(name: str, shape: tuple[int, int, int], architecture: int, *, fusion: bool = False) -> Any:
    """A kernel for a GPU of that compute capability, times ten; nothing needs to be there."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from augsearch.policies.backends.torch import triton_kernels

    function = getattr(triton_kernels, name)
    types = {one: "*i32" if one == "words" else "*u8" for one in function.arg_names if one != "shape"}
    source = ASTSource(function, types | {"shape": "constexpr"}, constexprs={"shape": shape})
    target = GPUTarget("cuda", architecture, 32)
    return triton.compile(source, target=target, options={"enable_fp_fusion": fusion}).asm


@pytest.fixture
def _compiled_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


FUSED = re.compile(r"\bfma\.")
ROUNDED_LATER = re.compile(r"\b(add|sub|mul|mad|div)(\.full|\.approx)?(\.ftz)?\.f32")
"""Without ``.rn``, the assembler may make one operation of two, or divide nearly."""


@needs_triton
@pytest.mark.usefixtures("_compiled_anew")
@pytest.mark.parametrize(("architecture", "shape"), [(80, (1, 37, 29)), (90, (3, 32, 32))])
@pytest.mark.parametrize("name", ["change", "measure"])
def test_kernels_compile_for_gpus_and_round_every_operation_by_itself(
    name: str, shape: tuple[int, int, int], architecture: int
) -> None:
    made = compiled(name, shape, architecture)
    assert made["cubin"]
    assert not FUSED.search(made["ptx"])
    assert not ROUNDED_LATER.search(made["ptx"])
    if name == "change":
        assert "mul.rn.f32" in made["ptx"]


@needs_triton
@pytest.mark.usefixtures("_compiled_anew")
def test_what_is_looked_for_in_that_code_would_be_found() -> None:
    assert FUSED.search(compiled("change", (1, 8, 8), 80, fusion=True)["ptx"])


def test_the_environment_says_which_path_and_other_words_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images = photos(2, 3, 8, 8)
    monkeypatch.setenv(runner.VARIABLE, "cuda")
    with pytest.raises(UserError, match=r"^AUGSEARCH_TENSOR_ENGINE must be auto, torch or triton, got cuda$"):
        TensorPolicy(Policy(), seed=0)(images)
    for said in ("", "auto", "torch", "triton"):
        monkeypatch.setattr(runner, "_engine", None)
        monkeypatch.setenv(runner.VARIABLE, said)
        TensorPolicy(Policy(), seed=0)(images)
        assert runner._engine == (said or "auto")


def test_tensors_on_the_cpu_import_no_triton(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from augsearch.policies import Policy; "
        "from augsearch.policies.tensor import TensorPolicy; "
        "TensorPolicy(Policy(), seed=0)(torch.zeros((4, 3, 8, 8), dtype=torch.uint8)); "
        "sys.exit(sum(name.endswith('torch.by_stage') for name in sys.modules))"
    )
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run([sys.executable, "-c", code], env=env | {runner.VARIABLE: "triton"}, check=True)


def test_without_triton_torchs_path_goes_on_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # so that the CPU's tensors would take the other
    monkeypatch.setitem(sys.modules, "triton", None)
    for name in ("by_stage", "triton_kernels"):
        monkeypatch.delitem(sys.modules, f"augsearch.policies.backends.torch.{name}", raising=False)
        monkeypatch.delattr(f"augsearch.policies.backends.torch.{name}", raising=False)
    ours = runner._runner("standard", Size(8, 8), 3, Sampling(), torch.device("cpu"), "triton")
    assert type(ours) is RunByKind


@pytest.mark.parametrize("found", ["3.7.1", "2.3", None])
def test_a_triton_that_is_too_old_is_as_none(found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(_: str) -> str:
        if found is None:
            raise PackageNotFoundError
        return found

    monkeypatch.setattr(runner, "version", version)
    assert not runner.triton_can()
    monkeypatch.setattr(runner, "version", lambda _: "3.10.0+git1")
    assert runner.triton_can()


POLICIES = {
    "RandAugment": Policy(),
    "crop, flip, RandAugment": Policy(crop=1.0, flip_horizontal=0.5, fill=(124, 116, 104)),
    "the same, reflect": Policy(crop=1.0, flip_horizontal=0.5, border="reflect"),
    "TrivialAugment": TRIVIALAUGMENT,
    "bilinear": Policy(interpolation="bilinear"),
    "all operations": Policy(num_ops=4, magnitude="random", operations=tuple(OPERATIONS)),
    "AugMix": Policy.named("augmix(3,3)"),
}


@needs_gpu
@pytest.mark.parametrize("shape", [(1, 33, 47), (3, 32, 32), (3, 96, 81)])
@pytest.mark.parametrize("what", POLICIES)
def test_a_gpu_gives_the_same_pixels_by_either_path(what: str, shape: tuple[int, int, int]) -> None:
    images = photos(256, *shape).cuda()
    ours, theirs = TensorPolicy(POLICIES[what], seed=3), TensorPolicy(POLICIES[what], seed=3)
    for _ in range(3):
        runner.use("torch")
        expected = theirs(images)
        runner.use("triton")
        assert torch.equal(ours(images), expected)


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_gpu_is_not_waited_for_by_the_kernels_after_the_first_batch() -> None:
    runner.use("triton")
    images = photos(64, 3, 40, 56).cuda()
    augment = TensorPolicy(Policy(num_ops=4, magnitude="random", operations=tuple(OPERATIONS)), seed=1)
    augment(images)
    try:
        torch.cuda.set_sync_debug_mode("error")
        for _ in range(5):
            augment(images)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
def test_a_gpu_can_hold_a_stage_in_a_graph_whose_numbers_change() -> None:
    from augsearch.policies.backends.torch.by_stage import RunByStage
    from augsearch.policies.backends.torch.triton_kernels import run_stage

    images = photos(64, 3, 40, 56).cuda()
    ours = RunByStage("standard", Size(40, 56), 3, Sampling(), images.device)
    written = []
    for seed in range(3):
        draws = Policy(num_ops=1).draw(64, np.random.default_rng(seed))
        words, bank, _ = ours._written(ours._planner.stages(draws), 64)
        written.append((torch.from_numpy(words[0]).cuda(), ours.run(draws, images)))
    numbers = written[0][0].clone()
    run_stage(images, numbers, bank, measures=True)  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run_stage(images, numbers, bank, measures=True)
    for own, expected in written:
        numbers.copy_(own)
        graph.replay()
        assert torch.equal(result, expected)
