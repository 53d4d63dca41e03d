"""The finalists and the baselines on fresh seeds and images, until it is known who is better."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.trial import TrialState

from augsearch.policies import UserError
from augsearch.search.engines.engine import Engine
from augsearch.search.engines.failures import Streak
from augsearch.search.race.folds import FoldRunner, Known
from augsearch.search.race.lost import lose, lost
from augsearch.search.settings.sections import USUAL_ENGINE, EngineSettings
from augsearch.search.statistics.looks import EARLY_TAIL, Look, cut_short, planned_looks, with_reserve
from augsearch.search.statistics.sequential import Finalist, Finalists, interim_analysis
from augsearch.search.statistics.verdict import Verdict, reach_verdict
from augsearch.search.studies.controls import (
    FIRST_CONTROL,
    Control,
    best_of_search,
    controls_for,
    helped_alike,
)
from augsearch.search.studies.study import RAN, Entry, confirmation_results, entries, keep_confirmation
from augsearch.trainers.evaluation.metrics import ACCURACY, Metric
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

MayBegin = Callable[[int, Sequence[Entry]], bool]
"""Whether there is time for the fold of this number of these entries."""

_STAGE, _LOOKS = "stage of confirmation", "looks of confirmation"
"""Attributes of a study: how its finalists are confirmed, and at which looks who went on."""


def choose_finalists(study: optuna.Study, count: int) -> list[Entry]:
    """The baselines, then the ``count`` best candidates that no baseline or better candidate equals.

    Without those that could not be confirmed: others take their place.
    """
    out = lost(study)
    ran = [entry for entry in entries(study) if entry.state in RAN and entry.number not in out]
    baselines = [entry for entry in ran if entry.baseline]
    candidates = [entry for entry in ran if not entry.baseline and entry.state is TrialState.COMPLETE]
    chosen: list[Entry] = []
    for entry in sorted(candidates, key=lambda entry: -entry.score):
        same = any(entry.candidate == other.candidate for other in (*baselines, *chosen))
        same |= entry.same_as is not None
        if not same and len(chosen) < count:
            chosen.append(entry)
    return baselines + chosen


def confirmation_stage(study: optuna.Study, workspace: Workspace, *, held_out: bool) -> Stage:
    """How the finalists of ``study`` are confirmed, decided once.

    Cross-fitting scores more images for as many trainings. Where the images to confirm on were given, or come
    from where the model will be used, they stay apart: ``held_out``. So they do in a study that an older
    version began to confirm.
    """
    known = study.user_attrs.get(_STAGE)
    if known is None:
        apart = held_out or workspace.target is not None or bool(confirmation_results(study))
        known = (Stage.CONFIRMATION if apart else Stage.CROSS_FITTING).value
        study.set_user_attr(_STAGE, known)
    return Stage(known)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a confirmation goes by."""

    folds: int
    """Of a finalist at most."""
    margin: float | None = None
    """The gain below which a policy is as good as a simpler one; None: the metric's, or less where little is
    still wrong."""
    metric: Metric = ACCURACY
    share: float = 1.0
    """Of the usual error: less where the same images were confirmed on before."""
    missing: tuple[str, ...] = ()
    """Baselines that could not be trained."""
    engine: EngineSettings = USUAL_ENGINE
    """How long a fold may take, and how much memory."""
    safest: str | None = None
    """The baseline to use while nothing is known to be better; None: the best one."""


