"""How good a model's predictions are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Logits = NDArray[np.float32]


class TrainingDivergedError(ArithmeticError):
    """A loss or an output is no longer a number."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of predictions on some images."""

    accuracy: float
    log_loss: float
    """Mean negative log-likelihood of the labels, in nats."""
    ece: float
    """Expected calibration error: 15 equal-width bins of confidence (Guo et al. 2017, arXiv:1706.04599)."""
    correct: NDArray[np.bool_]
    """(N,): whether each image was classified rightly; it pairs images across models."""


def predict(
    model: nn.Module, images: NDArray[np.uint8], device: torch.device, batch_size: int = 256
) -> Logits:
    """Logits (N, K) of ``images``, uint8 (N, H, W, C), in evaluation mode."""
    was_training = model.training
    model.eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            # A memory map is read-only, which torch takes ill: only such a chunk is copied.
            chunk = np.require(images[start : start + batch_size], requirements=["C", "W"])
            rows.append(model(to_tensor(chunk, device)).float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(rows)


def to_tensor(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """uint8 (B, H, W, C) as a (B, C, H, W) tensor of the same memory, on ``device``."""
    return torch.from_numpy(images).to(device, non_blocking=True).permute(0, 3, 1, 2)


def score(logits: Logits, labels: NDArray[np.int64]) -> Scores:
    """Compare ``logits`` (N, K) with ``labels`` (N,).

    Raises:
        TrainingDivergedError: a logit is no number.
    """
    if not np.isfinite(logits).all():
        raise TrainingDivergedError("the model's outputs are no numbers; lower the learning rate")
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    correct = logits.argmax(axis=1) == labels
    confidence = np.exp(log_probabilities.max(axis=1))
    return Scores(
        accuracy=float(correct.mean()),
        log_loss=float(-log_probabilities[np.arange(len(labels)), labels].mean()),
        ece=_expected_calibration_error(confidence, correct),
        correct=correct,
    )


def _expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15
) -> float:
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_of, confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(correct))
