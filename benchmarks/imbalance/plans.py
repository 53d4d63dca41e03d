"""What ``benchmarks.imbalance`` trains: one network, once for each way to balance classes and each seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from pydantic import BaseModel, ConfigDict

from augsearch.policies import Policy
from augsearch.policies.training import ClassBalance
from benchmarks.comparisons import Comparison, Row

NONE = "none"
BALANCES: tuple[str, ...] = (NONE, *get_args(ClassBalance))
"""As ``--class-balance`` has them; the first does nothing."""


@dataclass(frozen=True)
class Sizes:
    """How much is trained."""

    model: str = "lite0"
    side: int = 96
    epochs: int = 6
    seeds: int = 3


QUICK = Sizes(model="tiny", side=32, epochs=2, seeds=2)


class Job(BaseModel):
    """One training, with all that decides its result; as JSON it is the result's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    """A name for people, and a hash of the content for everybody else."""
    model: str
    side: int
    epochs: int
    policy: Policy
    balance: str
    """One of ``BALANCES``."""
    seed: int

    @property
    def key(self) -> str:
        """Equal for two jobs that would give the same."""
        return self.model_dump_json(exclude_none=True)


def comparison(data: str, sizes: Sizes) -> Comparison[Job]:
    """Each way beside doing nothing."""

    def row(balance: str) -> Row[Job]:
        first = Job(
            data=data,
            model=sizes.model,
            side=sizes.side,
            epochs=sizes.epochs,
            policy=Policy.named("flip-resized-crop"),
            balance=balance,
            seed=0,
        )
        seeds = range(sizes.seeds)
        return Row(f"`{balance}`", tuple(first.model_copy(update={"seed": seed}) for seed in seeds))

    return Comparison(
        f"{data.split()[0]}, {sizes.model} at {sizes.side} px, {sizes.epochs} epochs",
        tuple(row(balance) for balance in BALANCES),
        notes="Flip + resized crop, float32. The validation images pick the epoch by macro-F1; all images "
        "that were neither trained on nor picked by are the test images.",
    )


def sizes_of(quick: bool, seeds: int | None) -> Sizes:
    """The full or the short form, with as many seeds as are asked for."""
    sizes = QUICK if quick else Sizes()
    return replace(sizes, seeds=seeds or sizes.seeds)
