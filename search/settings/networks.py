"""The sections of the settings that say which networks a search trains, and what those start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from augsearch.policies import Transfer, UserError
from augsearch.search.settings.sections import AUTO, TRACKED, Flat, Section, Side
from augsearch.trainers.models.names import check_network, is_built_in
from augsearch.trainers.workspace.candidate import SELF
from augsearch.trainers.workspace.own_training import OwnTraining, own_training

FINETUNE = "finetune"
Kind = Literal["auto", "scratch", "finetune"]
"""What a search trains: a small network from scratch, the final one, or what is worth it."""


def _existing_weights(weights: str) -> str:
    if weights not in (AUTO, "hub", "none") and not Path(weights).is_file():
        raise ValueError(f"must be auto, none or a file, and there is no file {weights}")
    return weights


class ProxySettings(Section):
    """The short trainings that score candidates."""

    kind: Annotated[Kind, Flat("proxy")] = "auto"
    """What is trained, where no network is named."""
    model: Annotated[str, Flat("proxy_model")] = "small"
    size: Annotated[Side | None, Flat("proxy_size")] = None
    """Side in pixels at which a network with weights is trained; None: the one that those were trained at."""
    epochs: int | None = Field(default=None, ge=1, le=10_000)
    """None: 30, and more for few images; a tenth, or 6, for weights at a side of their own."""
    fold_size: int | None = Field(default=None, ge=2)
    """Training images of a fold; None: four fifths of all, at most 1,000 or 20 a class."""
    own: Annotated[OwnTraining | None, Flat("train_fold")] = None
    """A function of the user's own that trains them; given in Python alone."""

    @property
    def in_words(self) -> str:
        """The network, and the side at which its weights are fine-tuned, if that is not their own."""
        at = "" if self.size is None or is_built_in(self.model) else f" at {self.size} px"
        return f"{self.model}{at}"

    @field_validator("own", mode="before")
    @classmethod
    def _own_known_again(cls, given: Any) -> Any:
        return own_training(given) if callable(given) else given

    @field_validator("model")
    @classmethod
    def _network_known(cls, name: str) -> str:
        return check_network(name)


class TransferSettings(Section):
    """What networks that are not built in start from, and what becomes of it."""

    mode: Annotated[Literal["none", "head", "full", "search"] | None, Flat("transfer")] = None
    """None: full for networks with weights."""
    weights: str = AUTO
    """``auto``: what networks of hubs learned elsewhere, unless the mode is none; ``none``; or a file."""
    input_size: Side | None = None
    """Side to which those networks resize the images; None: the one that their weights were trained at."""
    backbone_lr_scale: float = Field(default=Transfer(mode="full").backbone_lr_scale, gt=0, le=1)
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    """None: by the network's family."""

    @field_validator("weights")
    @classmethod
    def _weights_there(cls, weights: str) -> str:
        return _existing_weights(weights)


class TeacherSettings(Section):
    """Whom candidates distil from."""

    network: Annotated[str, Flat("teacher")] = SELF
    """A network to train, a model file, one in MLflow, ``self`` (the student's own network) or ``none``."""
    weights: Annotated[str, Flat("teacher_weights")] = AUTO
    """``auto``, ``none`` or a file, of a teacher that is not built in."""
    view: Annotated[Literal["same", "clean"], Flat("teacher_view")] = "same"
    """What it looks at: the student's augmented images, or the originals."""

    @field_validator("weights")
    @classmethod
    def _weights_there(cls, weights: str) -> str:
        return _existing_weights(weights)

    @field_validator("network")
    @classmethod
    def _teacher_known(cls, teacher: str) -> str:
        if teacher in ("none", SELF) or teacher.startswith(TRACKED):
            return teacher
        try:
            return check_network(teacher)
        except UserError as error:
            raise ValueError(f"{error}; runs:/RUN_ID/model in MLflow; self; or none") from None
