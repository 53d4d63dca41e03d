"""At which numbers of folds a confirmation is looked at, and how wrong it may be there.

The numbers are fixed before the first fold and kept: looking often must not make it likely that chance is
taken for a lead. The error is spent look by look (Bonferroni; alpha spending: Lan and DeMets 1983).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FIRST = 8
"""Folds at the first look; the next ones are at twice as many each."""
LEVEL = 0.035
"""How often the last look may claim wrongly that a candidate is better: with all others 5 %."""
EARLY_LEVEL = 0.01
"""The same for all looks before it together."""
RESERVE = 0.005
"""The same for all looks that are added later."""
TAIL = 0.05
"""How often the last look may take a lead of the margin for less (two one-sided tests: Schuirmann 1987)."""
EARLY_TAIL = 0.02
"""The same for each other look."""
LEAST_FOLDS = 6
"""Fewer folds can hardly tell a lead from chance, however large it looks."""


def too_few_in_words(folds: int) -> str:
    """What is said of a confirmation of fewer than ``LEAST_FOLDS``."""
    return f"on {folds} folds chance can hardly be told from a lead: --confirm-folds {FIRST} or more could"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a confirmation."""

    folds: int
    """After so many folds of those who are still trained."""
    level: float
    """One-sided: how often a candidate that is no better may be called better."""
    tail: float
    """One-sided: how often a lead of the margin may be taken for less."""


def planned_looks(folds: int, share: float = 1.0) -> list[Look]:
    """The looks of a confirmation of at most ``folds``.

    ``share``: of the usual error, where the same images were confirmed on before.
    """
    before = list(_doubling(FIRST, folds))
    early = EARLY_LEVEL / max(1, len(before))
    looks = [Look(number, share * early, share * EARLY_TAIL) for number in before]
    return [*looks, Look(folds, share * LEVEL, share * TAIL)]


def with_reserve(looks: Sequence[Look], folds: int, share: float = 1.0) -> list[Look]:
    """``looks``, and more of them up to ``folds``: each spends half of what is left of the reserve."""
    more = [*looks]
    left = share * RESERVE - sum(look.level for look in looks[_planned(looks) :])
    start = looks[-1].folds
    for number in [*_doubling(2 * start, folds), folds] if folds > start else []:
        left /= 2
        more.append(Look(number, left, share * EARLY_TAIL))
    return more


def cut_short(looks: Sequence[Look], folds: int) -> list[Look]:
    """``looks`` where there is no time for more than ``folds``: the last one is there."""
    kept = [look for look in looks if look.folds < folds]
    last = next((look for look in looks if look.folds >= folds), looks[-1])
    final = looks[-1] if len(looks) == _planned(looks) else last
    return [*kept, Look(folds, final.level, final.tail)]


def _planned(looks: Sequence[Look]) -> int:
    """How many of ``looks`` were planned at first: up to the one that may be wrong most often."""
    return 1 + max(range(len(looks)), key=lambda index: looks[index].level)


def _doubling(first: int, end: int) -> list[int]:
    numbers = []
    while first < end:
        numbers.append(first)
        first *= 2
    return numbers
