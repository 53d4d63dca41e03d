"""Names of files as they can be shown and stored."""

from __future__ import annotations


def printable(name: str) -> str:
    """``name`` with what a terminal cannot print replaced, as in a name that is not in UTF-8."""
    text = name.encode("utf-8", "backslashreplace").decode()
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