class Confirmation:
    """The finalists' confirmation as far as the study knows it."""

    def __init__(self, study: optuna.Study, finalists: Sequence[Entry], rules: Rules) -> None:
        self._study, self._rules = study, rules
        self._lost = lost(study)
        if not any(entry.baseline for entry in finalists):
            last = [one.reason for one in self._lost.values()][-1:]
            why = last[0] if last else "see the trials' reasons in the MLflow UI"
            raise UserError(f"no baseline could be trained: {why}; the same command tries again")
        controls = controls_for(study, finalists)
        self._wanted = {one.entry.number for one in controls}  # not those of candidates that are out
        self._alike = helped_alike(finalists)
        self._controls = {one.entry.number: one for one in controls if one.entry.number not in self._lost}
        self.finalists = [*finalists, *(one.entry for one in self._controls.values())]
        # Read once, and written through: it is asked after every fold what is known.
        self._results = _paired(confirmation_results(study))
        self._known: dict[tuple[int, ...], Finalist] = {}
        self._looks, self._going = self._kept()

    @property
    def verdict_of_old(self) -> Verdict | None:
        """The verdict that an older version reached, if nothing was confirmed since."""
        known = self._study.user_attrs.get("verdict")
        if known is None or _LOOKS in self._study.user_attrs or self.missing():
            return None
        return Verdict.from_json(known, self._rules.metric)

    @property
    def folds(self) -> int:
        """How many folds there are at the last look."""
        return self._looks[-1].folds

    def end_at(self, folds: int) -> None:
        """Look for the last time after ``folds``."""
        self._looks = cut_short(self._looks, folds)
        self._going = self._going[: len(self._looks) - 1]
        self._keep_looks()

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
        field = self.field()
        look = self._looks[max(0, len(self._going) - 1)]
        others = (
            one.name
            for one in self._lost.values()
            if one.number in self._wanted or not (one.candidate or one.number >= FIRST_CONTROL)
        )
        missing = (*self._rules.missing, *others)
        return reach_verdict(field, look.level, look.tail, missing, self._last_look)

    def _last_look(self, folds: int) -> Look:
        """The last look where the confirmation goes on to ``folds``."""
        return with_reserve(self._looks, folds, self._rules.share)[-1]

    def lose(self, entry: Entry, error: BaseException) -> None:
        """Have ``entry`` be out; the others' confirmation is another one from then on."""
        lose(self._study, entry, error, self._rules.engine)
        self._lost = lost(self._study)

    @property
    def stands(self) -> bool:
        """Whether all its finalists could be confirmed so far."""
        return not any(entry.number in self._lost for entry in self.finalists)

    def field(self) -> Finalists:
        """All finalists with their results, once nothing is missing."""
        finalists, wanting = self._settled()
        assert not wanting
        return finalists

    @property
    def decided(self) -> bool:
        """Whether more folds would change nothing, once nothing is missing."""
        return self.field().decided(self._looks[max(0, len(self._going) - 1)])

    def _settled(self) -> tuple[Finalists, list[tuple[int, int]]]:
        numbers = [entry.number for entry in self.finalists]
        found, wanting, going = interim_analysis(self._at, numbers, self._looks, self._going)
        if going != self._going:
            self._going = going
            self._keep_looks()
        return found, wanting

    def _at(self, folds: dict[int, int]) -> Finalists:
        rules = self._rules
        members = [self._finalist(entry, folds[entry.number]) for entry in self.finalists]
        if rules.margin is not None:
            return Finalists(members, rules.margin, rules.metric, relative=False, safest=rules.safest)
        return Finalists(members, rules.metric.margin, rules.metric, safest=rules.safest)

    def _finalist(self, entry: Entry, folds: int) -> Finalist:
        known = self._results[entry.number]
        there = [fold for fold in range(folds) if fold in known]
        results = [known[fold] for fold in there]
        # Kept, because its statistics take a while and this is asked after every fold.
        key = entry.number, *there
        if key not in self._known:
            self._known[key] = Finalist(
                entry.number,
                entry.name,
                entry.baseline is not None,
                results,
                entry.candidate.semi is not None,
                *self._controls_what(entry.number),
            )
        return self._known[key]

    def _controls_what(self, number: int) -> tuple[frozenset[int] | None, bool, int | None]:
        """Of a control whose it is, whether it has their help, and which baseline it is but for that."""
        control, alike = self._controls.get(number), self._alike.get(number)
        if control is not None:
            base = self._base_of_old(control) if control.base is None else control.base
            return control.of, control.same_help, base
        if alike is not None:
            return alike - {number}, True, best_of_search(self.finalists).number
        return None, False, None

    def _base_of_old(self, control: Control) -> int | None:
        """The baseline that ``control`` trains longer, where an older version has not kept which."""
        usual = control.entry.candidate.model_copy(update={"passes": 1.0})
        return next((one.number for one in self.finalists if one.baseline and one.candidate == usual), None)

    def _kept(self) -> tuple[list[Look], list[list[int]]]:
        """The looks that are planned, with more of them where more folds are asked for than once were."""
        document = self._study.user_attrs.get(_LOOKS)
        numbers = sorted(entry.number for entry in self.finalists)
        folds, share = self._rules.folds, self._rules.share
        if document is None and "verdict" in self._study.user_attrs:
            return self._of_old(folds, share)
        if document is None or document["of"] != numbers:
            return planned_looks(folds, share), []
        looks = [Look(*look) for look in document["looks"]]
        going: list[list[int]] = document["going"]
        if folds > looks[-1].folds:
            looks = with_reserve(looks, folds, share)
            # Where nobody was worth another fold of those planned then, somebody may be of so many.
            going = going[:-1] if going and not going[-1] else going
        elif document.get("margin", self._rules.margin) != self._rules.margin:
            # Which gain counts has a say in whether it is decided: the last look is looked at anew.
            going = going[:-1] if going and not going[-1] else going
        elif folds < looks[-1].folds and len(going) < len(looks):
            looks = cut_short(looks, max(folds, looks[len(going) - 1].folds if going else 0))
            going = going[: len(looks) - 1]
        return looks, going

    def _of_old(self, folds: int, share: float) -> tuple[list[Look], list[list[int]]]:
        """The looks of a confirmation that an older version ended: where folds of some entries ended."""
        counts = {entry.number: len(self._results[entry.number]) for entry in self.finalists}
        at = sorted({count for count in counts.values() if count})
        if not at:
            return planned_looks(folds, share), []
        looks = [Look(number, 0.0, EARLY_TAIL) for number in at[:-1]] + planned_looks(at[-1], share)[-1:]
        going = [[number for number, count in counts.items() if count > look.folds] for look in looks[:-1]]
        last = [number for number, count in counts.items() if count == at[-1]]
        return with_reserve(looks, folds, share), [*going, last]

    def _keep_looks(self) -> None:
        document = {
            "of": sorted(entry.number for entry in self.finalists),
            "looks": [[look.folds, look.level, look.tail] for look in self._looks],
            "going": self._going,
            "margin": self._rules.margin,
        }
        self._study.set_user_attr(_LOOKS, document)


