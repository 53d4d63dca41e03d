"""What every declared dimension promises, and that one more needs nothing but its declaration."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest

from augsearch.policies import Distillation, Policy, Transfer
from augsearch.search.space import dimensions as declarations
from augsearch.search.space.describe import describe, explain
from augsearch.search.space.dimension import Dimension, Either, Given, Words
from augsearch.search.space.dimensions import DIMENSIONS, Section, dimensions
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.params import baseline_params
from augsearch.search.space.ranges import Choice, Range, Real
from augsearch.search.space.space import TECHNIQUES, SemiSpace, Space, fields_of
from augsearch.search.space.steps import Normal, Redraw
from augsearch.search.space.suggest import suggest
from augsearch.search.space.table import page
from augsearch.trainers.workspace.candidate import Candidate

FIELDS: dict[Section, set[str]] = {
    "policy": set(Policy.model_fields),
    "distillation": set(Distillation.model_fields),
    "transfer": set(Transfer.model_fields),
    "balance": {"class_balance"},
    "semi": {name for technique in TECHNIQUES for name in fields_of(technique)},
}
DECLARED = {
    f"{section}: {one.name}": (section, one)
    for section in DIMENSIONS
    for one in dimensions(section, ["rotate"])
}


def values_of(range_: Range, rng: np.random.Generator) -> list[Any]:
    """Values all over a range, its ends among them."""
    if isinstance(range_, Choice):
        return list(range_.values)
    if isinstance(range_, Real):
        return [range_.low, range_.high, *rng.uniform(range_.low, range_.high, 5).tolist()]
    return list(range(range_.low, range_.high + 1))


def lies_in(value: Any, range_: Range) -> bool:
    return value in range_.values if isinstance(range_, Choice) else range_.low <= value <= range_.high


@pytest.mark.parametrize(("section", "dimension"), DECLARED.values(), ids=DECLARED)
def test_a_step_from_anywhere_stays_in_the_range(section: Section, dimension: Dimension) -> None:
    rng = np.random.default_rng(0)
    for value in [dimension.default, *values_of(dimension.range, rng)]:
        for _ in range(50):
            moved = dimension.moved({dimension.name: value}, rng)
            assert lies_in(moved, dimension.range)
            assert type(moved) is type(value)


@pytest.mark.parametrize(("section", "dimension"), DECLARED.values(), ids=DECLARED)
def test_a_default_lies_in_the_range_and_the_fields_are_the_settings_own(
    section: Section, dimension: Dimension
) -> None:
    assert lies_in(dimension.default, dimension.range)
    assert set(dimension.landing.names) <= FIELDS[section]
    assert {path.partition(".")[0] for path in dimension.landing.fields(dimension.default)} <= FIELDS[section]
    assert dimension.words.meaning


@pytest.mark.parametrize(("section", "dimension"), DECLARED.values(), ids=DECLARED)
def test_a_condition_names_a_dimension_declared_before(section: Section, dimension: Dimension) -> None:
    before = dimensions(section, ["rotate"])
    before = before[: [one.name for one in before].index(dimension.name)]
    when = dimension.when
    for condition in when.conditions if isinstance(when, Either) else [when] if when else []:
        (other,) = (one for one in before if one.name == condition.dimension)
        assert all(lies_in(value, other.range) for value in condition.values)


@pytest.mark.parametrize("section", DIMENSIONS)
def test_names_are_told_apart(section: Section) -> None:
    names = [one.name for one in dimensions(section, ["rotate", "hue"])]
    assert len(set(names)) == len(names)


def test_a_value_is_read_from_the_field_that_it_is_written_to() -> None:
    rng = np.random.default_rng(0)
    for _, dimension in DECLARED.values():
        for value in values_of(dimension.range, rng):
            fields = dimension.landing.fields(value)
            if fields and set(fields) == set(dimension.landing.names):
                assert dimension.landing.value(SimpleNamespace(**fields)) == value


def test_the_page_about_dimensions_is_fresh() -> None:
    docs = Path(__file__).parents[3] / "docs" / "dimensions.md"
    assert docs.read_text(encoding="utf-8") == page(), (
        "python -m augsearch.search.space.table > docs/dimensions.md"
    )


def declare(monkeypatch: pytest.MonkeyPatch, section: Section, toy: Dimension) -> None:
    """In the place of the one of its name, where there is one."""
    others = [one for one in DIMENSIONS[section] if not isinstance(one, Dimension) or one.name != toy.name]
    monkeypatch.setitem(declarations.DIMENSIONS, section, [*others, toy])


def candidates(space: Space, count: int) -> list[tuple[Candidate, dict[str, Any]]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(count)]
    return [(suggest(trial, space), trial.params) for trial in trials]


INTERPOLATION = Dimension(
    "interpolation",
    Choice(("nearest", "bilinear")),
    default="nearest",
    step=Redraw(0.5),
    words=Words("how warped pixels are read"),
)


def test_one_declaration_makes_a_field_of_the_policy_a_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, "policy", INTERPOLATION)
    space = Space(("rotate",), semi=SemiSpace(("fixmatch",), searched=False))

    found = candidates(space, 20)
    assert {params["interpolation"] for _, params in found} == {"nearest", "bilinear"}
    assert all(candidate.policy.interpolation == params["interpolation"] for candidate, params in found)
    own = [candidate.semi.policy for candidate, _ in found if candidate.semi and candidate.semi.policy]
    assert {policy.interpolation for policy in own} == {"nearest", "bilinear"}

    params = baseline_params(next(iter(space.baselines.values())), space)
    assert params["interpolation"] == "nearest"
    rng = np.random.default_rng(0)
    near = [neighbour(params, space, rng)["interpolation"] for _ in range(40)]
    assert 0 < near.count("bilinear") < near.count("nearest")

    smooth = Candidate(policy=Policy(num_ops=0, interpolation="bilinear"))
    assert describe(smooth) == explain(smooth) == "interpolation bilinear"
    assert describe(Candidate(policy=Policy(num_ops=0))) == "no augmentation"
    assert "| `interpolation` | nearest, bilinear | nearest | drawn anew in 50% | always |" in page()


def test_a_dimension_with_a_condition_is_asked_for_where_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    border = Dimension(
        "border",
        Choice(("fill", "reflect")),
        default="fill",
        step=Redraw(0.5),
        when=Given("interpolation", ("bilinear",)),
        words=Words("what lies outside the image"),
    )
    declare(monkeypatch, "policy", INTERPOLATION)
    declare(monkeypatch, "policy", border)
    for candidate, params in candidates(Space(("rotate",)), 30):
        assert ("border" in params) == (candidate.policy.interpolation == "bilinear")
        assert candidate.policy.border == params.get("border", "fill")
    assert "| `interpolation` is bilinear |" in page()


def test_a_techniques_dimension_is_asked_for_where_the_technique_has_its_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class_cap = Dimension(
        "class_cap", Real(1.0, 4.0), default=2.0, step=Normal(0.5), words=Words("the most of a class")
    )
    declare(monkeypatch, "semi", class_cap)
    space = Space(("rotate",), semi=SemiSpace(("pseudo", "fixmatch"), searched=True))
    found = candidates(space, 30)
    assert {candidate.semi.technique for candidate, _ in found if candidate.semi} == {"pseudo", "fixmatch"}
    for candidate, params in found:
        assert ("class_cap" in params) == (
            candidate.semi is not None and candidate.semi.technique == "pseudo"
        )
        assert ("class cap" in describe(candidate)) == ("class_cap" in params)
    assert "| `semi` is pseudo or self-training |" in page()
