"""The finalists and the baselines on fresh seeds and images, until it is known who is better."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import optuna

from augsearch.policies import UserError
from augsearch.search.engines.engine import Engine
from augsearch.search.race.folds import FoldRunner, Known
from augsearch.search.statistics.paired import leads_over
from augsearch.search.statistics.sequential import Finalist, Finalists, interim_analysis
from augsearch.search.statistics.verdict import Verdict, reach_verdict
from augsearch.search.studies.study import Entry, confirmation_results, entries, finished, keep_confirmation
from augsearch.trainers.evaluation.metrics import Metric
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

MayBegin = Callable[[int, Sequence[Entry]], bool]
"""Whether there is time for the fold of this number of these entries."""


def choose_finalists(study: optuna.Study, count: int) -> list[Entry]:
    """The baselines, then the ``count`` best candidates that no baseline or better candidate equals."""
    done = finished(study)
    baselines = [entry for entry in done if entry.baseline]
    chosen: list[Entry] = []
    for entry in sorted(done, key=lambda entry: -entry.score):
        same = any(entry.candidate == other.candidate for other in (*baselines, *chosen))
        same |= entry.same_as is not None
        if not entry.baseline and not same and len(chosen) < count:
            chosen.append(entry)
    return baselines + chosen


class Confirmation:
    """The finalists' confirmation as far as the study knows it; ``folds`` a finalist at most."""

    def __init__(
        self, study: optuna.Study, finalists: Sequence[Entry], folds: int, margin: float, metric: Metric
    ) -> None:
        self._study, self.finalists, self.folds = study, finalists, folds
        self._margin, self._metric = margin, metric
        # Read once, and written through: it is asked after every fold what is known.
        self._results = confirmation_results(study)
        self._known: dict[tuple[int, int], Finalist] = {}
        if not any(entry.baseline for entry in finalists):
            raise UserError("no baseline could be trained; see the trials' reasons in the MLflow UI")

    def progress(self) -> tuple[int, int]:
        """How many folds are run, and how many there may come to be; those who stopped take no more."""
        finalists, wanting = self._settled()
        done = sum(len(one.results) for one in finalists.members)
        going = {number for number, _ in wanting}
        left = sum(self.folds - len(one.results) for one in finalists.members if one.number in going)
        return done, done + left

    def missing(self) -> list[tuple[Entry, int]]:
        """The folds that are to be run until it is looked again, fold by fold; none: all is known."""
        wanted = dict(self._settled()[1])
        return [
            (entry, fold)
            for fold in range(max(wanted.values(), default=0))
            for entry in self.finalists
            if fold < wanted.get(entry.number, 0) and fold not in self._results[entry.number]
        ]

    def keep(self, entry: Entry, fold: Fold, result: FoldResult) -> None:
        """Record what a fold of ``entry`` came to."""
        keep_confirmation(self._study, entry.number, fold, result)
        self._results[entry.number][fold.index] = result

    def verdict(self) -> Verdict:
        """What it found, once nothing is missing."""
        finalists = self.field()
        return reach_verdict(finalists, finalists.level(self.folds), self._leads_of_search(finalists))

    def field(self) -> Finalists:
        """All finalists with their results, once nothing is missing."""
        finalists, wanting = self._settled()
        assert not wanting
        return finalists

    def _settled(self) -> tuple[Finalists, list[tuple[int, int]]]:
        numbers = [entry.number for entry in self.finalists]
        return interim_analysis(self._finalist, numbers, self.folds, self._margin, self._metric)

    def _finalist(self, number: int, folds: int) -> Finalist:
        known = self._results[number]
        results = [known[fold] for fold in range(folds) if fold in known]
        # Kept, because its statistics take a while and this is asked after every fold.
        if (number, len(results)) not in self._known:
            entry = next(entry for entry in self.finalists if entry.number == number)
            self._known[number, len(results)] = Finalist(
                number, entry.name, entry.baseline is not None, results, entry.candidate.semi is not None
            )
        return self._known[number, len(results)]

    def _leads_of_search(self, finalists: Finalists) -> list[tuple[float, float]]:
        """What the search says of all its candidates' leads over the best baseline, and how surely.

        Of those too that it stopped: the ones it didn't are those that were lucky.
        """
        baseline = next(entry for entry in self.finalists if entry.number == finalists.best_baseline.number)
        others = [entry.results for entry in entries(self._study) if not entry.baseline]
        return leads_over(baseline.results, others)


def confirm(
    confirmation: Confirmation, engine: Engine, workspace: Workspace, may_begin: MayBegin | None = None
) -> Iterator[tuple[Entry, FoldResult]]:
    """Train every finalist on the confirmation folds that are missing, look by look; yields each result.

    Where ``may_begin`` says no, the confirmation has no more folds than those before: it is looked at for
    the last time.

    Raises:
        UserError: a fold can't be run.
    """

    def begins(number: int, entries: Sequence[Entry]) -> bool:
        if may_begin is None or may_begin(number, entries):
            return True
        confirmation.folds = number
        return False

    while missing := confirmation.missing():
        for entry, fold, result in run_folds(missing, engine, workspace, may_begin=begins):
            confirmation.keep(entry, fold, result)
            yield entry, result


def run_folds(
    missing: Sequence[tuple[Entry, int]],
    engine: Engine,
    workspace: Workspace,
    known: Known | None = None,
    may_begin: MayBegin | None = None,
) -> Iterator[tuple[Entry, Fold, FoldResult]]:
    """Train entries on folds of the confirmation, by their numbers; what is ``known`` is not trained again.

    ``missing`` is in the order of folds. ``may_begin`` is asked before the first of each; where it says no,
    that fold and those after it are left out.

    Raises:
        UserError: a fold can't be run.
    """
    folds: FoldRunner[Entry] = FoldRunner(engine, workspace, known)
    queue, begun = deque(missing), -1
    while queue or not folds.is_idle:
        while queue and not folds.is_full:
            entry, number = queue[0]
            entries = [one for one, fold in missing if fold == number]
            if number > begun and may_begin is not None and not may_begin(number, entries):
                queue.clear()
                break
            begun = number
            queue.popleft()
            folds.submit(entry, entry.candidate, Fold(Stage.CONFIRMATION, number))
        for entry, fold, result in folds.wait():
            if not isinstance(result, FoldResult):
                raise UserError(f"{entry.name} could not be confirmed: {result}; run the same command again")
            yield entry, fold, result
