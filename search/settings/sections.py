"""The sections of the settings; each room gets its own, and no other."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator

from augsearch.policies import (
    OPERATION_SETS,
    OPERATIONS,
    RANDAUGMENT,
    Policy,
    UserError,
    read_policy,
)
from augsearch.policies.training import ClassBalance
from augsearch.search.settings.addresses import SQLITE
from augsearch.search.space.space import BASELINE_POLICIES, PHOTO_POLICIES, TECHNIQUES, SpaceName
from augsearch.trainers.models.names import check_network
from augsearch.trainers.workspace.candidate import MetricName

HOME = Path("mlruns")
"""Where everything is kept unless told otherwise, relative to the working directory."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=8, le=1024)]

SMALL_NETWORK = "medium"
"""The final network of small images, where none is named."""
AUTO = "auto"
"""Weights from where they lie nearest; ``hub``, as it was called once, means the same."""

CANDIDATES = 12
"""Trials beside the baselines by default."""

Sampler = Literal["tpe", "random"]
"""What proposes candidates."""
Pruner = Literal["wilcoxon", "hyperband", "median", "none"]
"""What stops losers."""
PAIRED: Pruner = "wilcoxon"
"""The one by which who is clearly behind the best, fold by fold, stops."""

_REGISTERED = re.compile(r"[^/:@\s][^/:@]*(@[\w-]+)?")

TRACKED = ("runs:/", "models:/")
"""What begins the address of a model in MLflow."""


class Section(BaseModel):
    """Settings that one room takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Flat:
    """The flat name of a field, where it is not the field's own."""

    def __init__(self, name: str) -> None:
        self.name = name


def _unknown_operation(name: str) -> str:
    close = difflib.get_close_matches(name, [*OPERATION_SETS, *OPERATIONS], n=1)
    if close:
        return f"unknown operation {name!r}; did you mean {close[0]!r}? augsearch operations lists all"
    known = f"the sets {', '.join(OPERATION_SETS)} and the operations {', '.join(OPERATIONS)}"
    return f"unknown operation {name!r}; known are {known}"


def _baseline_of(file: str | Path) -> GivenBaseline:
    try:
        return GivenBaseline(name=Path(file).stem, file=str(file), policy=read_policy(file).policy)
    except UserError as error:
        raise ValueError(str(error)) from None


class GivenBaseline(Section):
    """A policy of the user's own to be measured against; it stays whatever becomes of its file."""

    name: str
    """The file's, without its suffix."""
    file: str
    """Where it was read."""
    policy: Policy

    def __str__(self) -> str:
        return self.file

    @field_serializer("policy")
    def _without_null(self, policy: Policy) -> dict[str, Any]:
        """TOML has none."""
        return policy.model_dump(mode="json", exclude_none=True)


class SearchSettings(Section):
    """How the search goes about it."""

    trials: int = Field(default=len(BASELINE_POLICIES) + CANDIDATES, ge=1, le=100_000)
    folds: int = Field(default=6, ge=1, le=100)
    """Folds of a candidate that is not stopped."""
    metric: MetricName = "accuracy"
    """What candidates are compared by."""
    sampler: Sampler = "tpe"
    pruner: Pruner = PAIRED
    operations: tuple[str, ...] = RANDAUGMENT
    """Those that are searched over: names, and names of sets."""
    space: SpaceName = "randaugment"
    """How much of each operation is searched."""
    class_balance: Literal["none", ClassBalance, "search"] = "none"
    """What is done for rare classes."""
    baselines: Annotated[tuple[GivenBaseline, ...], Flat("baseline")] = ()
    """Policies to be measured against beside the usual ones: policy files, or what was read from them."""
    timeout: Positive | None = None
    """Seconds after which no more trials begin; None: no limit."""

    @field_validator("baselines", mode="before")
    @classmethod
    def _baselines_read(cls, given: Any) -> Any:
        """The policies of files that are named by their paths."""
        files = (given,) if isinstance(given, str | Path) else given
        if not isinstance(files, list | tuple):
            return given
        return tuple(_baseline_of(one) if isinstance(one, str | Path) else one for one in files)

    @field_validator("baselines")
    @classmethod
    def _baselines_told_apart(cls, given: tuple[GivenBaseline, ...]) -> tuple[GivenBaseline, ...]:
        names = [*PHOTO_POLICIES]
        for one in given:
            if one.name in names:
                raise ValueError(f"there is a baseline {one.name!r} already; give the file another name")
            names.append(one.name)
        return given

    @field_validator("sampler", mode="before")
    @classmethod
    def _sampler_is_still_there(cls, name: Any) -> Any:
        if name in ("gp", "cmaes"):
            raise ValueError(f"{name} is no longer there, it saw a part of the space only; use tpe or random")
        return name

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


class ConfirmationSettings(Section):
    """How sure a verdict must be."""

    folds: Annotated[int, Flat("confirm_folds")] = Field(default=32, ge=2, le=1000)
    """At most: what is decided stops earlier."""
    finalists: int = Field(default=2, ge=1, le=20)
    """Candidates beside the baselines."""
    margin: Positive | None = None
    """The gain below which a policy is as good as a simpler one, in the metric's unit; None: the usual."""


