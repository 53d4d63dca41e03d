"""How classes of unequal size are evened out, as a searched dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING

from augsearch.search.space.dimension import Dimension, Words, field
from augsearch.search.space.ranges import Choice
from augsearch.search.space.steps import Redraw

if TYPE_CHECKING:
    from augsearch.trainers.workspace.candidate import Candidate

FULL = {
    "loss": "the loss counts rare classes for more",
    "sampling": "all classes are drawn alike",
    "logit-adjustment": "logits are adjusted by the classes' shares",
}
"""Each way in full words."""


def _short(candidate: Candidate) -> str:
    return f"balance by {candidate.class_balance}" if candidate.class_balance else ""


def _full(candidate: Candidate) -> str:
    return FULL[candidate.class_balance] if candidate.class_balance else ""


CLASS_BALANCE = Dimension(
    "class_balance",
    Choice(("none", *FULL)),
    default="none",
    step=Redraw(0.3),
    lands=field(
        "class_balance",
        write=lambda kind: None if kind == "none" else kind,
        read=lambda kind: kind or "none",
    ),
    words=Words("what is done for rare classes", _short, _full),
)