def _paired(results: defaultdict[int, dict[int, FoldResult]]) -> defaultdict[int, dict[int, FoldResult]]:
    """``results`` without folds in which not all were scored on the same images, as where another version has
    divided them: they are trained again."""
    first: dict[int, FoldResult] = {}
    apart = set()
    for known in results.values():
        for fold, result in known.items():
            rows, own = first.setdefault(fold, result).rows, result.rows
            if rows is not None and own is not None and not np.array_equal(rows, own):
                apart.add(fold)
    for known in results.values():
        for fold in apart & known.keys():
            del known[fold]
    return results


def confirm(
    confirmation: Confirmation,
    stage: Stage,
    engine: Engine,
    workspace: Workspace,
    may_begin: MayBegin | None = None,
    again: Container[int] = (),
) -> Iterator[tuple[Entry, FoldResult]]:
    """Train every finalist on the confirmation folds that are missing, look by look; yields each result.

    Where ``may_begin`` says no, the confirmation has no more folds than those before: it is looked at for
    the last time. It ends early where a finalist is lost. ``again``: see ``run_folds``.

    Raises:
        UserError: nothing can be trained here, or several finalists in a row failed alike.
    """

    def begins(number: int, entries: Sequence[Entry]) -> bool:
        if may_begin is None or may_begin(number, entries):
            return True
        confirmation.end_at(number)
        return False

    while confirmation.stands and (missing := confirmation.missing()):
        queue = Queue(missing, stage, again)
        for entry, fold, result in run_folds(queue, engine, workspace, may_begin=begins):
            if isinstance(result, FoldResult):
                confirmation.keep(entry, fold, result)
                yield entry, result
            else:
                confirmation.lose(entry, result)


@dataclass(frozen=True, slots=True)
class Queue:
    """Entries and the numbers of their folds, in the order of folds."""

    missing: Sequence[tuple[Entry, int]]
    stage: Stage
    again: Container[int] = ()
    """The numbers of entries that failed before: that they do so again says nothing of the machine."""


def run_folds(
    wanted: Queue,
    engine: Engine,
    workspace: Workspace,
    known: Known | None = None,
    may_begin: MayBegin | None = None,
) -> Iterator[tuple[Entry, Fold, FoldResult | BaseException]]:
    """Train entries on folds of the confirmation; what is ``known`` is not trained again.

    Yields what each came to, or what went wrong; after that an entry's folds that have not begun are left
    out. ``may_begin`` is asked before the first of each; where it says no, that fold and those after it are
    left out.

    Raises:
        UserError: nothing can be trained here, or several entries in a row failed alike.
    """
    folds: FoldRunner[Entry] = FoldRunner(
        engine,
        workspace,
        known,
        (Fold(wanted.stage, number) for number in sorted({number for _, number in wanted.missing})),
    )
    queue, begun, out, streak = deque(wanted.missing), -1, set[int](), Streak()
    while queue or not folds.is_idle:
        while queue and not folds.is_full:
            entry, number = queue[0]
            if entry.number in out:
                queue.popleft()
                continue
            entries = [one for one, fold in wanted.missing if fold == number]
            if number > begun and may_begin is not None and not may_begin(number, entries):
                queue.clear()
                break
            begun = number
            queue.popleft()
            folds.submit(entry, entry.candidate, Fold(wanted.stage, number))
        if folds.is_idle:  # nobody is left to train
            return
        for entry, fold, result in folds.wait():
            yield entry, fold, result
            if isinstance(result, FoldResult):
                streak.went_well()
            elif entry.number not in out:
                out.add(entry.number)
                if entry.number not in wanted.again:
                    streak.failed(result)
