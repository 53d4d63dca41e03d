"""FixMatch (Sohn et al. 2020, arXiv:2001.07685): what the model is sure of on a weak view is the label of
the strong one; with FlexMatch's thresholds and distribution alignment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.training.batch import UnlabeledBatch
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.losses import softened
from augsearch.trainers.training.technique import Find, logits_of
from augsearch.trainers.training.transfer import training_mode

if TYPE_CHECKING:
    pass


MEMORY = 0.99
"""How slowly the mean of a model's predictions forgets, each step (FixMatch's code: 128 batches)."""


def match_views(learner: Learner, pool: Pool, shares: torch.Tensor, device: torch.device) -> Find:
    """The model itself says, of the weak views.

    In evaluation mode: without dropout, and with the statistics of all images instead of one batch's.
    """
    semi, classes = pool.semi, len(shares)
    fixed = torch.full((classes,), semi.threshold, device=device)
    if semi.per_class and learner.predicted is None:
        learner.predicted = torch.full((len(pool),), -1, device=device)
    if semi.align and learner.mean_prediction is None:
        learner.mean_prediction = shares.clone()

    def find(batch: UnlabeledBatch, parts: int) -> UnlabeledBatch:
        assert batch.weak is not None
        assert batch.rows is not None
        learner.model.eval()
        logits = logits_of(learner.model, batch.weak, parts, learner.precision)
        training_mode(learner.model, learner.transfer)
        probabilities = softened(logits, 1.0)
        if learner.mean_prediction is not None:
            learner.mean_prediction.lerp_(probabilities.mean(dim=0), 1 - MEMORY)
            probabilities = aligned(probabilities, learner.mean_prediction, shares)
        thresholds = fixed
        if learner.predicted is not None:
            thresholds = class_thresholds(learner.predicted, classes, semi.threshold)
            confidence, labels = probabilities.max(dim=1)
            before = learner.predicted[batch.rows]
            learner.predicted[batch.rows] = torch.where(confidence >= semi.threshold, labels, before)
        targets = confident_targets(probabilities, thresholds)
        return replace(batch, targets=batch.mix.targets(targets) if batch.mix else targets)

    return find


def class_thresholds(predicted: Tensor, num_classes: int, threshold: float) -> Tensor:
    """FlexMatch's threshold of each class, (K,): T(c) = M(β(c))·τ with M(x) = x / (2 − x).

    β(c) = σ(c) / max(max σ, N − Σσ), where σ(c) counts the images whose last confident prediction was c
    (Zhang et al. 2021, arXiv:2110.08263, eqs. 5–8 and 11).

    Args:
        predicted: int64 (N,), the class of each image's last confident prediction, −1 before the first.
        num_classes: K.
        threshold: τ.
    """
    counts = torch.bincount(predicted + 1, minlength=num_classes + 1).float()
    learned = counts[1:] / counts.max().clamp(min=1)
    return threshold * learned / (2 - learned)


def confident_targets(probabilities: Tensor, thresholds: Tensor) -> Tensor:
    """1(max q ≥ τ) · one-hot(argmax q), float32 (U, K).

    Args:
        probabilities: q, (U, K), of the weak views.
        thresholds: (K,), τ of each class.
    """
    confidence, labels = probabilities.max(dim=1)
    sure = (confidence >= thresholds[labels]).float()
    targets = torch.zeros_like(probabilities, dtype=torch.float32)
    return targets.scatter_(1, labels.unsqueeze(1), sure.unsqueeze(1))


def aligned(probabilities: Tensor, mean: Tensor, shares: Tensor) -> Tensor:
    """Normalize(q · p / p̃), (U, K): distribution alignment (Berthelot et al. 2020, arXiv:1911.09785, §3.1).

    Args:
        probabilities: q, (U, K).
        mean: p̃, (K,), the mean of the model's predictions on unlabeled images until now.
        shares: p, (K,), of the classes among the labels.
    """
    weighted = probabilities * (shares / mean.clamp(min=1e-6))
    return weighted / weighted.sum(dim=1, keepdim=True)
