"""What engines are asked to run. Naming a task imports no torch; running it does."""

from __future__ import annotations

from pathlib import Path

from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult


def evaluate(folder: Path, candidate: Candidate, fold: Fold) -> FoldResult:
    """Train ``candidate`` on ``fold`` of the workspace at ``folder``; see ``trainers.tasks.fold``."""
    from augsearch.trainers.tasks import fold as task

    return task.evaluate(folder, candidate, fold)
