"""Which trainings ``benchmarks.quality`` compares: rows of policies, a job for each seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from augsearch.policies import Policy, PolicyFile, Training
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.trainers import FinalPlan, Recipe
from augsearch.trainers.training.recipe import default_final_epochs
from augsearch.trainers.workspace.candidate import SELF
from benchmarks.quality.data import DataSet
from benchmarks.quality.runs import Job

EXPORTED = "exported policy"
WITHOUT_TEACHER = "the same without its teacher"
RUNNER_UP = "best policy of the search"
LONGER = "twice the epochs"
"""A row without a teacher: about as many passes as a policy takes together with its teacher."""
EXPORTED_LONGER = f"{EXPORTED}, {LONGER}"


@dataclass(frozen=True)
class Sizes:
    """How much is trained and tested."""

    seeds: int = 5
    network: str = "medium"
    epochs: int | None = None
    """None: as ``augsearch run`` has them by default."""
    teacher: str = SELF
    cifar_labels: int = 400
    """Images of each class, train, validation and confirmation together."""
    cifar_tested: int | None = None
    """Images of each class; None: all."""
    caltech_classes: int = 25
    """Those with most images."""
    digits: tuple[int, int] = (200, 500)
    """Images of each digit to learn from, train, validation and confirmation together, and to test on."""
    search: tuple[str, ...] = ()
    """What ``augsearch run`` is told beside the data."""

    def plan(self, data: DataSet) -> FinalPlan:
        """The final training on ``data``: the same for all policies."""
        trained_on = len(data.splits.train) + len(data.splits.validation)
        epochs = self.epochs or default_final_epochs(trained_on)
        return FinalPlan(model=self.network, recipe=Recipe(epochs=epochs, precision="float32"))


QUICK = Sizes(
    seeds=2,
    network="tiny",
    epochs=2,
    cifar_labels=40,
    cifar_tested=20,
    caltech_classes=5,
    digits=(40, 20),
    search=(
        *("--trials", "7", "--folds", "1", "--epochs", "2", "--confirm-folds", "2", "--fold-size", "100"),
        *("--proxy-model", "tiny"),
    ),
)


@dataclass(frozen=True)
class Row:
    """A policy, on one data set."""

    name: str
    jobs: tuple[Job, ...]
    """One a seed."""

    @property
    def same_as(self) -> str:
        """Equal for two rows that train the same."""
        return self.jobs[0].key


@dataclass(frozen=True)
class Rows:
    """All of a data set, in the order of the table."""

    data: DataSet
    sizes: Sizes

    def baselines(self) -> list[Row]:
        """What anyone can have without a search."""
        return [self._row(name, policy, Training()) for name, policy in BASELINE_POLICIES.items()]

    def searched(self, exported: PolicyFile, runner_up: PolicyFile | None = None) -> list[Row]:
        """What was exported; without its teacher, if it has one; the best candidate, if that is another.

        Where there is a teacher, whose training takes as long, the policy without it and the baseline that
        came closest in the search are trained for as many passes too; where the best candidate alone has one,
        what was exported is.
        """
        rows = [self._row(EXPORTED, exported.policy, exported.training)]
        if exported.training.distillation is not None:
            closest = _closest_baseline(exported)
            rows += [
                self._row(WITHOUT_TEACHER, exported.policy, Training()),
                self._row(f"{WITHOUT_TEACHER}, {LONGER}", exported.policy, Training(), times=2),
                self._row(f"{closest}, {LONGER}", BASELINE_POLICIES[closest], Training(), times=2),
            ]
        if runner_up is not None:
            if runner_up.training.distillation is not None and exported.training.distillation is None:
                rows.append(self._row(EXPORTED_LONGER, exported.policy, exported.training, times=2))
            rows.append(self._row(RUNNER_UP, runner_up.policy, runner_up.training))
        return rows

    def _row(self, name: str, policy: Policy, training: Training, times: int = 1) -> Row:
        plan = self.sizes.plan(self.data)
        recipe = plan.recipe.model_copy(update={"epochs": times * plan.recipe.epochs})
        plan = plan.model_copy(update={"recipe": recipe})
        first = Job(
            data=self.data.name,
            division=self.data.division,
            plan=plan,
            policy=policy,
            training=training,
            teacher=self.sizes.teacher if training.distillation is not None else None,
            seed=0,
        )
        seeds = range(self.sizes.seeds)
        return Row(name, tuple(first.model_copy(update={"seed": seed}) for seed in seeds))


def _closest_baseline(file: PolicyFile) -> str:
    """The one of the smallest lead in the confirmation of the search that ``file`` is from.

    Where a baseline with a candidate's teacher was exported: the best baseline, whose policy that is.
    """
    evidence: Any = file.evidence
    name = next(row["name"] for row in evidence["confirmation"] if row["number"] == evidence["recommended"])
    leads = [
        lead
        for lead in evidence["differences"]
        if lead["better"] == name and lead["worse"] in BASELINE_POLICIES
    ]
    if not leads:
        return str(next(row["name"] for row in evidence["confirmation"] if row["name"] in BASELINE_POLICIES))
    return str(min(leads, key=lambda lead: lead["mean"])["worse"])


def seed_by_seed(rows: Iterable[Row]) -> list[Job]:
    """All jobs, those of the first seed first, so that a run that is cut short has whole seeds."""
    return list(chain.from_iterable(zip(*(row.jobs for row in rows), strict=True)))


def sizes_of(quick: bool, seeds: int | None, search_budget: str | None = None) -> Sizes:
    """The full or the short form, with so many seeds, and so much time for each search."""
    sizes = QUICK if quick else Sizes()
    if search_budget is not None:
        sizes = replace(sizes, search=(*sizes.search, "--budget", search_budget))
    return replace(sizes, seeds=seeds) if seeds else sizes
