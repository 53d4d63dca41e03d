"""What a network is: all that it takes to build it again, and the card beside its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from augsearch.policies import UserError
from augsearch.policies.atomic import write_text
from augsearch.policies.bands import MOST_BANDS
from augsearch.policies.errors import check_readable, explain, first_line
from augsearch.policies.json_files import parse_json
from augsearch.trainers.models.names import hub_of, is_model_file


class ModelSpec(BaseModel):
    """All that is needed to build a network again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    channels: int = Field(ge=1, le=MOST_BANDS)
    image_size: int = Field(ge=1, le=8192)
    """Side in pixels of the images it is trained on."""
    classes: tuple[str, ...] = Field(min_length=1)
    mean: tuple[float, ...]
    """Per channel, in grey levels."""
    std: tuple[float, ...]
    input_size: int | None = Field(default=None, ge=1, le=8192)
    """Side to which the network resizes them; None: ``image_size``."""
    stem_halvings: int = Field(default=0, ge=0, le=2)
    """Strides of 2 that were taken out of the stem of a network made for larger images."""
    reading: dict[str, JsonValue] | None = Field(default=None, exclude_if=lambda value: value is None)
    """How its images were read where that is not as usual: fields of ``data.form.Reading``."""
    average_flips: bool = Field(default=False, exclude_if=lambda value: value is False)
    """Whether it says the mean of its logits for an image and its mirror image, outside of training."""

    @property
    def metadata(self) -> dict[str, str]:
        """What an exported file says of itself: each field as text, lists and numbers as JSON."""
        fields = self.model_dump(mode="json")
        return {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in fields.items()
        }

    @property
    def side(self) -> int:
        """Side in pixels at which the network works."""
        return self.input_size or self.image_size


def card_of(path: Path) -> dict[str, Any]:
    """All that the card of the model at ``path`` says."""
    return _card(path.with_suffix(".json"))


def add_to_card(path: Path, more: dict[str, JsonValue]) -> None:
    """Write ``more`` on the card of the model at ``path``."""
    write_card(path, {**card_of(path), **more})


def write_card(path: Path, document: dict[str, Any]) -> None:
    """Write the card beside the weights at ``path``, whole or not at all."""
    write_text(path.with_suffix(".json"), json.dumps(document, indent=2) + "\n")


def read_card(path: Path) -> ModelSpec:
    """What the card beside the model at ``path`` says of its network.

    Raises:
        UserError: the model or its card is missing, may not be read, or is none.
    """
    card = path.with_suffix(".json")
    for file in (path, card):
        if not file.is_file():
            raise UserError(
                f"{file}: no such file; a model is a .safetensors file with its .json card beside it"
            )
        check_readable(file)
    try:
        return ModelSpec.model_validate(_card(card).get("model"))
    except ValidationError as error:
        raise UserError(f"{card}: no model card ({explain(error)})") from None
    except ValueError as error:
        raise UserError(f"{card}: no model card ({first_line(error)})") from None


def family_of(network: str) -> str:
    """The name of ``network``, or of the one that a model file holds; empty where its card can't be read."""
    if not is_model_file(network):
        parts = hub_of(network)
        return network if parts is None else parts[1]
    try:
        return read_card(Path(network)).name
    except UserError:
        return ""


def _card(path: Path) -> dict[str, Any]:
    document = parse_json(path.read_text(encoding="utf-8"))
    return document if isinstance(document, dict) else {}
