"""The recipe: the schedule, the rate where none is given, and what each machine computes in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from augsearch.policies import Transfer
from augsearch.trainers.system.devices import precision_on
from augsearch.trainers.training.recipe import Recipe, one_cycle

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@given(
    st.floats(0.01, 0.99),
    st.lists(st.floats(0, 1), min_size=2, max_size=20),
)
def test_one_cycle_rises_to_1_and_falls_to_0(warm_up: float, moments: list[float]) -> None:
    rising = [one_cycle(moment, warm_up) for moment in sorted(moments) if moment <= warm_up]
    falling = [one_cycle(moment, warm_up) for moment in sorted(moments) if moment >= warm_up]
    # Libraries' cosines wobble in the last bit.
    assert (np.diff(rising) >= 0).all()
    assert (np.diff(falling) <= 1e-12).all()
    assert all(0 <= factor <= 1 for factor in rising + falling)
    assert one_cycle(0, warm_up) > 0
    assert one_cycle(warm_up, warm_up) == 1
    assert one_cycle(warm_up / 2, warm_up) == pytest.approx(0.5)
    assert one_cycle((1 + warm_up) / 2, warm_up) == pytest.approx(0.5)
    assert one_cycle(1, warm_up) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("mode", ["head", "full"])
def test_trained_weights_learn_ten_times_slower_than_fresh_ones(mode: str) -> None:
    transfer = Transfer.model_validate({"mode": mode})
    assert Recipe().top_rate(None) == 0.02
    assert Recipe().top_rate(transfer) == 0.002


def test_a_rate_that_is_given_is_the_rate() -> None:
    recipe = Recipe(learning_rate=0.3)
    assert recipe.top_rate(None) == recipe.top_rate(Transfer(mode="full")) == 0.3


NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DENSE = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Linear(8, 2))
BY_CHANNEL = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Sequential(nn.Conv2d(8, 8, 3, groups=8)))


@pytest.mark.parametrize("network", [DENSE, BY_CHANNEL], ids=["dense", "by channel"])
@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("precision", NAMES)
def test_a_precision_that_is_named_is_used_everywhere(
    precision: str, device: torch.device, network: nn.Module
) -> None:
    recipe = Recipe.model_validate({"precision": precision})
    assert precision_on(device, network, recipe.precision) == NAMES[precision]


@pytest.mark.parametrize(
    ("device", "natively", "network", "expected"),
    [
        (CPU, True, DENSE, torch.bfloat16),
        (CPU, True, BY_CHANNEL, torch.float32),
        (CPU, False, DENSE, torch.float32),
        (CPU, False, BY_CHANNEL, torch.float32),
    ],
)
def test_auto_is_the_half_that_a_cpu_computes_in_natively(
    device: torch.device,
    natively: bool,
    network: nn.Module,
    expected: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: natively)
    assert precision_on(device, network) == expected


@pytest.mark.parametrize("network", [DENSE, BY_CHANNEL], ids=["dense", "by channel"])
@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((6, 1), torch.float32),
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((12, 0), torch.bfloat16),
    ],
)
def test_auto_is_the_half_that_a_gpu_has_units_for_and_none_that_it_emulates(
    capability: tuple[int, int], network: nn.Module, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)  # as it says of all, by emulation
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert precision_on(CUDA, network) == expected
    monkeypatch.setattr(torch.version, "hip", "6.4")  # AMD's count otherwise
    assert precision_on(CUDA, network) == torch.bfloat16


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"accumulation": 0},
        {"ema": 1.0},
        {"ema": 0.0},
        {"label_smoothing": 1.0},
        {"warm_up": 0.0},
        {"precision": "float64"},
        {"momentum": 1.0},
        {"weight_decay": -0.1},
        {"patience": 3},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_its_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as error:
        Recipe.model_validate(wrong)
    assert [detail["loc"] for detail in error.value.errors()] == [(name,) for name in wrong]
