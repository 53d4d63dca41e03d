"""Losses: functions of the student's logits and the batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from augsearch.policies import Distillation
from augsearch.trainers.training.balance import UNBALANCED, Balance
from augsearch.trainers.training.batch import Batch

Loss = Callable[[Tensor, Batch], Tensor]
"""``loss(logits, batch)`` → the mean over the batch; logits (B, K)."""


def supervised(label_smoothing: float, balance: Balance = UNBALANCED, *, weighted: bool = False) -> Loss:
    """Cross-entropy with the labels; ``weighted``: targets are probabilities times each image's weight."""

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        if balance.offsets is not None:
            logits = logits + balance.offsets
        if not weighted:
            return F.cross_entropy(logits, batch.targets, balance.weights, label_smoothing=label_smoothing)
        # Smoothing takes targets that add up to 1, so the weight is taken out, and comes back.
        counts = batch.targets.sum(dim=1)
        targets = batch.targets / counts[:, None]
        each = F.cross_entropy(
            logits, targets, balance.weights, reduction="none", label_smoothing=label_smoothing
        )
        return (counts * each).mean()

    return loss


def distilled(
    distillation: Distillation,
    label_smoothing: float,
    balance: Balance = UNBALANCED,
    *,
    weighted: bool = False,
) -> Loss:
    """α·T²·KL(teacher at T ‖ student at T) + (1 − α)·CE(labels).

    T² keeps the gradient's size when T changes (Hinton, Vinyals and Dean 2015, arXiv:1503.02531, §2). The
    ``balance`` of classes is the labels' alone; an image's weight counts for both.
    """
    temperature, alpha = distillation.temperature, distillation.alpha
    hard = supervised(label_smoothing, balance, weighted=weighted)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        if batch.teacher is None:
            raise ValueError("distillation needs a batch with the teacher's probabilities")
        student = F.log_softmax(logits / temperature, dim=1)
        taught = batch.teacher.detach()
        if weighted:
            each = F.kl_div(student, taught, reduction="none").sum(dim=1)
            soft = (batch.targets.sum(dim=1) * each).mean()
        else:
            soft = F.kl_div(student, taught, reduction="batchmean")
        return alpha * temperature**2 * soft + (1 - alpha) * hard(logits, batch)

    return loss


def unsupervised(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · mean of H(targets, student at T) over the unlabeled images; those without weight count as 0.

    With T = 1 and targets 1(max q ≥ τ) · argmax q it is FixMatch's ℓ_u (arXiv:2001.07685, eq. 4). With a
    teacher's probabilities at T its gradient is that of T²·KL(teacher ‖ student).

    Args:
        logits: (U, K).
        targets: (U, K), probabilities times each image's weight; no gradient goes through them.
        temperature: T.
    """
    student = F.log_softmax(logits / temperature, dim=1)
    return -(targets.detach() * student).sum(dim=1).mean() * temperature**2


def softened(logits: Tensor, temperature: float) -> Tensor:
    """The teacher's probabilities (B, K) at ``temperature``: float32, without a gradient."""
    return torch.softmax(logits.detach().float() / temperature, dim=1)
