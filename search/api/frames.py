"""A study as tables: one line a trial, and one line a fold of the confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna

from augsearch.search.studies.chosen import chosen
from augsearch.search.studies.controls import with_controls
from augsearch.search.studies.study import SAME_AS, baseline_of, confirmation_results, entries
from augsearch.trainers.workspace.folds import FoldResult

FIGURES = ("score", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece", "seconds", "images")
"""What is told of a fold; the score is by the search's metric, and higher is better."""


def trials_frame(study: optuna.Study) -> Any:
    """A ``pandas.DataFrame`` with a line for every trial, those that failed or wait too.

    Its number is the index. ``score`` is the mean over the folds that it ran; what it chose of the policy and
    of the training stands under ``policy.num_ops``, ``policy.magnitude`` …, as in the policy file.
    """
    import pandas as pd

    known = {entry.number: entry for entry in entries(study)}
    lines = []
    for trial in study.get_trials(deepcopy=False):
        entry = known.get(trial.number)
        line: dict[str, Any] = {
            "trial": trial.number,
            "name": baseline_of(trial) or f"trial {trial.number}",
            "baseline": baseline_of(trial) is not None,
            "state": trial.state.name.lower(),
            "folds": 0 if entry is None else len(entry.results),
            "score": None if entry is None else entry.score,
            "reason": trial.user_attrs.get("reason", ""),
            "same_as": trial.user_attrs.get(SAME_AS),
        }
        if entry is not None:
            line |= _means(entry.results) | chosen(entry)
        lines.append(line)
    return pd.DataFrame(lines, columns=None if lines else ["trial"]).set_index("trial")


def confirmation_frame(study: optuna.Study) -> Any:
    """A ``pandas.DataFrame`` with a line for every fold that the confirmation ran, of every finalist.

    Folds of one number are the same for all: to compare two finalists, join them by ``fold``.
    """
    import pandas as pd

    results = confirmation_results(study)
    lines = [
        {
            "trial": entry.number,
            "name": entry.name,
            "baseline": entry.baseline is not None,
            "fold": fold,
            **{name: getattr(result, name) for name in FIGURES},
            "scored": len(result.correct),
        }
        for entry in with_controls(study)
        for fold, result in sorted(results.get(entry.number, {}).items())
    ]
    return pd.DataFrame(lines, columns=["trial", "name", "baseline", "fold", *FIGURES, "scored"])


def _means(results: Sequence[FoldResult]) -> dict[str, float]:
    """Means over the folds; of what a trial cost, the sum."""
    count = len(results)
    means = {name: sum(getattr(one, name) for one in results) / count for name in FIGURES[1:-2]}
    return means | {name: sum(getattr(one, name) for one in results) for name in FIGURES[-2:]}
