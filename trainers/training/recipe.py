"""How long and how fast to train."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from augsearch.policies import Semi, Transfer

FROM_SCRATCH, TRANSFERRED = 0.02, 0.002
"""Learning rates that serve every network and data set tried; see ``docs/results``."""

LAYER_DECAYS = {"convnext": 0.8, "vit": 0.75, "deit": 0.75, "beit": 0.75, "eva": 0.75, "swin": 0.75}
"""How much slower each layer learns than the next, by what the names of a family's networks have in them.

As their authors fine-tune them: transformers (Bao et al. 2022, arXiv:2106.08254; He et al. 2022,
arXiv:2111.06377, appendix A) and ConvNeXts (Liu et al. 2022, arXiv:2201.03545, appendix A). Others have 1.
"""

CLIPPED = 1.0
"""Of the same families: the largest norm of a step's gradients, all together, as their authors train them."""

FINE_TUNED_EPOCHS = 6
"""Of a short training of a network with weights: of 200 photos as many told as much as 15; see
``docs/results/carry-over.md``."""
LABEL_SMOOTHING = 0.1

Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""What convolutions and products are computed in; auto: half of float32 where that is faster."""


def usual_label_smoothing(semi: Semi | None) -> float:
    """Label smoothing where nothing else is said: none with a technique that does without."""
    return LABEL_SMOOTHING if semi is None or semi.smooths_labels else 0.0


class Recipe(BaseModel):
    """How a network is trained; the defaults serve every network and data set built in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=64, ge=2)
    """At most; with few images a sixth of them, so that an epoch has some steps."""
    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The highest, after the warm-up (one-cycle: Smith 2018, arXiv:1803.09820); None: by what is trained."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Nesterov's."""
    weight_decay: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    """For convolutions from scratch, and in a transfer for matrices too; for nothing else."""
    label_smoothing: float = Field(default=LABEL_SMOOTHING, ge=0, lt=1)
    warm_up: float = Field(default=0.25, gt=0, lt=1)
    """The share of the steps in which the learning rate rises; then it falls along half a cosine."""
    accumulation: int = Field(default=1, ge=1)
    """The number of parts of a batch; their gradients are added up before the step."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the exponential moving average of the weights for each step; None: no average is kept."""
    precision: Precision = "auto"
    clip: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, exclude_if=lambda value: value is None
    )
    """The largest norm of a step's gradients, all together; None: whatever they are."""

    def top_rate(self, transfer: Transfer | None) -> float:
        """The highest learning rate: Muon's from scratch, AdamW's for the last layer in a transfer."""
        return self.learning_rate or (FROM_SCRATCH if transfer is None else TRANSFERRED)


def usual_layer_decay(network: str) -> float:
    """The layer decay for the fine-tuning of ``network``, by the family that its name says."""
    named = network.lower()
    return next((decay for family, decay in LAYER_DECAYS.items() if family in named), 1.0)


def usual_clip(network: str) -> float | None:
    """The largest norm of gradients in the fine-tuning of ``network``, by the family that its name says."""
    named = network.lower()
    return CLIPPED if any(family in named for family in LAYER_DECAYS) else None


def one_cycle(progress: float, warm_up: float) -> float:
    """The share of the full learning rate at ``progress`` (0–1): a linear rise, then half a cosine."""
    if progress < warm_up:
        return max(progress / warm_up, 0.02)
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def default_epochs(images: int) -> int:
    """30, and more where there are so few images that 30 would be too few steps to learn anything."""
    return min(max(30, math.ceil(12_000 / images)), 120)


def default_fine_tuning_epochs(images: int) -> int:
    """A tenth of that, but no fewer than tell something: of a network that knows much already."""
    return max(FINE_TUNED_EPOCHS, default_epochs(images) // 10)


def default_final_epochs(images: int, beside: bool = False) -> int:
    """About 60,000 passes of images with labels, in no fewer than 30 epochs and no more than 150.

    ``beside``: images without labels are learned from too. That takes more steps than 150 epochs of a few
    labels have, and keeps a network from learning those by heart; so at most 600 epochs.
    """
    return min(max(30, math.ceil(60_000 / images)), 600 if beside else 150)
