"""Reading JSON from strangers: what is no JSON, or too much of it, is refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from augsearch.policies import UserError
from augsearch.policies.json_files import LARGEST_FILE, POLICY_FILE, DocumentFormat, read_json

RECIPE = DocumentFormat("recipe", 3, "recipe")


def test_json_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"α": [1, 2.5, null, true]}\r\n', encoding="utf-8")
    assert read_json(path, "note") == {"α": [1, 2.5, None, True]}


def test_a_mark_of_its_encoding_is_no_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(path, "note") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[NaN]", "NaN is not a number in JSON"),
        (b"[-Infinity]", "-Infinity is not a number in JSON"),
        (b'"\xff"', "not valid JSON"),
        (
            b'{"a": 1, "b": {"c": 1, "d": 2, "c": 3}}',
            'the key "c" stands twice in one object; keep one of them',
        ),
        (b"[" * 100_000, "not valid JSON"),
        (b"1" * 5_000, "not valid JSON"),
        (b"[" + b" " * LARGEST_FILE + b"]", "larger than 16 MiB, so no note"),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path, "note")
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"[" + b" " * (LARGEST_FILE - 2) + b"]")
    assert read_json(path, "note") == []


def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.json: no such file or directory; give a note"):
        read_json(tmp_path / "a.json", "note")
    with pytest.raises(UserError, match="is a directory; give a note"):
        read_json(tmp_path, "note")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_what_never_ends_is_refused_however_small_it_says_that_it_is() -> None:
    assert os.stat("/dev/zero").st_size == 0  # noqa: PTH116
    with pytest.raises(UserError, match="larger than 16 MiB"):
        read_json(Path("/dev/zero"), "note")


def test_a_document_says_its_format_and_version() -> None:
    document = {"format": "recipe", "version": 3, "flour": 500}
    assert RECIPE.checked(document, "a") is document
    with pytest.raises(UserError, match=r'^a: not a recipe \(it has no "format": "recipe"\)$'):
        RECIPE.checked({**document, "format": "policy"}, "a")
    with pytest.raises(UserError, match="a: format version 2; this augsearch reads version 3"):
        RECIPE.checked({**document, "version": 2}, "a")


@pytest.mark.parametrize("document", [None, [], "recipe", {}, {"version": 1}])
def test_what_says_no_format_is_no_policy_file(tmp_path: Path, document: object) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="not a policy file"):
        POLICY_FILE.read(path)
