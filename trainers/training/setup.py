"""What a training is, beside the network that it trains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from augsearch.policies import Distillation, Policy
from augsearch.policies.training import ClassBalance
from augsearch.trainers.data.dataset import Weights
from augsearch.trainers.data.views import TrainingImages
from augsearch.trainers.training.distributed import ALONE, Shard
from augsearch.trainers.training.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSetup:
    """Images with labels, and how a network learns from them."""

    data: TrainingImages
    """At least two images."""
    policy: Policy
    """What happens to them."""
    recipe: Recipe
    """How long and how fast."""
    seed: int
    """Everything random follows from it: order, augmentation, mixing, dropout."""
    device: torch.device
    """Where to compute."""
    distillation: Distillation | None = None
    """With it a teacher's predictions are learned too: of the same views, or of the clean images
    (``data.teacher``), as its ``teacher_view`` says."""
    teacher: nn.Module | None = None
    """In evaluation mode, on ``device``; takes what the student takes."""
    class_balance: ClassBalance | None = None
    """What is done for rare classes."""
    weights: Weights | None = None
    """(N,), above 0: how much each image of ``data`` counts in the loss, 1 on average; None: all alike."""
    shard: Shard = ALONE
    """The share of each batch that is trained on in this process."""
