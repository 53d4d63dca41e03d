"""The benchmarks are fair: every contestant does the whole work, and the same work as ours."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click import ClickException
from click.testing import CliRunner

from augsearch.policies import RANDAUGMENT, Policy

ROOT = Path(__file__).parents[2]
SIDE = 96
PEERS = ("albumentations", "augrs", "kornia", "timm")

pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Any]:
    """The modules of ``benchmarks``; without the peers the tests skip."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        patch.setenv("ALBUMENTATIONS_NO_TELEMETRY", "1")
        patch.setenv("ALBUMENTATIONS_OFFLINE", "1")
        for peer in PEERS:
            pytest.importorskip(peer, reason=f"needs {peer}; `make bench-throughput` installs the peers")
        names = ("cuda", "memory", "operations", "peers", "randaugment")
        modules = {name: importlib.import_module(f"benchmarks.throughput.{name}") for name in names}
        yield SimpleNamespace(
            environment=importlib.import_module("benchmarks.environment"),
            images=importlib.import_module("benchmarks.images"),
            main=importlib.import_module("benchmarks.throughput.__main__"),
            **modules,
        )


@pytest.fixture(scope="module")
def images(benchmarks: Any) -> Any:
    return benchmarks.images.Images(benchmarks.images.smooth_images(SIDE, 2))


