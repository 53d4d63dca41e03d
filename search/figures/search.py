"""Figures of a search, drawn with Matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
from optuna.trial import TrialState

from augsearch.search.figures.figure import Figure
from augsearch.search.studies.study import Entry
from augsearch.trainers.evaluation.metrics import Metric

MOST_IMPORTANCES = 12
"""Choices that are shown; those after them hardly matter."""
_CANDIDATE, _BASELINE, _LINE = "#2563eb", "#d97706", "#64748b"


def history(entries: Sequence[Entry], metric: Metric, path: Path) -> None:
    """Every trial's mean score in order, the baselines marked, and the best so far as a line."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    groups: tuple[tuple[str, str, str, Callable[[Entry], bool]], ...] = (
        ("candidate", _CANDIDATE, "o", lambda e: not e.baseline and e.state is TrialState.COMPLETE),
        ("stopped early", _CANDIDATE, "x", lambda e: not e.baseline and e.state is TrialState.PRUNED),
        ("baseline", _BASELINE, "D", lambda e: e.baseline is not None),
    )
    for label, colour, marker, belongs in groups:
        chosen = [entry for entry in entries if belongs(entry)]
        axes.scatter(
            [entry.number for entry in chosen],
            [metric.figure(entry.score) for entry in chosen],
            color=colour,
            marker=marker,
            label=label,
            zorder=3,
        )
    best = best_so_far(entries)
    scores = [metric.figure(leader.score) for _, leader in best]
    axes.step([number for number, _ in best], scores, where="post", color=_LINE, label="best so far")
    unit = f", {metric.symbol}" if metric.symbol else ""
    ylabel = f"{metric.label} on validation images{unit}"
    axes.set(xlabel="trial", ylabel=ylabel, title="The search, trial by trial")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)


def best_so_far(entries: Sequence[Entry]) -> list[tuple[int, Entry]]:
    """The number of every finished trial, in order, and the best trial up to it; of equals the first."""
    best: list[tuple[int, Entry]] = []
    for entry in entries:
        if entry.state is TrialState.COMPLETE:
            leads = not best or entry.score > best[-1][1].score
            best.append((entry.number, entry if leads else best[-1][1]))
    return best


def importances(study: optuna.Study, path: Path) -> bool:
    """How much each choice that every trial makes mattered; False where too few trials say anything."""
    shares = importance_shares(study)
    if not shares:
        return False
    trials = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    names = list(shares)[::-1]
    figure = Figure(figsize=(8, 0.9 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.barh([name.replace("_", " ") for name in names], [shares[name] for name in names], color=_CANDIDATE)
    axes.set(
        xlabel="share of importance (PED-ANOVA)",
        title=f"Which choices mattered, from {trials} finished trials",
    )
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=130)
    return True


def importance_shares(study: optuna.Study) -> dict[str, float]:
    """The share of each choice that trials made differently, the largest first, ``MOST_IMPORTANCES`` of them.

    Empty where too few trials say anything. PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv:2304.10255).
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    # A policy of a user's own may have no parameters.
    trials = [trial for trial in trials if "num_ops" in trial.params]
    # Choices that only some trials make (the α of CutMix, say) rest on too few of them to be shown.
    common = set.intersection(*(set(trial.params) for trial in trials)) if trials else set()
    # PED-ANOVA gives a share to those too that are alike in all trials.
    varied = [name for name in sorted(common) if len({trial.params[name] for trial in trials}) > 1]
    if not varied:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few trials make it uncertain, which is said beside it
            # Before 5.0 Optuna's own choice is fANOVA, by a forest that grows otherwise each time.
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied)
    except (RuntimeError, ValueError):
        return {}
    return dict(list(shares.items())[:MOST_IMPORTANCES])
