"""Which GPUs there are, as a process is told of them."""

from __future__ import annotations

import pytest
import torch

from augsearch.trainers.system import gpus as module
from augsearch.trainers.system.gpus import gpus, has_gpu


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs, as torch would say: no machine of the tests has any."""
    monkeypatch.setattr(module, "_has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


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