def distance(policy: Policy, image: np.ndarray, found: np.ndarray) -> float:
    """How far ``found`` is from the nearest of the policy's draws, in grey levels, away from the borders."""
    augment = policy.transform(seed=0)
    middle = (slice(SIDE // 4, -SIDE // 4),) * 2
    draws = [augment(image)[middle].astype(int) for _ in range(40)]
    return min(float(np.abs(draw - found[middle]).mean()) for draw in draws)


def test_every_randaugment_gives_back_all_images_in_their_shape(benchmarks: Any, images: Any) -> None:
    contestants = benchmarks.randaugment.contestants(images)
    assert {contestant.library for contestant in contestants} == {
        *("augsearch", "torchvision v2", "timm", "AlbumentationsX", "kornia")
    }
    for contestant in contestants:
        found = benchmarks.images.as_arrays(contestant.apply(contestant.inputs[0]))
        assert len(found) == contestant.per_input, contestant
        assert all(image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8 for image in found), contestant


def test_the_peers_do_the_same_as_ours(benchmarks: Any, images: Any) -> None:
    peers = benchmarks.operations.all_peers(images)
    for job in benchmarks.operations.jobs():
        for contestant in benchmarks.operations.contestants(job, images, peers):
            found = benchmarks.images.as_arrays(contestant.apply(contestant.inputs[0]))
            assert len(found) == contestant.per_input
            assert all(image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8 for image in found)
            if job.tolerance is not None and not contestant.ours:
                away = distance(job.policy, images.arrays[0], found[0])
                assert away <= job.tolerance, (job.name, contestant.library, contestant.form)


def test_the_peers_finish_their_images(benchmarks: Any, images: Any) -> None:
    """A view of the input, or a promise of contiguous pixels, would leave work to whoever comes next."""
    peers = benchmarks.operations.all_peers(images)
    for job in benchmarks.operations.jobs():
        for contestant in benchmarks.operations.contestants(job, images, peers):
            given = contestant.inputs[0]
            found = contestant.apply(given)
            who = (job.name, contestant.library, contestant.form)
            assert found is not given, who
            if isinstance(found, torch.Tensor):
                assert found.is_contiguous(), who
                assert found.untyped_storage().data_ptr() != given.untyped_storage().data_ptr(), who
            for one in found if isinstance(found, list) else [found]:
                if isinstance(one, np.ndarray):
                    assert one.flags.c_contiguous, who
                    assert not np.shares_memory(one, given), who


def test_the_peers_shear_by_our_slope(benchmarks: Any) -> None:
    """They shear about different points, so the slope of a sheared line is compared."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[:, SIDE // 2 - 2 : SIDE // 2 + 2] = 255
    lines = benchmarks.images.Images([image, image])
    job = next(job for job in benchmarks.operations.jobs() if job.name == "shear_x")
    for contestant in benchmarks.operations.contestants(job, lines, benchmarks.operations.all_peers(lines)):
        found = benchmarks.images.as_arrays(contestant.apply(contestant.inputs[0]))[0][..., 0].astype(float)
        places = (found * np.arange(SIDE)).sum(axis=1) / found.sum(axis=1)
        slope = np.polyfit(np.arange(SIDE), places, 1)[0]
        assert abs(slope) == pytest.approx(benchmarks.peers.SLOPE, abs=0.005), contestant.library


def test_the_peers_cut_out_our_square_and_see_from_one_angle(benchmarks: Any, images: Any) -> None:
    white = benchmarks.images.Images([np.full((SIDE, SIDE, 3), 255, np.uint8)] * 2)
    area = benchmarks.operations.strengths(SIDE).cut ** 2
    for peer in benchmarks.operations.all_peers(white):
        found = benchmarks.images.as_arrays(peer.ways["cutout"](peer.inputs[0]))[0]
        assert (found == 0).all(axis=2).sum() == pytest.approx(area, rel=0.15), peer.library
    views = [
        benchmarks.images.as_arrays(peer.ways["perspective"](peer.inputs[0]))[0].astype(int)
        for peer in benchmarks.operations.all_peers(images)
        if peer.library in {"Pillow", "torchvision v2", "kornia"}
    ]
    for view in views[1:]:
        assert np.abs(view - views[0]).mean() < 1


def test_timm_and_kornia_draw_from_our_operations_at_our_strengths(benchmarks: Any, images: Any) -> None:
    names = {"TranslateXRel": "translate_x", "TranslateYRel": "translate_y", "AutoContrast": "auto_contrast"}
    names |= {"ShearX": "shear_x", "ShearY": "shear_y", "PosterizeOriginal": "posterize"}
    seen = {"identity"}
    for operation in benchmarks.randaugment.timm_randaugment("nearest").ops[:-1]:
        name = names.get(operation.name, operation.name.removesuffix("Increasing").lower())
        found = np.asarray(operation(images.pictures[0])).astype(int)
        assert distance(Policy(num_ops=1, operations=(name,)), images.arrays[0], found) < 2.5, operation
        seen.add(name)
    assert seen == set(RANDAUGMENT)

    kornia = benchmarks.randaugment.kornia_randaugment("nearest")
    operations = [name for name, *_ in benchmarks.randaugment.KORNIA_POLICY]
    assert set(operations) == set(RANDAUGMENT)
    # Formulas of its own, and a shear about the middle.
    of_its_own = {"brightness", "color", "contrast", "shear_x", "shear_y"}
    for index, name in enumerate(operations):
        kornia.rand_selector = lambda n, index=index: torch.tensor([index])
        found = benchmarks.images.as_arrays(kornia(images.float_batches(2)[0]).detach())[0].astype(int)
        if name not in of_its_own:
            assert distance(Policy(num_ops=1, operations=(name,)), images.arrays[0], found) < 1, name
        assert (found != images.arrays[0]).any() == (name != "identity"), name


def test_a_run_writes_tables_and_figures_without_a_path_of_this_machine(
    benchmarks: Any, tmp_path: Path
) -> None:
    page, raw = tmp_path / "page.md", tmp_path / "raw.json"
    command = [sys.executable, "-m", "benchmarks.throughput", "--rounds=1", "--seconds=0.001", "--side=32"]
    command += ["--part=randaugment", "--part=operations", f"--markdown={page}", "--json", str(raw)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    figures = json.loads(raw.read_text())
    assert {figure["side"] for figure in figures["randaugment"]} == {32}
    assert {figure["operation"] for figure in figures["operations"]} == {
        job.name for job in benchmarks.operations.jobs()
    }
    for text in (done.stdout, page.read_text(), raw.read_text()):
        assert "RandAugment" in text or "randaugment" in text
        assert str(tmp_path) not in text
        assert str(ROOT) not in text


def test_the_gpus_benchmark_times_nothing_where_its_two_paths_differ(
    benchmarks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda, device = benchmarks.cuda, torch.device("cpu")
    assert cuda.paths(device) == ("torch",)
    monkeypatch.setattr(cuda.runner, "_engine", "torch")
    monkeypatch.setattr(cuda, "paths", lambda device: ("torch", "triton"))  # which is torch's, on the CPU
    cuda._compare_paths(cuda._images(device, 2, 32), "nearest")
    by_path = cuda.by_path

    def wrong(path: Any, augment: Any) -> Any:
        right = by_path(path, augment)
        return (lambda images: right(images) ^ 1) if path == "triton" else right

    monkeypatch.setattr(cuda, "by_path", wrong)
    with pytest.raises(ClickException, match=r"other pixels than torch's: 6144 of 6144, nearest, batch 0"):
        cuda._compare_paths(cuda._images(device, 2, 32), "nearest")


@pytest.mark.parametrize(("can", "expected"), [(True, ("torch", "triton")), (False, ("torch",))])
def test_the_gpus_benchmark_has_a_second_path_where_the_library_would_take_it(
    benchmarks: Any, monkeypatch: pytest.MonkeyPatch, can: bool, expected: tuple[str, ...]
) -> None:
    monkeypatch.setattr(benchmarks.cuda.runner, "triton_can", lambda: can)
    assert benchmarks.cuda.paths(torch.device("cuda")) == expected


def test_the_gpus_benchmark_runs_and_says_when_there_is_no_gpu(
    benchmarks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = benchmarks.cuda.measure(torch.device("cpu"), [(2, 32)], 1, 0, lambda text: None)
    assert all(one.rate > 0 for one in measured)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(benchmarks.main.main, ["--device", "cuda"])
    assert result.exit_code == 1
    assert result.output.strip().splitlines() == [
        "Error: torch finds no CUDA device; without --device cuda the CPU is measured"
    ]
