"""The metrics that a search may optimise, in words."""

from __future__ import annotations

from augsearch.trainers.evaluation.metrics import Metric

UNITS: dict[Metric, str] = {
    "accuracy": "points",
    "macro-f1": "points of macro-F1",
    "balanced-accuracy": "points of balanced accuracy",
    "log-loss": "nats",
}
"""What a difference is measured in."""

MARGINS: dict[Metric, float] = {
    "accuracy": 0.01,
    "macro-f1": 0.01,
    "balanced-accuracy": 0.01,
    "log-loss": 0.02,
}
"""The gain below which hardly anyone would keep a policy file for it."""


def name_of(metric: Metric) -> str:
    """What people call it: ``balanced accuracy``."""
    return {"macro-f1": "macro-F1", "log-loss": "log-loss"}.get(metric, metric.replace("-", " "))


def shown(metric: Metric, score: float, unit: bool = True) -> str:
    """A score, higher being better, as people write it: ``85.3 %``, and of log-loss ``0.461``."""
    if metric == "log-loss":
        return f"{-score:.3f}"
    return f"{100 * score:.1f}{' %' if unit else ''}"


def shown_spread(metric: Metric, sd: float) -> str:
    """A standard deviation, as ``shown`` shows the score without its unit."""
    return f"{sd:.3f}" if metric == "log-loss" else f"{100 * sd:.1f}"


def shown_difference(metric: Metric, mean: float, low: float, high: float) -> str:
    """``+1.2 [+0.3, +2.1] points``; positive is better, whatever the metric."""
    if metric == "log-loss":
        return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}] nats"
    return f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] {UNITS[metric]}"
