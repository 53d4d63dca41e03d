"""One frozen object from defaults, a TOML file and flags, checked once."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from augsearch.policies import OPERATION_SETS, OPERATIONS, RANDAUGMENT, Transfer, UserError
from augsearch.policies.errors import explain
from augsearch.search.space.space import BASELINES, TECHNIQUES, SemiSpace, Space
from augsearch.trainers.evaluation.metrics import Metric
from augsearch.trainers.models.names import check_network, is_built_in, is_model_file
from augsearch.trainers.workspace.candidate import SELF

HOME = Path("mlruns")
"""Where everything is kept unless told otherwise, relative to the working directory."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=8, le=1024)]

Sampler = Literal["tpe", "gp", "cmaes", "random"]
"""What proposes candidates."""
Pruner = Literal["wilcoxon", "hyperband", "median", "none"]
"""What stops losers."""

TRACKED = ("runs:/", "models:/")
"""What begins the address of a model in MLflow."""


class Settings(BaseModel):
    """Everything that ``augsearch run`` can be told. A flag, a TOML key and a field have the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    data: str | None = None
    """A folder, an .npz file, ``torchvision:NAME``; None: the embedded Fashion-MNIST subset."""
    validation: Path | None = None
    """Labeled images from where the model will be used, to optimise for; None: some of the data's own."""
    trials: int = Field(default=16, ge=len(BASELINES), le=100_000)
    folds: int = Field(default=6, ge=1, le=100)
    confirm_folds: int = Field(default=32, ge=2, le=1000)
    """At most: what is decided stops earlier."""
    finalists: int = Field(default=2, ge=1, le=20)
    metric: Metric = "accuracy"
    """What candidates are compared by."""
    margin: Positive | None = None
    """The gain below which a policy is as good as a simpler one, in the metric's unit; None: the usual."""
    sampler: Sampler = "tpe"
    pruner: Pruner = "wilcoxon"
    timeout: Positive | None = None
    fold_timeout: Positive = 3600.0
    workers: int | None = Field(default=None, ge=1, le=1024)
    study: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    storage: str = f"sqlite:///{HOME}/studies.db"
    tracking_uri: str = f"sqlite:///{HOME}/mlflow.db"
    output: Path | None = None
    seed: int = Field(default=0, ge=0, le=2**31)
    image_size: Side | None = None
    limit: int | None = Field(default=None, ge=2)
    skip_bad_images: bool = False
    operations: tuple[str, ...] = RANDAUGMENT
    proxy_model: str = "small"
    weights: str | None = None
    """``hub``, ``none`` or a file, of networks that are not built in; None: hub if there is a transfer."""
    input_size: Side | None = None
    """Side to which those networks resize the images; None: the one that their weights were trained at."""
    transfer: Literal["none", "head", "full", "search"] | None = None
    """None: full for networks with weights."""
    backbone_lr_scale: float = Field(default=Transfer(mode="full").backbone_lr_scale, gt=0, le=1)
    layer_decay: float = Field(default=Transfer(mode="full").layer_decay, gt=0, le=1)
    epochs: int | None = Field(default=None, ge=1, le=10_000)
    fold_size: int | None = Field(default=None, ge=2)
    teacher: str = SELF
    teacher_weights: str = "hub"
    """``hub``, ``none`` or a file, of a teacher that is not built in."""
    teacher_view: Literal["same", "clean"] = "same"
    unlabeled: Path | None = None
    """A folder of images without labels; None: those that the data brings, or a folder unlabeled/ in it."""
    semi: str | None = None
    """How to learn from them; None: search where ``unlabeled`` is given, else none."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """This and the next two are searched where they aren't given."""
    unlabeled_weight: Annotated[float, Field(ge=0, le=100)] | None = None
    unlabeled_ratio: Annotated[float, Field(gt=0, le=64)] | None = None
    class_cap: Positive | None = None
    rounds: int | None = Field(default=None, ge=1, le=100)
    """Of labeling anew, or of students."""
    first_teacher: str | None = None
    """The network of self-training's first teacher; None: the final model's."""
    final: bool = True
    final_model: str | None = None
    """None: the proxy's network if it is not built in, else medium."""
    final_size: Side | None = None
    """Side in pixels of the final training's images; None: the search's, or what its weights want."""
    final_epochs: int | None = Field(default=None, ge=1, le=10_000)
    patience: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=64, ge=2, le=65_536)
    accumulation: int = Field(default=1, ge=1, le=1024)
    learning_rate: Positive | None = None
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    """None: 0.1, or 0 where a threshold decides which unlabeled images to learn from."""
    warm_up: float = Field(default=0.25, gt=0, lt=1)
    ema: float | None = Field(default=None, gt=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    crop_scale: float = Field(default=0.35, gt=0, le=1)
    """The smallest share of an image that a random crop of the final training keeps, above 64 px."""
    processes: int = Field(default=1, ge=1, le=1024)
    device: str = "auto"

    @field_validator("operations", mode="before")
    @classmethod
    def _operations_separated(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(name for part in value.split(",") if (name := part.strip()))

    @field_validator("operations")
    @classmethod
    def _operations_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        chosen: set[str] = set()
        for name in names:
            if name not in OPERATIONS and name not in OPERATION_SETS:
                raise ValueError(_unknown_operation(name))
            chosen.update(OPERATION_SETS.get(name, (name,)))
        if not chosen:
            raise ValueError("must name at least one operation or set of operations")
        # In the registry's order: the same operations are the same search, however they were named.
        return tuple(name for name in OPERATIONS if name in chosen)

    @field_validator("proxy_model", "final_model", "first_teacher")
    @classmethod
    def _networks_known(cls, name: str | None) -> str | None:
        return None if name is None else check_network(name)

    @field_validator("weights", "teacher_weights")
    @classmethod
    def _weights_there(cls, weights: str | None) -> str | None:
        if weights is not None and weights not in ("hub", "none") and not Path(weights).is_file():
            raise ValueError(f"must be hub, none or a file, and there is no file {weights}")
        return weights

    @field_validator("device")
    @classmethod
    def _device_named_rightly(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
            raise ValueError(f"must be auto, cpu, cuda or cuda:NUMBER, got {device!r}")
        return device

    @field_validator("teacher")
    @classmethod
    def _teacher_known(cls, teacher: str) -> str:
        if teacher in ("none", SELF) or teacher.startswith(TRACKED):
            return teacher
        try:
            return check_network(teacher)
        except UserError as error:
            raise ValueError(f"{error}; runs:/RUN_ID/model in MLflow; self; or none") from None

    @field_validator("semi")
    @classmethod
    def _technique_known(cls, semi: str | None) -> str | None:
        known = ("none", *TECHNIQUES, "search")
        if semi is not None and semi not in known:
            raise ValueError(f"must be one of {', '.join(known)}, got {semi!r}")
        return semi

    @model_validator(mode="after")
    def _transfer_has_weights(self) -> Settings:
        weighted = {self.weights_of(name) != "none" for name in (self.proxy_model, self.network)}
        if self.transfer in ("head", "full") and weighted == {False}:
            raise ValueError(
                f"transfer {self.transfer} needs a network with weights; name one with --final-model or "
                "--proxy-model (torchvision:NAME, timm:NAME or a .safetensors file)"
            )
        if self.transfer == "search" and self.weights_of(self.proxy_model) == "none":
            raise ValueError(
                "transfer search needs weights for the search's network; name one with --proxy-model "
                "(torchvision:NAME, timm:NAME or a .safetensors file)"
            )
        return self

    @model_validator(mode="after")
    def _baselines_fit(self) -> Settings:
        needed = len(self.space.baselines)
        if self.trials < needed:
            raise ValueError(f"trials must be at least {needed}, the baselines, got {self.trials}")
        return self

    @model_validator(mode="after")
    def _teacher_for_unlabeled(self) -> Settings:
        if self.semi in TECHNIQUES and self._asks_teacher(self.semi) and not self.with_teacher:
            raise ValueError(f"semi {self.semi} needs a teacher; leave --teacher none out")
        return self

    @property
    def with_unlabeled(self) -> bool:
        """Whether the search learns from unlabeled images."""
        return self.semi not in (None, "none") or (self.semi is None and self.unlabeled is not None)

    @property
    def semi_fields(self) -> dict[str, Any]:
        """What the settings say of how to learn from unlabeled images, by the fields of ``Semi``."""
        said = {
            "threshold": self.threshold,
            "weight": self.unlabeled_weight,
            "ratio": self.unlabeled_ratio,
            "class_cap": self.class_cap,
            "rounds": self.rounds,
        }
        return {name: value for name, value in said.items() if value is not None}

    def _asks_teacher(self, technique: str) -> bool:
        return SemiSpace((technique,), searched=False).usual(technique).asks_teacher

    @property
    def with_teacher(self) -> bool:
        """Whether distillation is searched."""
        return self.teacher != "none"

    @property
    def network(self) -> str:
        """The final model's network."""
        if self.final_model is not None:
            return self.final_model
        return "medium" if is_built_in(self.proxy_model) else self.proxy_model

    def weights_of(self, network: str) -> str:
        """What ``network`` starts from: ``none``, ``hub`` or a file."""
        if is_model_file(network):
            return network
        if is_built_in(network):
            return "none"
        if self.weights is not None:
            return self.weights
        return "none" if self.transfer in (None, "none") else "hub"

    def transfer_of(self, network: str) -> Transfer | None:
        """How ``network``'s weights are used, where that is not searched; None: there are none."""
        if self.weights_of(network) == "none" or self.transfer == "none":
            return None
        return Transfer(
            mode="head" if self.transfer == "head" else "full",
            backbone_lr_scale=self.backbone_lr_scale,
            layer_decay=self.layer_decay,
        )

    @property
    def space(self) -> Space:
        """What the search may choose from."""
        return Space(
            operations=self.operations,
            teacher_view=self.teacher_view if self.with_teacher else None,
            transfer="search" if self.transfer == "search" else self.transfer_of(self.proxy_model),
            semi=self._semi_space if self.with_unlabeled else None,
        )

    @property
    def _semi_space(self) -> SemiSpace:
        fixed = tuple(self.semi_fields.items())
        if self.semi is not None and self.semi in TECHNIQUES:
            return SemiSpace((self.semi,), searched=False, fixed=fixed)
        known = [name for name in TECHNIQUES if self.with_teacher or not self._asks_teacher(name)]
        return SemiSpace(tuple(known), searched=True, fixed=fixed)


def _unknown_operation(name: str) -> str:
    close = difflib.get_close_matches(name, [*OPERATION_SETS, *OPERATIONS], n=1)
    if close:
        return f"unknown operation {name!r}; did you mean {close[0]!r}? augsearch operations lists all"
    known = f"the sets {', '.join(OPERATION_SETS)} and the operations {', '.join(OPERATIONS)}"
    return f"unknown operation {name!r}; known are {known}"


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_settings(config: Path | None, flags: dict[str, Any]) -> Settings:
    """Defaults, then the TOML file, then ``flags``; None among the flags is no word.

    Raises:
        UserError: the file can't be read, or a field is unknown or breaks its rule.
    """
    fields: dict[str, Any] = {}
    if config is not None:
        try:
            fields = tomllib.loads(config.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{config}: {(error.strerror or str(error)).lower()}; give a TOML file") from None
        except ValueError as error:
            raise UserError(f"{config}: not valid TOML ({error})") from None
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        Settings.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"{config}: {explain(error)}") from None
    try:
        return Settings.model_validate({**fields, **given})
    except ValidationError as error:
        raise UserError(explain(error, separator="-")) from None


def show_settings(settings: Settings) -> str:
    """The settings as TOML, fit to be a ``--config`` file; fields that say nothing stand as comments."""
    import tomli_w

    values = settings.model_dump(mode="json")
    said = {name: value for name, value in values.items() if value is not None}
    silent = "".join(f"# {name} = (automatic)\n" for name, value in values.items() if value is None)
    return tomli_w.dumps(said) + silent
