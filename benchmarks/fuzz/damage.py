"""Valid files, and what becomes of them: bytes changed, cut out, doubled, or put in from another."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

PUT = (
    *(b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00"),
    *(
        b"-1",
        b"0",
        b"1e999",
        b"NaN",
        b"null",
        b"[]",
        b"{}",
        b'""',
        b"\n",
        b"\r\n",
        b'"',
        b",",
        b"\xef\xbb\xbf",
    ),
    *(b"[" * 200, b"{" * 200, b"9" * 400, b"../", b"/dev/zero", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80"),
)
"""What readers stumble over: largest and smallest numbers, ends of lines, nesting, paths, odd characters."""
LENGTHS = (0, 1, 2, 4, 16, 64, 1024)
"""Bytes of a place."""


def damaged(whole: Sequence[bytes], random: Random) -> bytes:
    """One of the ``whole`` files, or a part of it, with one to eight places that are not as they were."""
    content = random.choice(whole)
    for _ in range(random.randint(1, 8)):
        at, length = random.randint(0, max(0, len(content) - 1)), random.choice(LENGTHS)
        before, cut, after = content[:at], content[at : at + length], content[at + length :]
        match random.choice(("put", "cut", "double", "change", "other", "end")):
            case "put":
                content = before + _put(random) + cut + after
            case "cut":
                content = before + after
            case "double":
                content = before + cut * random.randint(2, 40) + after
            case "change":
                content = before + _put(random) + after
            case "other":
                content = before + random.choice(whole)[at : at + length] + after
            case _:
                content = before
    return content


def _put(random: Random) -> bytes:
    return random.choice(PUT) if random.random() < 0.5 else random.randbytes(random.randint(0, 8))
