"""One frozen object from defaults, a TOML file and flags, checked once."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from augsearch.policies import OPERATION_SETS, OPERATIONS, RANDAUGMENT, UserError
from augsearch.policies.errors import explain
from augsearch.search.space import BASELINES
from augsearch.trainers.networks import WIDTHS, check_network

HOME = Path("mlruns")
"""Where everything is kept unless told otherwise, relative to the working directory."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Everything that ``augsearch run`` can be told. A flag, a TOML key and a field have the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    data: str | None = None
    """A folder, an .npz file, ``torchvision:NAME``; None: the embedded Fashion-MNIST subset."""
    trials: int = Field(default=16, ge=len(BASELINES), le=100_000)
    folds: int = Field(default=4, ge=1, le=100)
    confirm_folds: int = Field(default=4, ge=2, le=100)
    finalists: int = Field(default=2, ge=1, le=20)
    timeout: Positive | None = None
    fold_timeout: Positive = 3600.0
    workers: int | None = Field(default=None, ge=1, le=1024)
    study: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    storage: str = f"sqlite:///{HOME}/studies.db"
    tracking_uri: str = f"sqlite:///{HOME}/mlflow.db"
    output: Path | None = None
    seed: int = Field(default=0, ge=0, le=2**31)
    image_size: int | None = Field(default=None, ge=8, le=1024)
    limit: int | None = Field(default=None, ge=2)
    skip_bad_images: bool = False
    operations: tuple[str, ...] = RANDAUGMENT
    proxy_model: str = "small"
    epochs: int | None = Field(default=None, ge=1, le=10_000)
    fold_size: int | None = Field(default=None, ge=2)
    teacher: str = "medium"
    final: bool = True
    final_model: str = "medium"
    final_epochs: int | None = Field(default=None, ge=1, le=10_000)
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

    @field_validator("proxy_model", "final_model")
    @classmethod
    def _networks_known(cls, name: str) -> str:
        return check_network(name)

    @field_validator("device")
    @classmethod
    def _device_named_rightly(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
            raise ValueError(f"must be auto, cpu, cuda or cuda:NUMBER, got {device!r}")
        return device

    @field_validator("teacher")
    @classmethod
    def _teacher_known(cls, teacher: str) -> str:
        if teacher != "none" and teacher not in WIDTHS and not teacher.endswith(".safetensors"):
            raise ValueError(f"must be {', '.join(WIDTHS)}, a .safetensors file or none, got {teacher!r}")
        return teacher

    @property
    def with_teacher(self) -> bool:
        """Whether distillation is searched."""
        return self.teacher != "none"


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
