"""What engines are asked to run. Naming a task imports no torch; running it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult
from augsearch.trainers.workspace.left import LeftFiles

if TYPE_CHECKING:
    from augsearch.trainers.tasks.final_job import FinalJob, SelectionSet


def evaluate(folder: Path, candidate: Candidate, fold: Fold, teacher: LeftFiles | None = None) -> FoldResult:
    """Train ``candidate`` on ``fold`` of the workspace at ``folder``; see ``trainers.tasks.fold``.

    ``teacher``: the fold's, which lies in the folder; None: it is trained first if it is asked for.
    """
    from augsearch.trainers.tasks import fold as task

    return task.evaluate(folder, candidate, fold)


def make_teacher(folder: Path, fold: Fold) -> LeftFiles:
    """Train the teacher of ``fold`` of the workspace at ``folder``; see ``trainers.tasks.teacher``."""
    from augsearch.trainers.tasks import teacher as task

    return task.make_teacher(folder, fold)


def evaluate_final(job: FinalJob, scored: SelectionSet, metric: str) -> FoldResult:
    """Train a final model and score it on held-out images; see ``trainers.tasks.final_score``.

    The model is removed once it is scored, on whichever machine it lies.
    """
    from augsearch.trainers.tasks import final_score as task

    result = task.train_and_score(job, scored, metric)
    for file in (job.path, job.path.with_suffix(".json")):
        file.unlink(missing_ok=True)
    return result
