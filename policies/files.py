"""The policy file: one JSON document that says how to augment, how to distil, and why to believe it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from augsearch.policies.errors import UserError, explain
from augsearch.policies.policy import Policy

FORMAT: Final = "augsearch-policy"
VERSION: Final = 1
LARGEST_FILE = 16 * 2**20
"""Bytes; a policy file with all its evidence has some kilobytes."""


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


class Training(BaseModel):
    """What the final training takes over from the search, beside the policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distillation: Distillation | None = None
    transfer: Transfer | None = None


class PolicyFile(BaseModel):
    """The whole document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["augsearch-policy"] = FORMAT
    version: Literal[1] = VERSION
    policy: Policy
    training: Training = Training()
    provenance: dict[str, JsonValue] = {}
    """Where it comes from: study, run, data fingerprint, seeds, versions."""
    evidence: dict[str, JsonValue] = {}
    """Every figure behind the verdict."""


def read_policy(path: str | os.PathLike[str]) -> PolicyFile:
    """Read and check a policy file; reading one from a stranger is safe.

    Raises:
        UserError: there is no such file, or it is no valid policy file; the message names the field.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{path}: larger than {LARGEST_FILE >> 20} MiB, so no policy file")
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}; give a policy file") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not valid JSON ({error})") from None
    return parse_policy(document, where=str(path))


def parse_policy(document: Any, where: str) -> PolicyFile:
    """Check an already parsed document; ``where`` begins every message."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f'{where}: not a policy file (it has no "format": "{FORMAT}")')
    version = document.get("version")
    if version != VERSION or isinstance(version, bool):
        raise UserError(
            f"{where}: format version {version!r}; this augsearch reads version {VERSION}, "
            "so upgrade augsearch or export the policy again"
        )
    try:
        return PolicyFile.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error)}") from None


def write_policy(file: PolicyFile, path: str | os.PathLike[str]) -> None:
    """Write ``file`` as JSON, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(file.model_dump_json(indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, as published in ``docs/policy.schema.json``."""
    return PolicyFile.model_json_schema()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
