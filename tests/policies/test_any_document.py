"""Any text in place of a policy file: a policy, or one clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from augsearch.policies import Policy, PolicyFile, UserError, read_policy
from augsearch.policies.document import parse_policy

WHOLE = PolicyFile(
    policy=Policy(
        operations=(
            "invert",
            {"name": "rotate", "weight": 2, "probability": 0.5, "value": (-10, 10)},
            {"sequence": ({"name": "color", "magnitude": 9, "sd": 3}, "equalize")},
        ),
        mixing={"kind": "cutmix", "alpha": 1.0, "probability": 0.5},
    )
).model_dump(mode="json")

words = st.sampled_from(
    ["policy", "operations", "name", "value", "sequence", "magnitude", "rotate", "random", "wide", "version"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | words,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all that stands in a document."""
    pairs: Any = document.items() if isinstance(document, dict) else enumerate(document)
    found = []
    for key, value in pairs:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


def with_instead(path: tuple[Any, ...], value: Any) -> Any:
    document = json.loads(json.dumps(WHOLE))
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return document


def assert_policy_or_line(file: Path, text: str | bytes) -> None:
    file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    for read in (read_policy, Policy.load):
        message = f"{file}: read"
        try:
            assert isinstance(read(file), PolicyFile | Policy)
        except UserError as error:
            message = str(error)
        assert len(message.splitlines()) == 1
        assert message.startswith(f"{file}: ")


IN_ONE_FOLDER = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(path=st.sampled_from(places(WHOLE)), value=anything)
@example(path=("training",), value={"a line\rand another": None})
@IN_ONE_FOLDER
def test_a_file_with_anything_in_any_place(path: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    assert_policy_or_line(tmp_path / "policy.json", json.dumps(with_instead(path, value)))


@given(text=st.text(max_size=30), begin=st.integers(0, 900), length=st.integers(0, 40))
@IN_ONE_FOLDER
def test_a_file_that_was_damaged(text: str, begin: int, length: int, tmp_path: Path) -> None:
    whole = json.dumps(WHOLE)
    assert_policy_or_line(tmp_path / "policy.json", whole[:begin] + text + whole[begin + length :])


@given(content=st.binary(max_size=40))
@IN_ONE_FOLDER
def test_a_file_of_any_bytes(content: bytes, tmp_path: Path) -> None:
    assert_policy_or_line(tmp_path / "policy.json", content)


@given(document=anything)
@IN_ONE_FOLDER
def test_any_document(document: Any) -> None:
    message = "here: read"
    try:
        parse_policy(document, "here")
    except UserError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    assert message.startswith("here: ")


@pytest.mark.parametrize("depth", [1000, 100_000])
def test_a_file_of_brackets_in_brackets(depth: int, tmp_path: Path) -> None:
    assert_policy_or_line(tmp_path / "policy.json", "[" * depth + "]" * depth)
    sequences = '{"sequence": [' * depth + "]}" * depth
    assert_policy_or_line(tmp_path / "policy.json", json.dumps(WHOLE).replace('"invert"', sequences))
