"""The confirmation of a run, from its finalists to the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import optuna

from augsearch.search.budget.session import Session
from augsearch.search.budget.words import cost_in_words
from augsearch.search.console import Display
from augsearch.search.engines.engine import Engine
from augsearch.search.inputs.confirmation_record import (
    record_confirmation,
    record_in_words,
    withdraw_confirmation,
)
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.workplace import remove_teachers
from augsearch.search.race.confirm import Confirmation, Rules, choose_finalists, confirm, confirmation_stage
from augsearch.search.race.lost import another_chance, lost, lost_in_words
from augsearch.search.settings.sections import USUAL_ENGINE, ConfirmationSettings, EngineSettings
from augsearch.search.statistics.looks import LEAST_FOLDS, too_few_in_words
from augsearch.search.statistics.verdict import Verdict
from augsearch.search.studies.controls import controls_for
from augsearch.search.studies.ending import NONE_FINISHED
from augsearch.search.studies.hardware import hardware_in_words
from augsearch.search.studies.study import Entry, confirmation_results, in_order
from augsearch.trainers.data.dataset import Split
from augsearch.trainers.evaluation.metrics import Metric
from augsearch.trainers.models.names import is_model_file
from augsearch.trainers.workspace.folds import Stage


def stage_of(study: optuna.Study, data: Data) -> Stage:
    """How the finalists of ``study`` are confirmed.

    On images apart, where those were given, and where a teacher or weights come from a file: what they have
    learned from may be among the images that cross-fitting scores. So they are where what is learned from
    without labels has copies of training images, or frames of their videos.
    """
    workspace = data.workspace
    proxy = workspace.proxy
    given = (data.images.given == Split.VALIDATION).any()
    files = proxy.weights not in ("none", "hub") or proxy.teacher_weights not in ("none", "hub")
    from_file = workspace.given_teacher is not None or files or is_model_file(proxy.model)
    apart = bool(given or from_file)
    if not apart and workspace.target is None and data.unlabeled is not None:
        # They are not left out instead: a folder that holds all images, labeled or not, would lose those that
        # the search's folds don't have a label of, a study that was begun would be another one, and what was
        # decided once for a study holds.
        apart = data.unlabeled.has_some_of(data.images, workspace.pool)
    return confirmation_stage(study, workspace, held_out=apart)


@dataclass(frozen=True, eq=False)
class Confirming:
    """What the steps of one confirmation share."""

    rules: ConfirmationSettings
    source: str | None
    """Which images, as they were named."""
    metric: Metric
    missing: tuple[str, ...]
    """Baselines that could not be trained."""
    data: Data
    study: optuna.Study
    display: Display
    session: Session | None
    """None: there is no budget."""
    engine: EngineSettings = USUAL_ENGINE
    """How long a fold may take, and how much memory."""
    safest: str | None = None
    """The baseline to use while nothing is known to be better; None: the best one."""

    def verdict(self, engine: Engine) -> Verdict:
        """Train the finalists on fresh folds as far as is not done yet, and say what that showed."""
        again = another_chance(self.study, self.engine)
        while True:
            finalists = choose_finalists(self.study, self.rules.finalists)
            before = record_confirmation(self.study, self.source, self.data, finalists)
            confirmation = Confirmation(self.study, finalists, self._rules(finalists, before))
            out = len(lost(self.study))
            self._confirm(engine, confirmation, again)
            if confirmation.stands:
                break
            withdraw_confirmation(self.study, self.source, self.data, finalists)
            for said in lost_in_words(self.study)[out:]:
                self.display.line(said)
        remove_teachers(self.data.workspace)  # a longer search would train its own again
        return confirmation.verdict_of_old or self._new_verdict(confirmation, before)

    def _rules(self, finalists: Sequence[Entry], before: int) -> Rules:
        trained = [*finalists, *(one.entry for one in controls_for(self.study, finalists))]
        folds = self.rules.folds
        if self.session:
            known = confirmation_results(self.study)
            done = max((len(in_order(known[one.number])) for one in trained), default=0)
            folds = self.session.confirm_folds(trained, done)
        share = 1 / (1 + before)
        margin = self.rules.margin
        return Rules(folds, margin, self.metric, share, self.missing, self.engine, self.safest)

    def _confirm(self, engine: Engine, confirmation: Confirmation, again: set[int]) -> None:
        if not confirmation.missing():
            return
        names = ", ".join(entry.name for entry in confirmation.finalists)
        self.display.line(
            f"confirming on up to {confirmation.folds} fresh folds, fewer where that decides: {names}"
        )
        if confirmation.folds < LEAST_FOLDS <= self.rules.folds:  # else it was said at once
            self.display.line(too_few_in_words(confirmation.folds))
        total, session = len(confirmation.finalists) * confirmation.folds, self.session
        may_begin, stage = session.may_confirm if session else None, stage_of(self.study, self.data)
        with self.display.bar("confirming", total) as bar:
            bar.reach(*confirmation.progress())
            workspace = self.data.workspace
            for entry, result in confirm(confirmation, stage, engine, workspace, may_begin, again):
                if session is not None:
                    session.fold_done(entry.candidate, result)
                bar.reach(*confirmation.progress())

    def _new_verdict(self, confirmation: Confirmation, before: int) -> Verdict:
        """What the confirmation found; ``before``: how often others were confirmed on the same images."""
        verdict, session = confirmation.verdict(), self.session
        if session is not None:
            folds, field, closed = confirmation.folds, confirmation.field(), confirmation.decided
            cost = cost_in_words(session.task, session.sizes, field, folds, session.seconds, closed)
            verdict = replace(verdict, budget=cost)
        notes = self.study.user_attrs.get(NONE_FINISHED), record_in_words(before)
        for said in (*notes, *lost_in_words(self.study), hardware_in_words(self.study)):
            if said is not None:
                verdict = replace(verdict, notes=(*verdict.notes, said))
        self.study.set_user_attr("verdict", verdict.to_json())
        return verdict
