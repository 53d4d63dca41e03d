"""What a policy file says of a training, beside the policy: teacher, transfer, unlabeled images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, NoReturn

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, to_json

from augsearch.policies.policy import Policy

ClassBalance = Literal["loss", "sampling", "logit-adjustment"]
"""How classes of unequal size are evened out: rare ones weigh more in the loss, are drawn as often as others,
or logits are adjusted by the classes' shares."""


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


TECHNIQUES: Final[dict[str, type[Semi]]] = {}
"""The techniques for unlabeled images by name: those that ``augsearch.trainers.semi.techniques`` loaded.

Each is a class below ``Semi``, which enters itself here.
"""

FORMERLY_COMMON: Final[dict[str, Any]] = {
    "threshold": 0.95,
    "labels": "hard",
    "class_cap": None,
    "labeler": "model",
    "rounds": 3,
    "per_class": False,
    "align": True,
    "temperature": 4.0,
    "dropout": 0.1,
    "stochastic_depth": 0.1,
}
"""Fields that documents of old have whatever their technique is, and the values that they had by default.

One model had the fields of all techniques then. A technique that has no such field leaves it out.
"""


class Semi(BaseModel, ABC):
    """Learning from images without labels, beside those that have one: L = L_labeled + weight · L_unlabeled.

    The settings that all techniques have. Each technique is a class below this one with settings of its own;
    ``Semi.model_validate({"technique": "fixmatch", …})`` gives one of the class that ``technique`` names.

    Where no technique is loaded, because nothing was imported that trains, the settings of any technique are
    kept as they are written (``UnloadedTechnique``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    technique: str
    """The name of the technique; a class that gives it a default is that technique."""
    weight: float = Field(default=1.0, ge=0, le=100, allow_inf_nan=False)
    """λ: the weight of the unlabeled images' loss against the labeled ones'."""
    ratio: float = Field(default=2.0, gt=0, le=64, allow_inf_nan=False)
    """μ: unlabeled images to a labeled one in a batch; fewer where so many would come up more often in an
    epoch than the labeled ones do."""
    policy: Policy | None = None
    """What happens to unlabeled images; None: the same as to labeled ones."""

    smooths_labels: ClassVar[bool] = False
    """Whether labels are smoothed where nothing else is said: not where a threshold decides which unlabeled
    images are learned from, because no model would become so sure."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Enter a technique into ``TECHNIQUES``.

        Raises:
            TypeError: another class has the same name there.
        """
        super().__pydantic_init_subclass__(**kwargs)
        name = cls.model_fields["technique"].default
        if not isinstance(name, str):
            return  # a class that several techniques have in common
        other = TECHNIQUES.setdefault(name, cls)
        if other.__module__ != cls.__module__:
            raise TypeError(f"{cls.__module__} and {other.__module__} both declare the technique {name!r}")
        TECHNIQUES[name] = cls

    @property
    @abstractmethod
    def asks_teacher(self) -> bool:
        """Whether it needs a teacher."""

    def hashed(self) -> dict[str, Any]:
        """The settings for hashes: with all fields of old, so that what was begun then is known again."""
        own = self.model_dump(mode="json")
        if not own.keys() - {"technique", "weight", "ratio", "policy"} <= FORMERLY_COMMON.keys():
            return own
        document = {"technique": self.technique, "threshold": None, "weight": 0, "ratio": 0, "policy": None}
        return document | FORMERLY_COMMON | own

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_technique(cls, value: Any, validate: ModelWrapValidatorHandler[Semi]) -> Semi:
        if cls is Semi:
            return _of_its_technique(value)
        if isinstance(value, Mapping) and cls in TECHNIQUES.values():
            foreign = FORMERLY_COMMON.keys() - cls.model_fields.keys()
            value = {name: entry for name, entry in value.items() if name not in foreign}
        return validate(value)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The union of the loaded techniques, told apart by ``technique``."""
        if cls is not Semi or not TECHNIQUES:
            return handler(core_schema)
        return {
            "description": (Semi.__doc__ or "").partition("\n")[0],
            "discriminator": {"propertyName": "technique"},
            "oneOf": [
                handler(TECHNIQUES[name].__pydantic_core_schema__) | {"required": ["technique"]}
                for name in sorted(TECHNIQUES)
            ],
        }


class UnloadedTechnique(Semi):
    """The settings of a technique that is not loaded, as they are written; only the common ones are checked.

    ``Semi.model_validate`` makes them the technique's own once it is loaded.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def asks_teacher(self) -> NoReturn:
        """Nobody knows.

        Raises:
            TypeError: always.
        """
        home = "augsearch.trainers.semi.techniques"
        raise TypeError(f"the technique {self.technique!r} is not loaded; import {home} first")


def _of_its_technique(value: Any) -> Semi:
    """Settings of the class that their ``technique`` names."""
    if isinstance(value, Semi) and not isinstance(value, UnloadedTechnique):
        return value
    document = value.model_dump() if isinstance(value, Semi) else value
    if not isinstance(document, Mapping):
        raise ValueError(f"must be an object that names a technique, got {document!r}")
    name = document.get("technique")
    if not isinstance(name, str) or not TECHNIQUES:
        return UnloadedTechnique.model_validate(document)
    if name not in TECHNIQUES:
        raise ValueError(f"unknown technique {name!r}; known are {', '.join(sorted(TECHNIQUES))}")
    return TECHNIQUES[name].model_validate(document)


class Training(BaseModel):
    """What the final training takes over from the search, beside the policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distillation: Distillation | None = None
    transfer: Transfer | None = None
    semi: SerializeAsAny[Semi] | None = None
    class_balance: ClassBalance | None = Field(default=None, exclude_if=lambda value: value is None)
    """How rare classes are made up for; left out of the file where nothing is done, as files of old are."""

    @property
    def asks_teacher(self) -> bool:
        """Whether there must be a teacher."""
        return self.distillation is not None or (self.semi is not None and self.semi.asks_teacher)

    def hashed(self) -> str:
        """All of it as JSON for hashes; see ``Semi.hashed``."""
        semi = None if self.semi is None else self.semi.hashed()
        return to_json(self.model_dump(mode="json") | {"semi": semi}).decode()