class UnlabeledSettings(Section):
    """Images without labels, and how to learn from them."""

    folder: Annotated[Path | None, Flat("unlabeled")] = None
    """None: those that the data brings, or a folder unlabeled/ in it."""
    semi: str | None = None
    """The technique; None: search where ``folder`` is given, else none."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """This and the next two are searched where they aren't given."""
    weight: Annotated[float | None, Flat("unlabeled_weight")] = Field(default=None, ge=0, le=100)
    ratio: Annotated[float | None, Flat("unlabeled_ratio")] = Field(default=None, gt=0, le=64)
    class_cap: Positive | None = None
    rounds: int | None = Field(default=None, ge=1, le=100)
    """How often to label anew, or how many students to train at most."""
    first_teacher: str | None = None
    """The network of self-training's first teacher; None: the final model's."""

    @field_validator("semi")
    @classmethod
    def _technique_known(cls, semi: str | None) -> str | None:
        known = ("none", *TECHNIQUES, "search")
        if semi is not None and semi not in known:
            raise ValueError(f"must be one of {', '.join(known)}, got {semi!r}")
        return semi

    @field_validator("first_teacher")
    @classmethod
    def _network_known(cls, name: str | None) -> str | None:
        return None if name is None else check_network(name)

    @property
    def wanted(self) -> bool:
        """Whether the search learns from unlabeled images."""
        return self.semi not in (None, "none") or (self.semi is None and self.folder is not None)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of ``Semi`` that are given, and so not searched."""
        names = ("threshold", "weight", "ratio", "class_cap", "rounds")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class FinalSettings(Section):
    """The training of the model that ships."""

    train: Annotated[bool, Flat("final")] = True
    model: Annotated[str | None, Flat("final_model")] = None
    """None: the proxy's network if it is not built in, else medium."""
    size: Annotated[Side | None, Flat("final_size")] = None
    """Side in pixels of the final training's images; None: the search's, or what its weights want."""
    epochs: Annotated[int | None, Flat("final_epochs")] = Field(default=None, ge=1, le=10_000)
    patience: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=64, ge=2, le=65_536)
    accumulation: int = Field(default=1, ge=1, le=1024)
    learning_rate: Positive | None = None
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    """None: 0.1, or 0 where a threshold decides which unlabeled images to learn from."""
    warm_up: float = Field(default=0.25, gt=0, lt=1)
    ema: float | None = Field(default=None, gt=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    clip: float | None = Field(default=None, ge=0, le=1_000_000)
    """The largest norm of a step's gradients; 0: whatever they are; None: by the network's family."""
    average_flips: bool = False
    """Whether the model averages what it says of an image and of its mirror image."""
    crop_scale: float | None = Field(default=None, gt=0, le=1)
    """The smallest share of a photo that a resized crop keeps, above 64 px; None: as the policy says."""
    processes: int = Field(default=1, ge=1, le=1024)
    refine: bool = False
    """Whether N and M are tuned around the winner on the final network."""
    seeds: Annotated[int | None, Flat("final_seeds")] = Field(default=None, ge=0, le=20)
    """With how many the final network compares the best policies; None: see ``compares_on_final``."""

    @field_validator("seeds")
    @classmethod
    def _seeds_tell_noise(cls, seeds: int | None) -> int | None:
        if seeds == 1:
            raise ValueError("must be 0, for none, or at least 2: one can't tell a lead from noise")
        return seeds

    @field_validator("model")
    @classmethod
    def _network_known(cls, name: str | None) -> str | None:
        return None if name is None else check_network(name)


class EngineSettings(Section):
    """Where folds run."""

    name: Annotated[str, Flat("engine")] = "local"
    """A file of ``search/engines``."""
    address: str | None = None
    """Of a Ray cluster; None: Ray is started on this machine. Of Slurm ``local``: this machine alone."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """None: one for every core; on a GPU as many as ``workers_per_device``."""
    workers_per_device: int | None = Field(default=None, ge=1, le=1024)
    """Of each GPU, or of the CPU where there is none; None: at most four that share a GPU."""
    fold_timeout: Positive = 3600.0
    """Seconds."""
    memory_limit: Positive | None = None
    """GiB that a fold's process may take; None: no limit."""
    device: str = "auto"

    @field_validator("device")
    @classmethod
    def _device_named_rightly(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", device):
            raise ValueError(f"must be auto, cpu, cuda, cuda:NUMBER or mps, got {device!r}")
        return device


USUAL_ENGINE = EngineSettings()


OF_ALL_STUDIES = {
    *("artifacts", "cache", "confirmations", "jobs", "locks", "test-reads", "work"),
    *("mlflow.db", "studies.db"),
}
"""What lies in ``HOME`` beside the folders of studies, which are named after them."""


class TrackingSettings(Section):
    """Where results are kept, and under which name."""

    study: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """None: named after the data and the settings."""
    storage: str = f"{SQLITE}{HOME}/studies.db"
    uri: Annotated[str, Flat("tracking_uri")] = f"{SQLITE}{HOME}/mlflow.db"
    registered: Annotated[str | None, Flat("register")] = None
    """``NAME`` or ``NAME@ALIAS`` of the final model in MLflow's registry; None: it stays with its run."""
    output: Path | None = None
    """Folder of the results; None: one named after the study."""

    @field_validator("study")
    @classmethod
    def _names_a_folder(cls, name: str | None) -> str | None:
        if name is not None and (name in (".", "..") or any(mark in name for mark in "/\\\0")):
            raise ValueError(f"must be a name and no path, got {name!r}; --output says where results go")
        if name is not None and name.casefold() in OF_ALL_STUDIES:
            raise ValueError(f"must be another name: {HOME}/{name} is of all studies")
        return name

    @field_validator("registered")
    @classmethod
    def _name_and_alias(cls, written: str | None) -> str | None:
        if written is not None and not _REGISTERED.fullmatch(written):
            raise ValueError(f"must be NAME or NAME@ALIAS, without / and : in it, got {written!r}")
        return written
