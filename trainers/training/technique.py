"""What the loop asks a technique for images without labels: targets for a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from augsearch.trainers.system.devices import autocast
from augsearch.trainers.training.batch import UnlabeledBatch

Find = Callable[[UnlabeledBatch, int], UnlabeledBatch]
"""The batch with its targets; its other argument is into how many parts to divide it for want of memory."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Finds out what is to be learned of unlabeled images."""

    find: Find
    weight: float
    """Of their loss beside the labeled images', λ."""
    temperature: float


def logits_of(model: nn.Module, images: torch.Tensor, parts: int, precision: torch.dtype) -> torch.Tensor:
    """Logits (U, K) of ``images``, without a gradient."""
    with torch.no_grad(), autocast(images.device, precision):
        return torch.cat([model(part).float() for part in images.tensor_split(parts) if len(part)])
