"""``augsearch compare``: the default search, random search and the baselines alone, for as many images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from augsearch.policies import UserError
from augsearch.policies.errors import writing
from augsearch.search.console import Display, print_json
from augsearch.search.engines.engine import Engine
from augsearch.search.engines.registry import opened
from augsearch.search.inputs.identity import study_name
from augsearch.search.inputs.run_data import Data
from augsearch.search.pipelines.comparison import (
    BASELINES,
    DEFAULT,
    RANDOM,
    Comparison,
    Contestant,
    picked,
    sentence,
    table,
    to_json,
)
from augsearch.search.pipelines.confirming import stage_of
from augsearch.search.race.confirm import Queue, run_folds
from augsearch.search.race.lost import lose, lost
from augsearch.search.race.race import FoldDone, Race
from augsearch.search.race.resume import open_begun, study_of
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.costs import searched
from augsearch.search.studies.lock import only_driver
from augsearch.search.studies.study import (
    BESIDE,
    Entry,
    confirmation_results,
    entries,
    finished,
    keep_confirmation,
)
from augsearch.trainers.evaluation.metrics import METRICS
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

CONFIRM_FOLDS = 16
"""Folds of each pick by default: what other images would change is then most of the uncertainty."""
WITHOUT_END = 100_000
"""Trials of a random search that its budget ends."""


STDOUT = Path("-")
"""Stands for stdout, where a file may be named."""


def compare_searches(settings: Settings, seeds: int, json_file: Path | None, display: Display) -> None:
    """Compare, print the table and a sentence, and write every figure to ``json_file``, or to ``STDOUT``.

    Raises:
        UserError: the input is bad; nothing is lost.
        KeyboardInterrupt: stopped; the same call goes on.
    """
    if json_file is not None and json_file != STDOUT and json_file.suffix != ".json":
        # What follows --json may have been meant as DATA.
        raise UserError(f"--json {json_file}: no name of a .json file; DATA stands before the options")
    found = compare(settings, seeds, display)
    display.table(table(found))
    display.result(sentence(found))
    if json_file == STDOUT:
        print_json(to_json(found))
    elif json_file is not None:
        text = json.dumps(to_json(found), indent=1, ensure_ascii=False)
        with writing(json_file, "another --json"):
            json_file.write_text(text + "\n", encoding="utf-8")


def compare(settings: Settings, seeds: int, display: Display) -> list[Comparison]:
    """Compare for ``settings.seed`` and those after it; whatever is done already is not done again.

    Everything is in the studies: the default search's is that of ``run``, which goes on from it, and the
    other two have studies of their own. Nothing is logged to MLflow, and the test part is not read.

    Raises:
        UserError: the input is bad; nothing is lost.
        KeyboardInterrupt: stopped; the same call goes on.
    """
    if settings.search.sampler == "random":
        raise UserError("compare runs random search beside the search: give another --sampler, or none")
    if "confirm_folds" not in settings.given:
        settings = settings.changed(confirm_folds=CONFIRM_FOLDS)
    return [_compare(of_seed, display) for of_seed in _of_seeds(settings, seeds)]


def _of_seeds(settings: Settings, seeds: int) -> Iterator[Settings]:
    for further in range(seeds):
        seed = settings.seed + further
        # A name from data and settings is another one for each seed; one that was given is not.
        given = settings.tracking.study
        yield settings.changed(seed=seed, study=f"{given} seed {seed}" if given and further else given)


def _compare(settings: Settings, display: Display) -> Comparison:
    settings, data = open_begun(settings.changed(budget="none"), display, searches=True)
    name = study_name(settings, data)
    with only_driver(name, settings.tracking.storage), opened(settings.engine, display.line) as engine:
        comparing = _Comparing(settings, data, name, engine, display)
        studies = comparing.searched()
        comparing.confirm(studies)
    folds = settings.confirmation.folds
    contestants = tuple(_contestant(role, study, folds) for role, study in studies.items())
    return Comparison(settings.seed, data.label, METRICS[settings.search.metric], contestants)


def _contestant(role: str, study: optuna.Study, folds: int) -> Contestant:
    known, pick = entries(study), _pick(role, study)
    confirmed = confirmation_results(study)[pick.number]
    return Contestant(
        role,
        study.study_name,
        len(known),
        searched(study),
        pick,
        tuple(confirmed[fold] for fold in range(folds)),
    )


@dataclass(frozen=True, eq=False)
class _Comparing:
    """The comparison of one seed: the same data, folds and engine for all contestants."""

    settings: Settings
    data: Data
    name: str
    engine: Engine
    display: Display
    known: dict[tuple[Candidate, Fold], FoldResult] = field(default_factory=dict)
    """What another contestant has trained already."""

    def searched(self) -> dict[str, optuna.Study]:
        """Each contestant's study, ended; what the default search takes is what the others get."""
        settings = self.settings
        default = self._search(DEFAULT, settings, self.name, settings.search.trials * settings.search.folds)
        known = entries(default)
        budget = searched(default)
        endless = settings.changed(sampler="random", trials=WITHOUT_END)
        at_random = self._search(RANDOM, endless, f"{self.name} random", budget.trainings, budget.images)
        baselines = [entry for entry in known if entry.baseline]
        a_fold_of_each = sum(entry.results[0].images for entry in baselines)
        folds = max(1, budget.images // a_fold_of_each)
        more_folds = settings.changed(trials=len(baselines), folds=folds)
        name = f"{self.name} baselines, {folds} folds"
        alone = self._search(BASELINES, more_folds, name, len(baselines) * folds)
        return {DEFAULT: default, RANDOM: at_random, BASELINES: alone}

    def _search(
        self, role: str, settings: Settings, name: str, folds: int, budget: int | None = None
    ) -> optuna.Study:
        """Run a contestant's search; it takes about so many ``folds``."""
        # Random search knows nothing of augmentation, so not what is usual either.
        study = study_of(settings, self.data, name, warm_start=role != RANDOM)
        if role != DEFAULT:
            study.set_user_attr(BESIDE, self.name)
        done = sum(len(entry.results) for entry in entries(study))
        with self.display.bar(f"seed {settings.seed}, {role}", max(folds, done), done) as bar:
            race = Race(
                *(study, self.engine, self.data.workspace, settings, budget, self.known),
                # Alone they are to take as many passes as the default search did.
                baselines_race=role != BASELINES,
            )
            for event in race:
                if isinstance(event, FoldDone):
                    done += 1
                    bar.reach(done, max(folds, done))
        self._learn_from(study)
        known, pick = entries(study), _pick(role, study)
        spent = searched(study)
        self.display.line(
            f"seed {settings.seed}, {role}: {len(known)} trials, {spent.images:,} image passes, "
            f"{spent.seconds:,.0f} worker seconds; picks {picked(pick)}"
        )
        return study

    def _learn_from(self, study: optuna.Study) -> None:
        """Know all that ``study`` knows."""
        confirmed = confirmation_results(study)
        for entry in entries(study):
            for index, result in enumerate(entry.results):
                self.known[entry.candidate, Fold(Stage.SEARCH, index)] = result
            for index, result in confirmed[entry.number].items():
                self.known[entry.candidate, Fold(stage_of(study, self.data), index)] = result

    def confirm(self, studies: dict[str, optuna.Study]) -> None:
        """Train each pick on the confirmation's folds; one that several picked, once.

        One that can't be confirmed is out, and the next best is picked in its place.
        """
        while not self._confirmed(studies):
            pass

    def _confirmed(self, studies: dict[str, optuna.Study]) -> bool:
        """Whether all picks could be."""
        pickers: dict[Candidate, list[tuple[optuna.Study, Entry]]] = {}
        known: dict[Candidate, set[int]] = {}
        for role, study in studies.items():
            pick = _pick(role, study)
            pickers.setdefault(pick.candidate, []).append((study, pick))
            confirmed = confirmation_results(study)[pick.number].keys()
            known[pick.candidate] = known.get(pick.candidate, set(confirmed)) & confirmed
        missing = [
            (same[0][1], fold)
            for fold in range(self.settings.confirmation.folds)
            for candidate, same in pickers.items()
            if fold not in known[candidate]
        ]
        total = self.settings.confirmation.folds * len(pickers)
        with self.display.bar(f"seed {self.settings.seed}, confirming", total, total - len(missing)) as bar:
            queue = Queue(missing, stage_of(studies[DEFAULT], self.data))
            for entry, fold, result in run_folds(queue, self.engine, self.data.workspace, self.known):
                for study, pick in pickers[entry.candidate]:
                    if isinstance(result, FoldResult):
                        keep_confirmation(study, pick.number, fold, result)
                    else:
                        lose(study, pick, result, self.settings.engine)
                bar.advance(1, entry.name)
        return not any(pick.number in lost(study) for same in pickers.values() for study, pick in same)


def _pick(role: str, study: optuna.Study) -> Entry:
    done = [entry for entry in finished(study) if entry.number not in lost(study)]
    if not done:
        raise UserError(f"{role}: no trial could be trained; see the reasons in study {study.study_name!r}")
    return max(done, key=lambda entry: entry.score)
