"""The policy file: one JSON document that says how to augment, how to distil, and why to believe it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, field_serializer, model_validator

from augsearch.policies.atomic import write_text
from augsearch.policies.errors import UserError, explain
from augsearch.policies.json_files import POLICY_FILE, read_json
from augsearch.policies.policy import Policy
from augsearch.policies.ready import is_ready_name
from augsearch.policies.training import Training


class PolicyFile(BaseModel):
    """The whole document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["augsearch-policy"] = "augsearch-policy"
    version: Literal[1, 2, 3, 4] = 1
    """The lowest that can say it, so that plain policies are read by earlier versions of augsearch too."""
    policy: Policy
    training: Training = Training()
    provenance: dict[str, JsonValue] = {}
    """Where it comes from: study, run, data fingerprint, seeds, versions."""
    evidence: dict[str, JsonValue] = {}
    """Every figure behind the verdict."""

    @model_validator(mode="after")
    def _lowest_version(self) -> PolicyFile:
        object.__setattr__(self, "version", self._needed_version())
        return self

    @field_serializer("version")
    def _written_version(self, _: int) -> int:
        return self._needed_version()  # a copy may have another policy

    def _needed_version(self) -> int:
        own = self.training.semi.policy if self.training.semi else None
        return max(self.policy.format_version, own.format_version if own else 1)


def read_policy(path: str | os.PathLike[str]) -> PolicyFile:
    """Read and check a policy file; reading one from a stranger is safe.

    A ready policy's name in place of a path, ``flip-crop+trivialaugment``, gives the file that would hold it.

    Raises:
        UserError: there is no such file, or it is no valid policy file; the message names the field.
    """
    if is_ready_name(Path(path)):
        return PolicyFile(policy=Policy.named(str(path)), provenance={"ready_policy": str(path)})
    return parse_policy(read_json(Path(path), POLICY_FILE.what), where=str(path))


def parse_policy(document: Any, where: str) -> PolicyFile:
    """Check an already parsed document; ``where`` begins every message.

    Raises:
        UserError: it is no valid policy file; the message names the field.
    """
    try:
        return PolicyFile.model_validate(POLICY_FILE.checked(document, where))
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error)}") from None


def write_policy(file: PolicyFile, path: str | os.PathLike[str]) -> None:
    """Write ``file`` as JSON, whole or not at all."""
    write_text(Path(path), file.model_dump_json(indent=2) + "\n")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, as published in ``docs/policy.schema.json``."""
    return PolicyFile.model_json_schema()
