"""FixMatch (Sohn et al. 2020, arXiv:2001.07685): what the model is sure of on a weak view is the label of
the strong one; with FlexMatch's thresholds and distribution alignment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from augsearch.policies import Policy
from augsearch.trainers.semi.technique import Technique

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from augsearch.trainers.training.batch import UnlabeledBatch
    from augsearch.trainers.training.learner import Learner
    from augsearch.trainers.training.unlabeled import FindTargets

DECAY = 0.99
"""The decay, each step, of the moving average of predictions (FixMatch's code: the mean of 128 batches)."""

PREDICTED = "predicted"
"""In a learner's memory: int64 (N,), the class of each image's last confident prediction, −1 before it."""

MEAN_PREDICTION = "mean_prediction"
"""In a learner's memory: float32 (K,), the moving average of its predictions on unlabeled images."""


class FixMatch(Technique):
    """What the model is sure of on a weak view is the target of the policy's view, in every batch.

    Sohn et al. 2020, arXiv:2001.07685.
    """

    words: ClassVar[str] = "FixMatch"
    rank: ClassVar[int] = 3

    technique: Literal["fixmatch"] = "fixmatch"
    threshold: float = Field(default=0.95, ge=0, le=1, allow_inf_nan=False)
    """τ: the least confidence with which a prediction on a weak view is learned from."""
    per_class: bool = False
    """Whether each class has a threshold, lower where it has learned less (FlexMatch: Zhang et al. 2021,
    arXiv:2110.08263)."""
    align: bool = True
    """Whether predictions are weighted so that all together name the classes as often as the labels do
    (distribution alignment: Berthelot et al. 2020, arXiv:1911.09785, §3.1)."""

    def weak_policy(self, policy: Policy) -> Policy:
        """The policy's crops, flips and turns without its operations: what it takes to change no label."""
        return policy.model_copy(update={"num_ops": 0, "erasing": None, "mixing": None})

    def target_finder(
        self, learner: Learner, shares: torch.Tensor, images: int, teacher: nn.Module | None
    ) -> FindTargets:
        """The model itself predicts the weak views.

        In evaluation mode: without dropout, and with the statistics of all images instead of one batch's.
        """
        # Here and not above: who only reads the settings does without torch.
        import torch

        from augsearch.trainers.training.losses import softened
        from augsearch.trainers.training.transfer import training_mode
        from augsearch.trainers.training.unlabeled import logits_of

        memory = learner.memory
        fixed = torch.full((len(shares),), self.threshold, device=shares.device)
        if self.per_class and PREDICTED not in memory:
            memory[PREDICTED] = torch.full((images,), -1, device=shares.device)
        if self.align and MEAN_PREDICTION not in memory:
            memory[MEAN_PREDICTION] = shares.clone()

        def find(batch: UnlabeledBatch, parts: int) -> UnlabeledBatch:
            assert batch.weak is not None
            assert batch.rows is not None
            learner.model.eval()
            logits = logits_of(learner.model, batch.weak, parts, learner.precision)
            training_mode(learner.model, learner.transfer)
            probabilities = softened(logits, 1.0)
            if self.align:
                mean = memory[MEAN_PREDICTION].lerp_(probabilities.mean(dim=0), 1 - DECAY)
                probabilities = aligned(probabilities, mean, shares)
            thresholds = fixed
            if self.per_class:
                predicted = memory[PREDICTED]
                thresholds = class_thresholds(predicted, len(shares), self.threshold)
                confidence, labels = probabilities.max(dim=1)
                before = predicted[batch.rows]
                predicted[batch.rows] = torch.where(confidence >= self.threshold, labels, before)
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
    # Not by bincount, whose length hangs on the values: a GPU would be waited for.
    counts = predicted.new_zeros(num_classes + 1)
    counts = counts.index_add_(0, predicted + 1, predicted.new_ones(len(predicted))).float()
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
    targets = sure.new_zeros(probabilities.shape)
    return targets.scatter_(1, labels.unsqueeze(1), sure.unsqueeze(1))


def aligned(probabilities: Tensor, mean: Tensor, shares: Tensor) -> Tensor:
    """Normalize(q · p / p̃), (U, K): distribution alignment (Berthelot et al. 2020, arXiv:1911.09785, §3.1).

    Args:
        probabilities: q, (U, K).
        mean: p̃, (K,), the moving average of the model's predictions on unlabeled images.
        shares: p, (K,), of the classes among the labels.
    """
    weighted = probabilities * (shares / mean.clamp(min=1e-6))
    return weighted / weighted.sum(dim=1, keepdim=True)
