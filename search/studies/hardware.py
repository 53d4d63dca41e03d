"""On what the folds of a study ran: said where it was not one kind of hardware and precision."""

from __future__ import annotations

from collections import Counter, defaultdict

import optuna

from augsearch.policies.errors import some
from augsearch.search.studies.study import SAME_AS, confirmation_results, fold_results

MOST_NAMED = 4


def hardware_in_words(study: optuna.Study) -> str | None:
    """One line where trainings ran on several kinds of hardware; None: on one, as far as is known."""
    trials = study.get_trials(deepcopy=False)
    searched = [fold_results(trial) for trial in trials if SAME_AS not in trial.user_attrs]
    confirmed = list(confirmation_results(study).values())
    kinds = Counter(
        result.hardware
        for results in (*searched, *confirmed)
        for result in results.values()
        if result.hardware is not None
    )
    if len(kinds) < 2:
        return None
    named = some([f"{kind}: {count:,}" for kind, count in kinds.most_common()], MOST_NAMED)
    by_fold: defaultdict[int, set[str | None]] = defaultdict(set)
    for results in confirmed:
        for fold, result in results.items():
            by_fold[fold].add(result.hardware)
    mixed = sum(len(found - {None}) > 1 for found in by_fold.values())
    said = f"Trainings ran on {len(kinds)} kinds of hardware ({named})"
    if mixed:
        return (
            f"{said}; in {mixed} of {len(by_fold)} confirmation folds candidates were compared across them, "
            "so what rounding differs in is among their differences."
        )
    return f"{said}; in no confirmation fold were candidates compared across them."
