"""Classes of unequal size: what is done for the rare ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augsearch.policies.training import ClassBalance

OVERLAP = 0.999
"""β of the effective number of images (1 − βⁿ)/(1 − β): Cui et al. 2019, arXiv:1901.05555, eq. 3."""


@dataclass(frozen=True, slots=True, eq=False)
class Balance:
    """What the loss does for rare classes; nothing where both are None."""

    weights: Tensor | None = None
    """(K,): of each class's images in the loss; 1 on average over the images."""
    offsets: Tensor | None = None
    """(K,): added to the logits in training alone."""


UNBALANCED = Balance()


def balance_of(
    kind: ClassBalance | None, labels: NDArray[np.int64], num_classes: int, device: torch.device
) -> Balance:
    """What the loss does under ``kind`` for images with ``labels``, (N,); sampling is not the loss's.

    ``loss`` weighs each class by one over its effective number of images (Cui et al. 2019, eq. 4).
    ``logit-adjustment`` adds the logarithm of each class's share to its logit, so that what a network says
    without it is as though all classes were alike (Menon et al. 2021, arXiv:2007.07314, eq. 10, τ = 1).
    """
    if kind not in ("loss", "logit-adjustment"):
        return UNBALANCED
    # A fold may lack a class: as though it had one image.
    counts = np.maximum(np.bincount(labels, minlength=num_classes), 1)
    if kind == "logit-adjustment":
        return Balance(offsets=_on(np.log(counts / counts.sum()), device))
    weights = (1 - OVERLAP) / (1 - OVERLAP**counts)
    return Balance(weights=_on(weights / weights[labels].mean(), device))


def _on(values: NDArray[np.float64], device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device, torch.float32)


def order_of(
    kind: ClassBalance | None, labels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """In which order an epoch takes the images with ``labels``, (N,); each once, but under ``sampling``.

    Then each class comes as often as any other, to within one, and its images one after another in a random
    order, anew when all have been taken (class-balanced sampling: Kang et al. 2020, arXiv:1910.09217, §3).
    """
    if kind != "sampling":
        return rng.permutation(len(labels))
    present = rng.permutation(np.unique(labels))
    times = np.bincount(np.arange(len(labels)) % len(present))
    drawn = []
    for label, count in zip(present, times, strict=True):
        own = np.flatnonzero(labels == label)
        rounds = -(-int(count) // len(own))
        drawn.append(np.concatenate([rng.permutation(own) for _ in range(rounds)])[:count])
    return rng.permutation(np.concatenate(drawn))
