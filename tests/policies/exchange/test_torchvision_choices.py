"""Choices that are more than names, in the torchvision module: drawn alike, and read back."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from scipy.stats import ks_2samp

from augsearch.policies import Policy, UserError
from augsearch.policies.effects import Size
from augsearch.policies.exchange.form import Read, forms
from augsearch.policies.planner import DrawnOperation
from augsearch.policies.registry import OPERATIONS
from tests.policies.draws import Drawn, drawn
from tests.policies.exchange.drawn import DRAWS, agree, loaded, made, photos
from tests.policies.strategies import lists_of_choices

FORM = forms()["torchvision"]
SIZE = Size(224, 320)
LEAST_P = 1e-4

EVERYTHING = Policy(
    num_ops=2,
    magnitude="random",
    flip_horizontal=0.5,
    operations=(
        "invert",
        {"name": "rotate", "weight": 2, "value": (-10, 10)},
        {"name": "solarize", "weight": 0.5, "probability": 0.3, "magnitude": (3, 20.5)},
        {"name": "posterize", "value": (3.5, 7.5)},
        {"name": "translate_x", "magnitude": 24, "sd": 6},
        {"name": "brightness", "value": 0.5, "sd": 0.4, "signed": False},
        {"name": "color", "weight": 3},
        {"sequence": ({"name": "grey", "probability": 0.5}, "shear_x", {"name": "gamma", "value": 0.25})},
    ),
)
"""One of each thing that a choice can say."""


def read(text: str) -> Read:
    assert FORM.read
    return FORM.read(text)


def drawn_by(module: Any, count: int) -> list[Drawn]:
    """What the module draws for each image: operations in order, each with its value."""
    torch.manual_seed(0)
    result = []
    for _ in range(count):
        happened = []
        for name, strength, negative, _ in module.draw():
            value = module.value_of(name, strength, negative, (SIZE.width, SIZE.height))
            if name != "identity":
                happened.append((name, math.trunc(value) if name.startswith("translate") else value))
        result.append(tuple(happened))
    return result


def rounded(draws: list[Drawn]) -> list[Drawn]:
    return [tuple((name, round(value, 4) + 0.0) for name, value in one) for one in draws]


@given(data=st.data(), ranges=st.sampled_from(["standard", "wide"]), num_ops=st.integers(1, 8))
@settings(max_examples=15, deadline=None)
def test_what_is_written_is_read_as_the_same_policy(data: Any, ranges: Any, num_ops: int) -> None:
    policy = Policy(num_ops=num_ops, ranges=ranges, operations=data.draw(lists_of_choices(ranges)))
    text = made(policy, FORM).text
    assert read(text) == Read(policy, notes=())
    torch.manual_seed(0)
    picture = PILImage.fromarray(photos()[0])
    assert loaded(text).Augment()(picture).size == picture.size


def test_it_draws_as_often_and_as_strongly() -> None:
    ours = drawn(EVERYTHING, DRAWS, SIZE)
    theirs = drawn_by(loaded(made(EVERYTHING, FORM).text), DRAWS)
    names = [[tuple(name for name, _ in one) for one in each] for each in (ours, theirs)]
    assert agree(*names) > LEAST_P
    values: tuple[dict[str, list[float]], dict[str, list[float]]] = (defaultdict(list), defaultdict(list))
    for found, draws in zip(values, (ours, theirs), strict=True):
        for name, value in (one for each in draws for one in each):
            found[name].append(value)
    for name in values[0].keys() | values[1].keys():
        assert ks_2samp(values[0][name], values[1][name]).pvalue > LEAST_P, name


@pytest.mark.parametrize("name", ["autoaugment-cifar10", "autoaugment-imagenet", "3-augment"])
def test_ready_policies_are_drawn_as_they_are(name: str) -> None:
    policy = Policy.named(name)
    ours, theirs = drawn(policy, 4000, SIZE), drawn_by(loaded(made(policy, FORM).text), 4000)
    if name != "3-augment":  # whose values are not of a few
        assert agree(rounded(ours), rounded(theirs)) > LEAST_P
    names = [[tuple(name for name, _ in one) for one in each] for each in (ours, theirs)]
    assert agree(*names) > LEAST_P


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("solarize", 128 / 255),
        ("posterize", 3.5),
        ("translate_x", 150 / 331),
        ("rotate", -77.5),
        ("gamma", 2),
    ],
)
def test_an_own_value_means_the_same(name: str, value: float) -> None:
    policy = Policy(num_ops=1, operations=({"name": name, "value": value},))
    module = loaded(made(policy, FORM).text)
    for width in (331, 96, 31):
        operation = OPERATIONS[name]
        expected = operation.own_value(value, "standard", Size(40, width))
        assert module.value_of(name, float(value), False, (width, 40)) == pytest.approx(expected, abs=0)
    image = photos()[0]
    picture = PILImage.fromarray(image)
    theirs = module.CHANGES[name](picture, module.value_of(name, float(value), False, picture.size), [])
    ours = policy.apply((DrawnOperation(name, 0, False, (), value),), image)
    differ = abs(ours.astype(int) - theirs)
    assert (differ > 1).mean() <= (0.03 if OPERATIONS[name].kind == "warp" else 0)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('"weight": 2', '"weight": -2', "weight must be > 0"),
        ('"rotate", "weight"', '"turn", "weight"', "unknown operation 'turn'"),
        ('    "rotate": {"weakest"', '    "zoom_in": {"weakest"', "of CHOICES .* look at rotate, zoom_in"),
        ('"limits": (-1.0, 1.0)', '"limits": (-1.0, 2.0)', "brightness has .* can only have"),
        ('CHOICES = [\n    "invert",', "CHOICES = 3 or [", "CHOICES is no plain value"),
        ('CHOICES = [\n    "invert",', "CHOICES = 3\nX = [", "operations must be"),
    ],
)
def test_choices_that_are_wrong_are_refused_in_one_line(old: str, new: str, line: str) -> None:
    text = made(EVERYTHING, FORM).text
    assert old in text
    with pytest.raises(UserError, match=line) as caught:
        read(text.replace(old, new))
    assert "\n" not in str(caught.value)


def test_changed_choices_are_read() -> None:
    text = made(EVERYTHING, FORM).text
    changed = read(text.replace('"value": (-10, 10)', '"value": [-20, 10]'))
    assert not changed.notes
    assert changed.policy.operations[1].value == (-20, 10)  # type: ignore[union-attr]
