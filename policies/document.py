"""The policy file: one JSON document that says how to augment, how to distil, and why to believe it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from augsearch.policies.atomic import write_text
from augsearch.policies.errors import UserError, explain
from augsearch.policies.json_files import LARGEST_FILE, refuse_constant
from augsearch.policies.policy import Policy
from augsearch.policies.training import Training

FORMAT: Final = "augsearch-policy"
VERSION: Final = 1


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
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
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
    write_text(Path(path), file.model_dump_json(indent=2) + "\n")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, as published in ``docs/policy.schema.json``."""
    return PolicyFile.model_json_schema()
