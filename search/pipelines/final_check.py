"""The best policies on the network that ships: a few short trainings of it before one is chosen.

A search of photos compares candidates on a small network from scratch, because that can be paid for. Whether
its choice is the final network's too is what these trainings are for: with the same seeds, on the training
part, scored on the confirmation images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import optuna

from augsearch.policies import UserError
from augsearch.search.budget.session import Session
from augsearch.search.console import Display
from augsearch.search.final.scored import ScoredFinals
from augsearch.search.pipelines.budgeted import ENTRIES, PLANNED_CHECK, SEEDS
from augsearch.search.pipelines.final_scores import FinalScores
from augsearch.search.statistics.paired import compare
from augsearch.search.statistics.verdict import Verdict
from augsearch.search.studies.controls import by_number, is_control
from augsearch.search.studies.final_check import (
    ATTRIBUTE,
    Checked,
    FinalCheck,
    checked,
    final_check_in_words,
)
from augsearch.search.studies.study import Entry
from augsearch.trainers.workspace.candidate import Candidate


@dataclass(frozen=True, eq=False)
class FinalChecking:
    """What the steps of one check share."""

    network: str
    """The one that ships."""
    seeds: int | None
    """With how many it is trained; None: with three, or as there is time."""
    finals_of: Callable[[Iterable[Candidate]], ScoredFinals]
    """How candidates are trained on it."""
    study: optuna.Study
    display: Display
    session: Session | None
    """None: there is no budget."""

    def verdict(self, verdict: Verdict) -> Verdict:
        """``verdict`` with what the final network says of it; as it is where there is no time for that.

        So it is where a training can't be run: what was found out so far is no worse for it. What is trained
        already is not trained again. The test part is not read.
        """
        entries = to_check(verdict, self.study)
        many, seeds = self._fitting(len(entries))
        if many < 2:
            return verdict
        try:
            found = self._compare(entries[:many], range(seeds))
        except UserError as error:
            self.display.line(f"no comparison on the final network: {error}. What was said before stands")
            return verdict
        verdict = checked(verdict, found)
        self.study.set_user_attr("verdict", verdict.to_json())
        self.display.result(final_check_in_words(found))
        return verdict

    def _fitting(self, entries: int) -> tuple[int, int]:
        """How many of so many entries to train, and with how many seeds."""
        if entries < 2:
            self.display.line("there is nothing to compare on the final network: one policy was confirmed")
            return 0, 0
        if self.seeds is not None or self.session is None:
            return entries, SEEDS if self.seeds is None else self.seeds
        many, seeds = self.session.final_check(entries)
        if not many:
            self.display.line(
                f"no time is left to compare the best policies on {self.network} itself, which takes"
                f" {PLANNED_CHECK} short trainings of it; a longer --budget does, or --final-seeds 3"
            )
        return many, seeds

    def _compare(self, entries: Sequence[Entry], seeds: range) -> FinalCheck:
        finals = self.finals_of(one.candidate for one in entries)
        scored = FinalScores(self.study, finals, ATTRIBUTE, "with --final-seeds 0")
        named = {one.name: one.candidate for one in entries}
        plan = finals.plan(entries[0].candidate)
        if missing := scored.missing(named, seeds):
            self.display.line(
                f"comparing {', '.join(named)} on {plan.model} itself: {len(missing)} short trainings, "
                f"{plan.recipe.epochs} epochs at {finals.pixels.side} px with {len(seeds)} seeds each"
            )
        scored.train(named, seeds, self.display)
        results = {name: scored.results(candidate, seeds) for name, candidate in named.items()}
        (first, *others) = named
        leads = [compare(other, results[other], first, results[first]) for other in others]
        return FinalCheck(
            plan.model,
            finals.pixels.side,
            plan.recipe.epochs,
            finals.settings.search.metric,
            tuple(
                Checked(one.number, one.name, one.baseline is not None, scored.scores(one.candidate, seeds))
                for one in entries
            ),
            tuple(sorted(leads, key=lambda lead: -lead.mean)),
        )


def to_check(verdict: Verdict, study: optuna.Study) -> list[Entry]:
    """What is compared on the final network, in this order, as far as there is.

    What is recommended; the best candidate, or the best baseline if that is one; and one more of each.
    """
    known = by_number(study)
    confirmed = [known[one.number] for one in verdict.confirmed]
    mine = [one for one in confirmed if not is_control(one)]
    (first,) = [one for one in confirmed if one.number == verdict.recommended]
    baselines = [one for one in mine if one.baseline is not None and one is not first]
    candidates = [one for one in mine if one.baseline is None and one is not first]
    nearest, alike = (candidates, baselines) if first.baseline is not None else (baselines, candidates)
    return [first, *nearest[:1], *alike[:1], *nearest[1:]][:ENTRIES]
