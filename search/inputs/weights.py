"""The weights that a command's networks start from: had before hours of work depend on them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from augsearch.search.console import Display
from augsearch.trainers.models.names import LITE, LITE_PACKAGE, hub_of


def have_weights(trained: Iterable[tuple[str, str, str]], display: Display) -> None:
    """Fetch what is in no cache yet, once and not by each worker; and say which networks learn from scratch.

    ``trained``: the networks that may be trained: the flag of their weights, their name, their weights.

    Raises:
        UserError: weights can't be had; says what else can be done.
    """
    seen = set()
    for flag, network, weights in trained:
        if hub_of(network) is None or (network, weights) in seen:
            continue
        seen.add((network, weights))
        if weights == "none":
            display.line(f"{network} learns from scratch; {flag} auto would start from what it knows already")
        elif weights == "hub" and not (network == LITE and find_spec(LITE_PACKAGE)):
            from augsearch.trainers.models.pretrained import pretrained  # it imports torch

            pretrained(network)
