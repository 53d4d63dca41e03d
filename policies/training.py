"""What a policy file says of a training, beside the policy: teacher, transfer, unlabeled images."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from augsearch.policies.policy import Policy


class Distillation(BaseModel):
    """Learning from a teacher: α·T²·KL(teacher at T ‖ student at T) + (1 − α)·CE(hard labels).

    Hinton, Vinyals and Dean 2015, arXiv:1503.02531.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(gt=0, le=100, allow_inf_nan=False)
    """T: softens the teacher's and the student's distributions alike."""
    alpha: float = Field(ge=0, le=1, allow_inf_nan=False)
    """α: the weight of the teacher's word against the labels'."""
    teacher_view: Literal["same", "clean"] = "same"
    """What the teacher looks at: the student's own augmented and mixed images, or the originals."""


class Transfer(BaseModel):
    """Learning from weights that another training left.

    ``head`` trains a new last layer on a frozen backbone. ``full`` trains everything, the backbone more
    slowly: layer d of D, counted from the image, at ``backbone_lr_scale`` · ``layer_decay`` ** (D − d) of the
    last layer's learning rate (layer-wise decay: Howard and Ruder 2018, arXiv:1801.06146, §3.2). The
    statistics of BatchNorms stay as they were in both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["head", "full"]
    backbone_lr_scale: float = Field(default=0.1, gt=0, le=1, allow_inf_nan=False)
    """The learning rate of the backbone's last layer as a share of the new last layer's; ``full`` only."""
    layer_decay: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    """How much slower each layer learns than the next; 1: all of the backbone alike; ``full`` only."""


class Semi(BaseModel):
    """Learning from images without labels, beside those that have one: L = L_labeled + weight · L_unlabeled.

    ``pseudo``: the model labels them on clean views, now and then, and learns from those it is sure of (Lee
    2013). ``self-training``: a trained model labels them, a new one with dropout and stochastic depth learns
    from both, and becomes the next to label (noisy student: Xie et al. 2020, arXiv:1911.04252). ``fixmatch``:
    what the model is sure of on a weak view is the target of the policy's view, in every batch (Sohn et al.
    2020, arXiv:2001.07685). ``distillation``: a teacher's softened word is the target.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    technique: Literal["pseudo", "self-training", "fixmatch", "distillation"]
    threshold: float = Field(default=0.95, ge=0, le=1, allow_inf_nan=False)
    """How sure of its answer a model must be for an image to be learned from; not of ``distillation``."""
    weight: float = Field(default=1.0, ge=0, le=100, allow_inf_nan=False)
    """Of the unlabeled images' loss beside the labeled ones', λ."""
    ratio: float = Field(default=2.0, gt=0, le=64, allow_inf_nan=False)
    """Unlabeled images to a labeled one in a batch, μ; fewer where so many would come up more often in an
    epoch than the labeled ones do."""
    policy: Policy | None = None
    """What happens to unlabeled images; None: the same as to labeled ones."""
    labels: Literal["hard", "soft"] = "hard"
    """Whether ``pseudo`` and ``self-training`` learn the likeliest class, or all classes' probabilities."""
    class_cap: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """``pseudo`` and ``self-training`` take of each class at most so many times its share, among the labels,
    of all unlabeled images, the surest first; None: all."""
    labeler: Literal["model", "teacher"] = "model"
    """Who labels for ``pseudo``: the model as it learns, or the teacher, once, before it begins."""
    rounds: int = Field(default=3, ge=1, le=100)
    """How often ``pseudo`` labels anew, and how many students ``self-training`` has at most."""
    per_class: bool = False
    """Whether ``fixmatch`` has a threshold of each class, lower where it has learned less (FlexMatch: Zhang
    et al. 2021, arXiv:2110.08263)."""
    align: bool = True
    """Whether ``fixmatch`` weighs predictions so that all together name the classes as often as the labels do
    (distribution alignment: Berthelot et al. 2020, arXiv:1911.09785, §3.1)."""
    temperature: float = Field(default=4.0, gt=0, le=100, allow_inf_nan=False)
    """T of ``distillation``, which softens the teacher's and the student's word on unlabeled images alike."""
    dropout: float = Field(default=0.1, ge=0, lt=1, allow_inf_nan=False)
    """Of the last layer's inputs, in the students of ``self-training``."""
    stochastic_depth: float = Field(default=0.1, ge=0, lt=1, allow_inf_nan=False)
    """How often the last residual branch is left out in those, earlier ones less (Huang et al. 2016,
    arXiv:1603.09382)."""

    @property
    def asks_teacher(self) -> bool:
        """Whether it needs a teacher."""
        return self.technique == "distillation" or (self.technique, self.labeler) == ("pseudo", "teacher")


class Training(BaseModel):
    """What the final training takes over from the search, beside the policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distillation: Distillation | None = None
    transfer: Transfer | None = None
    semi: Semi | None = None

    @property
    def asks_teacher(self) -> bool:
        """Whether there must be a teacher."""
        return self.distillation is not None or (self.semi is not None and self.semi.asks_teacher)
