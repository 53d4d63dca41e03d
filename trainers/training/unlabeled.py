"""What the loop asks of images without labels, and of the technique by which it learns from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augsearch.policies import Policy
from augsearch.trainers.data.views import TrainingImages
from augsearch.trainers.system.devices import autocast
from augsearch.trainers.training.batch import UnlabeledBatch
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.setup import TrainingSetup

FindTargets = Callable[[UnlabeledBatch, int], UnlabeledBatch]
"""The batch with its targets; the number says into how many parts to divide it for want of memory."""


@dataclass(frozen=True, slots=True)
class UnlabeledLoss:
    """λ · the loss of the unlabeled images in a batch; see ``losses.unsupervised``."""

    find_targets: FindTargets
    weight: float
    """λ."""
    temperature: float
    """T."""


class UnlabeledPool(Protocol):
    """Unlabeled images, and the technique by which a training learns from them."""

    @property
    def images(self) -> TrainingImages:
        """Their labels mean nothing."""

    @property
    def policy(self) -> Policy:
        """What happens to them."""

    @property
    def weak_policy(self) -> Policy | None:
        """The policy of the views by which the model finds targets in the batch; None: it needs none."""

    def wanted(self, labeled: int) -> int:
        """How many should go with so many ``labeled`` images, μB."""

    def per_step(self, labeled: int, steps: int) -> int:
        """How many do, in each of an epoch's ``steps``; asked at the start of each epoch."""

    def drawn(self, count: int, epoch: int, steps: int, seed: int) -> list[NDArray[np.int64]]:
        """The rows (count,) of each step of an epoch."""

    def targets(self, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """What is to be learned of ``rows``, (len(rows), K); None: that is found in the batch."""

    def loss(self, learner: Learner, setup: TrainingSetup) -> UnlabeledLoss:
        """What ``learner`` minimises on these images in the training that is ``setup``.

        Raises:
            ValueError: the technique needs a teacher, and there is none.
        """


def logits_of(model: nn.Module, images: torch.Tensor, parts: int, precision: torch.dtype) -> torch.Tensor:
    """Logits (U, K) of ``images``, without a gradient."""
    with torch.no_grad(), autocast(images.device, precision):
        return torch.cat([model(part).float() for part in images.tensor_split(parts) if len(part)])
