"""What workers are asked to do. Naming a task imports no torch; running it does."""

from __future__ import annotations

from pathlib import Path

from augsearch.trainers.folds import Candidate, Fold, FoldResult


def evaluate(folder: Path, candidate: Candidate, fold: Fold) -> FoldResult:
    """See ``augsearch.trainers.proxy.evaluate``."""
    from augsearch.trainers import proxy

    return proxy.evaluate(folder, candidate, fold)
