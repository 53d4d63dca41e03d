"""What a training's predictions on held-out images come to."""

from __future__ import annotations

from typing import Any

import numpy as np

from augsearch.trainers.data.dataset import Indices
from augsearch.trainers.evaluation.metrics import ACCURACY, METRICS, Logits, score
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult


def scored(logits: Logits, labels: Indices, metric: str, **more: Any) -> FoldResult:
    """The result of a training by its logits (N, K) of images with ``labels`` (N,).

    ``metric`` is the one that is compared; ``more``: the fields of ``FoldResult`` that tell of the training.
    """
    scores, compared = score(logits, labels), METRICS[metric]
    return FoldResult(
        accuracy=scores.accuracy,
        log_loss=scores.log_loss,
        ece=scores.ece,
        correct=scores.correct,
        macro_f1=scores.macro_f1,
        balanced_accuracy=scores.balanced_accuracy,
        metric=metric,
        values=None if compared is ACCURACY else compared.per_image(logits, labels).astype(np.float16),
        **more,
    )


def scored_in(workspace: Workspace, fold: Fold, logits: Logits, labels: Indices, **more: Any) -> FoldResult:
    """The same of a fold: which images of the workspace they are is told too, and which belong together."""
    return scored(
        logits,
        labels,
        workspace.proxy.metric,
        pool_share=workspace.pool_share(fold),
        rows=workspace.scored_rows(fold),
        groups=workspace.scored_groups(fold),
        **more,
    )


def mean_of(logits: Logits, labels: Indices, metric: str) -> float:
    """The mean over images with ``labels`` (N,), by ``metric``, of their logits (N, K)."""
    return float(METRICS[metric].per_image(logits, labels).mean())
