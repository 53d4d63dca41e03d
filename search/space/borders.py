"""What may lie outside an image that is moved, as one choice."""

from __future__ import annotations

from typing import Any

from augsearch.policies import Policy
from augsearch.search.space.space import BLACK, WHITE

DATA_MEAN = "mean"
"""Stands for the colour in a policy's fields until the search's is known, ``Space.mean``."""

BORDERS: dict[str, Any] = {"black": BLACK, "white": WHITE, "mean": DATA_MEAN, "reflect": BLACK}
"""Ways to fill what lies outside an image, and the colour of each."""

MEANING = "what lies outside the image: black, white, the training images' mean colour, or its mirror"
"""What each of them is, for the documentation."""


def written(border: str) -> dict[str, Any]:
    """The policy's fields that ``border`` comes to."""
    return {"border": "reflect" if border == "reflect" else "fill", "fill": BORDERS[border]}


def border_of(policy: Policy) -> str:
    """Which of ``BORDERS`` a policy has; any other colour counts as the mean."""
    if policy.border == "reflect":
        return "reflect"
    return {BLACK: "black", WHITE: "white"}.get(policy.fill, "mean")


def border_words(policy: Policy) -> str:
    """A border in words, where it is not the usual one."""
    said = {"white": "white border", "mean": "border of the mean colour", "reflect": "reflected border"}
    return said.get(border_of(policy), "")
