"""What is compared, and how every proxy of a study is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializeAsAny
from pydantic_core import PydanticKnownError

from augsearch.policies import Distillation, Policy, Semi, Training, Transfer
from augsearch.policies.training import ClassBalance
from augsearch.trainers.evaluation.metrics import ACCURACY, METRICS
from augsearch.trainers.models.names import files_among
from augsearch.trainers.workspace.own_training import OwnTraining


def _known_metric(name: str) -> str:
    if name not in METRICS:
        *others, last = (repr(metric) for metric in METRICS)
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(others)} or {last}"})
    return name


MetricName = Annotated[str, AfterValidator(_known_metric)]
"""The name of one of ``METRICS``."""


class Candidate(BaseModel):
    """What is compared: a policy, and how to distil, to use weights and to learn from unlabeled images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Policy
    distillation: Distillation | None = None
    transfer: Transfer | None = None
    semi: SerializeAsAny[Semi] | None = None
    passes: float = Field(default=1.0, gt=0, le=100, allow_inf_nan=False)
    """How many times as long as usual it trains, to be compared with what takes more than one training."""
    class_balance: ClassBalance | None = Field(default=None, exclude_if=lambda value: value is None)
    """How rare classes are made up for; not said where nothing is done, as candidates of old don't."""

    @property
    def training(self) -> Training:
        """What a policy file says of how to train."""
        return Training(
            distillation=self.distillation,
            transfer=self.transfer,
            semi=self.semi,
            class_balance=self.class_balance,
        )


SELF = "self"
"""A teacher that is the student's network, trained before it: self-distillation (Furlanello et al. 2018)."""


class ProxySettings(BaseModel):
    """How every proxy of a study is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    weights: str = "none"
    """``none``, ``hub`` or a file."""
    input_size: int | None = None
    """Side to which the network resizes the images; None: what suits it."""
    epochs: int
    fold_size: int
    """Training images of a fold."""
    seed: int
    device: str
    teacher: str | None = None
    """A network to train as the teacher, or a model file; ``SELF``: the student's own network."""
    teacher_weights: str = "none"
    """What that network starts from: ``none``, ``hub`` or a file."""
    metric: MetricName = ACCURACY.name
    """What candidates are scored by."""
    own: OwnTraining | None = Field(default=None, exclude_if=lambda value: value is None)
    """A function of the user's own that trains; it takes nothing of the above but the size and the seed. Not
    said where there is none, as workspaces of old don't."""

    @property
    def files(self) -> dict[str, Path]:
        """The files among its fields, by field: models and weights that were given."""
        models = {"model": self.model, "teacher": self.teacher}
        return files_among(models, {"weights": self.weights, "teacher_weights": self.teacher_weights})
