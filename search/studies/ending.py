"""How a search ended: in time or not, with all baselines or not, with a candidate or not."""

from __future__ import annotations

from collections import Counter

import optuna
from optuna.trial import TrialState

from augsearch.search.space.space import Space
from augsearch.search.studies.study import RAN, SAME_AS, baseline_of, space_of

ENDED = "search ended"
"""The attribute of a study that holds the time and the trials with which its search last ended."""
MISSING_BASELINES = "missing baselines"
"""The attribute of a study that names the baselines that could not be trained."""
NONE_FINISHED = "no candidate finished"
"""The attribute of a study that says what stopped its candidates, where none ran all its folds; else None."""


def keep_end(study: optuna.Study, space: Space, timeout: float | None, trials: int) -> list[str]:
    """Keep in the study that its search has ended, and how; returns what a person should know of it."""
    missing, reason = missing_baselines(study, space), why_none_finished(study)
    study.set_user_attr(ENDED, {"timeout": timeout, "trials": trials})
    study.set_user_attr(MISSING_BASELINES, missing)
    study.set_user_attr(NONE_FINISHED, reason)
    lines = [] if reason is None else [reason]
    if missing:
        lines.append(
            f"baselines that could not be trained: {', '.join(missing)}; the same command tries again"
        )
    return lines


def time_was_up(study: optuna.Study, timeout: float | None, trials: int) -> bool:
    """Whether a search with as much time, and for as many trials, has ended."""
    known = study.user_attrs.get(ENDED) or study.user_attrs.get("tracked")
    if timeout is None or not known or known.get("timeout") is None:
        return False
    return bool(timeout <= known["timeout"] and trials <= known["trials"])


def missing_baselines(study: optuna.Study, space: Space) -> list[str]:
    """The baselines of which it is not known how good they are: the names of those that failed, or wait."""
    tried = {baseline_of(trial) for trial in study.get_trials(deepcopy=False) if trial.state in RAN}
    return [name for name in space_of(study, space).baselines if name not in tried]


def why_none_finished(study: optuna.Study) -> str | None:
    """What became of the candidates where none but baselines ran all its folds; None: one did, or is none."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    baselines = {trial.number: name for trial in ended if (name := baseline_of(trial)) is not None}
    candidates = [trial for trial in ended if trial.number not in baselines]
    ends: Counter[str] = Counter()
    for trial in candidates:
        same = baselines.get(trial.user_attrs.get(SAME_AS, -1))
        if same is None and trial.state is TrialState.COMPLETE:
            return None
        reason = trial.user_attrs.get("reason", "no reason was kept")
        if same is not None:
            ends[f"the same as {same}"] += 1
        else:
            ends[f"failed: {reason}" if trial.state is TrialState.FAIL else f"stopped: {reason}"] += 1
    if not candidates:
        return None
    told = "; ".join(f"{count} {end}" for end, count in ends.most_common())
    return f"none of {len(candidates)} candidates ran all its folds: {told}"
