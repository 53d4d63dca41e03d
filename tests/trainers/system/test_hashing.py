"""Hashes are what they were: caches, studies and records are known by them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from augsearch.trainers.system.hashing import (
    NO_KEY,
    cache_key,
    content_key,
    content_of,
    digest,
    growing_hash,
    hashed_files,
    hex_hash,
    stamp,
)


def test_they_are_what_earlier_versions_wrote() -> None:
    assert digest({"b": 1, "a": [1]}) == "d223915182f85062"
    assert content_key(b"abc").hex() == "cf4ab791c62b8d2b2109c90275287816"
    assert cache_key(["npz", 1]) == hashlib.blake2b(b'["npz", 1]', digest_size=16).hexdigest()


@settings(deadline=None)
@given(st.lists(st.binary()), st.sampled_from([6, 8, 16, 64]))
def test_content_that_comes_in_pieces_has_the_hash_of_the_whole(pieces: list[bytes], size: int) -> None:
    running = growing_hash(size=size)
    for piece in pieces:
        running.update(piece)
    assert running.hexdigest() == hex_hash(*pieces, size=size) == hex_hash(b"".join(pieces), size=size)


def test_the_order_of_keys_counts_for_caches_alone() -> None:
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert digest(one) == digest(other)
    assert cache_key(one) != cache_key(other)


def test_files_are_known_by_their_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}" for index in range(20)]
    for index, path in enumerate(paths):
        path.write_bytes(b"%d" % (index % 7))
    keys = hashed_files([*paths, tmp_path / "gone"])
    assert keys[:20] == [content_key(b"%d" % (index % 7)) for index in range(20)]
    assert keys[20] == NO_KEY
    assert content_of(str(paths[0])) == content_of(str(paths[7])) != content_of(str(paths[1]))
    assert content_of("tiny") == "tiny"
    assert stamp(tmp_path / "gone") == (-1, -1)
