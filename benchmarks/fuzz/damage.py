"""Valid files, and what becomes of them: bytes changed, cut out, doubled, or put in from another."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

_SPECIAL = (
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
    *(
        b"[" * 200,
        b"{" * 200,
        b"9" * 400,
        b"../",
        b"/dev/zero",
        b"\xf0\x9f\x98\x80",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
    ),
)
"""What readers stumble over: largest and smallest numbers, ends of lines, nesting, paths, odd characters."""


@st.composite
def damaged(draw: st.DrawFn, whole: Sequence[bytes]) -> bytes:
    """One of the ``whole`` files, or a part of it, with one to eight places that are not as they were."""
    content = draw(st.sampled_from(list(whole)))
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.sampled_from((0, 1, 2, 4, 16, 64, 1024)))
        before, cut, after = content[:at], content[at : at + length], content[at + length :]
        match draw(st.sampled_from(("put", "cut", "double", "change", "other", "end"))):
            case "put":
                content = before + draw(st.sampled_from(_SPECIAL) | st.binary(max_size=8)) + cut + after
            case "cut":
                content = before + after
            case "double":
                content = before + cut * draw(st.integers(2, 40)) + after
            case "change":
                content = before + draw(st.sampled_from(_SPECIAL) | st.binary(max_size=8)) + after
            case "other":
                other = draw(st.sampled_from(list(whole)))
                content = before + other[at : at + length] + after
            case _:
                content = before
    return content
