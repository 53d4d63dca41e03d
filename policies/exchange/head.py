"""What stands at the head of every exported file: where the policy comes from, and why to believe it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augsearch.policies.document import PolicyFile

WIDTH = 100
LONGEST = 600
"""Characters of a text from a policy file; it may be a stranger's."""


def head_lines(file: PolicyFile, form: str, differences: Iterable[str], notes: Iterable[str]) -> list[str]:
    """The lines of the head, without the comment marks of any language."""
    lines = [f"Augmentation policy for {form}, written by augsearch {_version()}.", ""]
    origin, evidence = file.provenance, file.evidence
    if "study" in origin:
        name = plain(origin.get("name", ""))
        lines += _item(
            f"From study {plain(origin['study'])}, trial {plain(origin.get('trial', '?'))} ({name})."
        )
    elif origin:
        lines += _item(f"From {plain(origin.get('imported_from', origin.get('name', 'a policy file')))}.")
    verdict = evidence.get("verdict")
    lines += _item(
        f"Verdict: {plain(verdict)}" if verdict else "Verdict: none; nobody has confirmed this policy."
    )
    training = [
        name.replace("_", " ")
        for name in type(file.training).model_fields
        if getattr(file.training, name) is not None
    ]
    if training:
        lines += _item(f"It was found together with {', '.join(training)}, which only a policy file can say.")
    for title, items in (("Approximated:", differences), ("Good to know:", notes)):
        listed = [line for item in items for line in _item(f"- {item}", "  ")]
        lines += ["", title, *listed] if listed else []
    return lines


def plain(value: Any) -> str:
    """``value`` as one line of text that can't end a comment or a string in any of the languages."""
    text = " ".join(str(value).split())
    kept = "".join(letter for letter in text if letter.isprintable())
    return kept.replace("\\", "/").replace('"', "'")[:LONGEST]


def _item(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _version() -> str:
    try:
        return version("augsearch")
    except PackageNotFoundError:
        return "(not installed)"
