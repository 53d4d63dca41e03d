"""Weights are had before work depends on them; from scratch is only what was asked for, and is said."""

from __future__ import annotations

from typing import Any

import pytest

from augsearch.policies import UserError
from augsearch.search.console import Display
from augsearch.search.inputs.prepare import trained_networks
from augsearch.search.inputs.weights import have_weights
from augsearch.search.settings.settings import Settings

RESNET = "torchvision:resnet18"


def said(capsys: pytest.CaptureFixture[str], searched: bool = True, **fields: Any) -> list[str]:
    have_weights(trained_networks(Settings.of(**fields), searched=searched), Display())
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def empty_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, no_network: None) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub._hub_dir", None)


@pytest.mark.parametrize(
    ("fields", "searched"),
    [
        ({"final_model": RESNET}, True),
        ({"final_model": RESNET}, False),
        ({"proxy_model": RESNET, "final": False}, True),
        ({"teacher": RESNET}, True),
        ({"first_teacher": RESNET}, False),
        ({"final_model": RESNET, "weights": "hub"}, False),
    ],
)
def test_weights_that_are_in_no_cache_and_at_no_hub_are_missed_at_once(
    fields: dict[str, Any], searched: bool, empty_cache: None
) -> None:
    with pytest.raises(UserError) as caught:
        have_weights(trained_networks(Settings.of(**fields), searched=searched), Display())
    message = str(caught.value)
    assert message.startswith(f"the weights of {RESNET} are in no cache and could not be fetched (")
    assert message.endswith("or the network lite0, whose weights come with augsearch")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("fields", "searched"),
    [
        ({}, True),
        ({"final_model": "lite0", "proxy_model": "lite0", "teacher": "lite0"}, True),
        ({"final_model": RESNET, "final": False}, True),
        ({"proxy_model": RESNET, "final_model": "tiny"}, False),
        ({"teacher": "wide"}, True),
    ],
)
def test_nothing_is_asked_of_a_network_that_brings_its_weights_or_has_none_or_is_not_trained(
    fields: dict[str, Any], searched: bool, empty_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, searched, **fields) == []


def test_from_scratch_is_said_once_of_each_network(
    empty_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, proxy_model=RESNET, final_model=RESNET, weights="none")
    assert lines == [f"{RESNET} learns from scratch; --weights auto would start from what it knows already"]
    (line,) = said(capsys, teacher="lite0", teacher_weights="none")
    assert line.startswith("lite0 learns from scratch; --teacher-weights auto ")
    (line,) = said(capsys, final_model="lite0", transfer="none")
    assert line.startswith("lite0 learns from scratch")
