"""What a training finds out in the batch about images without labels."""

from __future__ import annotations

import torch
from torch import nn

from augsearch.trainers.semi.distillation import ask_teacher
from augsearch.trainers.semi.fixmatch import match_views
from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.technique import Judge


def judging(
    learner: Learner,
    pool: Pool | None,
    shares: torch.Tensor,
    teacher: nn.Module | None,
    device: torch.device,
) -> Judge:
    """What ``pool``'s technique does in the batch.

    Args:
        learner: who learns; where the technique has a memory, it is kept there.
        pool: the images; None: there are none.
        shares: (K,), of the classes among the labels.
        teacher: in evaluation mode; of ``distillation`` alone.
        device: where they all are.
    """
    if pool is None:
        return Judge(lambda batch, _: batch, 0.0, 1.0)
    semi = pool.semi
    if semi.technique == "distillation":
        if teacher is None:
            raise ValueError("distillation on unlabeled images needs a teacher")
        return Judge(ask_teacher(teacher, semi, learner), semi.weight, semi.temperature)
    if semi.technique == "fixmatch":
        return Judge(match_views(learner, pool, shares, device), semi.weight, 1.0)
    return Judge(lambda batch, _: batch, semi.weight, 1.0)
