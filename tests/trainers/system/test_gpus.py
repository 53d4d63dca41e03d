"""Which GPUs there are, as a process is told of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from augsearch.trainers.system import gpus as module
from augsearch.trainers.system.gpus import gpus, has_code_for, has_gpu


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs, as torch would say: no machine of the tests has any."""
    monkeypatch.setattr(module, "_has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: (8, 6))


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ("0", "1")),
        ("", ("0", "1")),
        ("3,5", ("3", "5")),
        ("GPU-5a1b, GPU-77", ("GPU-5a1b", "GPU-77")),
        ("1,0,-1", ("1", "0")),
    ],
)
@pytest.mark.usefixtures("found")
def test_gpus_are_named_as_the_variable_names_them(
    visible: str | None, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus("auto") == gpus("cuda") == names


@pytest.mark.usefixtures("found")
def test_one_gpu_that_is_named_and_the_cpu_are_given_to_nobody_alone() -> None:
    assert gpus("cpu") == gpus("cuda:1") == ()
    assert has_gpu("cuda:1")
    assert not has_gpu("cpu")


def test_a_driver_without_gpus_for_torch_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert gpus("auto") == ()
    assert not has_gpu("auto")


@pytest.mark.usefixtures("found")
def test_gpus_whose_driver_is_too_old_for_torch_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpus("auto") == gpus("cuda") == ()
    assert not has_gpu("auto")


@pytest.mark.usefixtures("found")
def test_a_gpu_that_torch_has_no_code_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: ((6, 0), (8, 6))[number])
    assert gpus("auto") == ("5",)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus("auto") == ("1",)


@pytest.mark.parametrize(
    ("own", "built_for", "runs"),
    [
        ((7, 0), "sm_75", False),
        ((7, 5), "sm_75", True),
        ((8, 6), "sm_80", True),
        ((8, 0), "sm_86", False),
        ((9, 0), "sm_80", False),
        ((6, 0), "sm_75", False),
        ((9, 0), "sm_90a", True),
        ((10, 0), "sm_90a", False),
        ((10, 3), "sm_100", True),
        ((10, 3), "sm_100a", False),
        ((10, 3), "sm_100f", True),
        ((12, 0), "compute_90", True),
        ((8, 9), "compute_90", False),
        ((12, 0), "compute_90a", False),
        ((8, 9), "of a maker yet to come", True),
    ],
)
@pytest.mark.usefixtures("found")
def test_code_runs_within_its_generation_and_from_an_intermediate_one_later_on(
    own: tuple[int, int], built_for: str, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: [built_for])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: own)
    assert has_code_for(0) == runs


@pytest.mark.usefixtures("found")
def test_where_torch_does_not_say_what_it_was_built_for_all_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: (3, 5))
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "get_arch_list", list)
        assert has_code_for(0)
    assert not has_code_for(0)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert has_code_for(0)


@pytest.mark.parametrize("file", ["/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvmap"])
def test_a_driver_is_known_by_its_file(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == file)
    assert module._has_driver()
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert not module._has_driver()
