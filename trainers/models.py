"""A name → a network; saving and loading what was trained.

The built-in networks are one small family for short trainings on a CPU. Every network takes uint8 images
(B, C, H, W) as they are and normalises them itself, so a saved model needs no recipe beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from augsearch.policies import UserError
from augsearch.policies.errors import explain, first_line
from augsearch.trainers.networks import WIDTHS, check_network


class ModelSpec(BaseModel):
    """All that is needed to build a network again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    channels: int = Field(ge=1, le=4)
    image_size: int = Field(ge=1, le=8192)
    classes: tuple[str, ...] = Field(min_length=1)
    mean: tuple[float, ...]
    """Per channel, in grey levels."""
    std: tuple[float, ...]


class Normalise(nn.Module):
    """uint8 grey levels (B, C, H, W) to float32 with mean 0 and deviation 1 per channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise ``images``."""
        return (images.float() - cast(Tensor, self.mean)) / cast(Tensor, self.std)


class Residual(nn.Module):
    """x + ReLU(BN(conv(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return x + cast(Tensor, self.body(x))


def _stem(channels: int, width: int, side: int) -> list[nn.Module]:
    if side < 20:
        return _convolution(channels, width)
    layers, side = _convolution(channels, width, kernel=4, stride=2), side // 2
    while side > 20:
        layers.append(nn.MaxPool2d(2))
        side //= 2
    return layers


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def build_model(spec: ModelSpec, seed: int) -> nn.Module:
    """A network with fresh weights; the same seed gives the same weights.

    The stem halves any image until its side is at most 20, so a larger one costs little more after it.

    Raises:
        UserError: there is no such network.
    """
    width = WIDTHS[check_network(spec.name)]
    with torch.random.fork_rng(devices=[]):  # initialisers take no generator
        torch.default_generator.manual_seed(seed)
        network = nn.Sequential(
            Normalise(spec.mean, spec.std),
            *_stem(spec.channels, width, spec.image_size),
            *_convolution(width, 2 * width),
            nn.MaxPool2d(2, ceil_mode=True),
            *_convolution(2 * width, 4 * width),
            nn.MaxPool2d(2, ceil_mode=True),
            Residual(4 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, len(spec.classes)),
        )
    return network.to(memory_format=torch.channels_last)


def channel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel of ``images``, uint8 (N, H, W, C), in grey levels."""
    pixels = images.reshape(-1, images.shape[-1])
    mean = pixels.mean(axis=0, dtype=np.float64)
    std = pixels.std(axis=0, dtype=np.float64)
    return tuple(mean.round(4).tolist()), tuple(np.maximum(std, 1.0).round(4).tolist())


def save_model(model: nn.Module, spec: ModelSpec, path: Path, card: dict[str, JsonValue]) -> None:
    """Write the weights to ``path`` (``.safetensors``) and a card beside it (``.json``).

    The card holds the spec under ``model`` and, beside it, whatever ``card`` says of the training.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    temporary = path.with_name(f".{path.name}.part")
    save_file(state, temporary)
    temporary.replace(path)
    _write_card(path, {**card, "model": spec.model_dump(mode="json")})


def add_to_card(path: Path, more: dict[str, JsonValue]) -> None:
    """Write ``more`` on the card of the model at ``path``."""
    _write_card(path, {**_card(path.with_suffix(".json")), **more})


def _write_card(path: Path, document: dict[str, Any]) -> None:
    card = path.with_suffix(".json")
    temporary = card.with_name(f".{card.name}.part")
    temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    temporary.replace(card)


def load_model(path: Path) -> tuple[nn.Module, ModelSpec]:
    """Read a model that ``save_model`` wrote; no code in the file is run.

    Raises:
        UserError: a file is missing or does not fit.
    """
    card = path.with_suffix(".json")
    for file in (path, card):
        if not file.is_file():
            raise UserError(
                f"{file}: no such file; a model is a .safetensors file with its .json card beside it"
            )
    try:
        spec = ModelSpec.model_validate(_card(card).get("model"))
        model = build_model(spec, seed=0)
        model.load_state_dict(load_file(path))
    except ValidationError as error:
        raise UserError(f"{card}: no model card ({explain(error)})") from None
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a model that augsearch saved ({first_line(error)})") from None
    return model.eval(), spec


def _card(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    return document if isinstance(document, dict) else {}
