"""Where to compute: named, there, and with as many threads as it takes to repeat oneself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from augsearch.policies import UserError
from augsearch.trainers.system import devices
from augsearch.trainers.system.devices import (
    device_here,
    one_thread,
    quickest_convolutions,
    quickest_threads,
    randomness,
    resolve_device,
)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:first", "cuda:-1", "meta"])
def test_a_device_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="device must be auto, cpu, cuda, cuda:NUMBER or mps, got") as error:
        resolve_device(name)
    assert "\n" not in str(error.value)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="device cuda:99: this machine has"):
        resolve_device("cuda:99")
    if not torch.backends.mps.is_available():
        with pytest.raises(UserError, match="device mps: PyTorch finds no GPU of Apple's here; use cpu"):
            resolve_device("mps")
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two, as torch would say."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "Tesla P100")


@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_is_there_is_taken() -> None:
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["cuda:2", "cuda:128", "cuda:256", "cuda:300"])
@pytest.mark.usefixtures("gpus")
def test_numbers_that_torch_counts_round_in_circles_are_refused_as_they_stand(name: str) -> None:
    with pytest.raises(UserError, match=f"^device {name}: this machine has 2 CUDA devices; use cpu$"):
        resolve_device(name)


OLD = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver."


@pytest.mark.usefixtures("gpus")
def test_of_a_driver_that_is_too_old_torchs_own_words_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError(f"{OLD}\nAnd so on")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(UserError) as error:
        resolve_device("cuda")
    assert str(error.value) == f"device cuda: PyTorch can't use it ({OLD[:-1]}); use cpu until that is mended"


@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_torch_was_not_built_for_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: ((6, 0), (8, 0))[number])
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda:1")
    with pytest.raises(UserError) as error:
        resolve_device("cuda:0")
    assert str(error.value) == (
        "device cuda:0: this PyTorch was not built for Tesla P100 (sm_60) but for sm_75, sm_80; "
        "install one that was, or use cpu"
    )
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(UserError, match=r"^device cuda: this PyTorch was not built for Tesla P100"):
        resolve_device("cuda")


@pytest.mark.parametrize(("name", "inside"), [("cpu", False), ("cuda", True)])
def test_convolutions_are_timed_on_a_gpu_alone_and_only_inside(name: str, inside: bool) -> None:
    before = torch.backends.cudnn.benchmark
    with quickest_convolutions(torch.device(name)):
        assert torch.backends.cudnn.benchmark == (before or inside)
    assert torch.backends.cudnn.benchmark == before


def test_randomness_follows_from_its_seeds_and_leaves_no_trace() -> None:
    state = torch.get_rng_state()
    drawn = []
    for seeds in ([1, 2], [1, 2], [1, 3]):
        with randomness(torch.device("cpu"), seeds):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_one_thread_is_one_and_as_many_as_before_after_it() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_number_of_threads_is_the_one_that_is_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(devices.time, "perf_counter", lambda: clock[0])

    def slower_with(threads: int) -> Callable[[], None]:
        def step() -> None:
            clock[0] += 2 if torch.get_num_threads() == threads else 1

        return step

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert quickest_threads(slower_with(3)) == 1
        assert quickest_threads(slower_with(1)) == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_what_was_trained_on_another_machine_is_looked_at_on_what_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert device_here("cuda").type == "cpu"
    assert device_here("cpu").type == "cpu"
