"""A name → a network; saving and loading what was trained.

Every network takes uint8 images (B, C, H, W) of any size and resizes and normalises them itself, so a saved
model needs no recipe beside it, and a teacher and its student may differ in size.
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
from torch.nn import functional as F

from augsearch.policies import UserError
from augsearch.policies.errors import explain, first_line
from augsearch.trainers import built_in
from augsearch.trainers.networks import check_network, hub_of, is_built_in, is_model_file
from augsearch.trainers.weights import Loaded, load_weights, read_weights


class ModelSpec(BaseModel):
    """All that is needed to build a network again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    channels: int = Field(ge=1, le=4)
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

    @property
    def side(self) -> int:
        """Side in pixels at which the network works."""
        return self.input_size or self.image_size


class Normalise(nn.Module):
    """uint8 images of any size, grey or RGB, to what a network takes: resized, float32, normalised."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], side: int) -> None:
        super().__init__()
        self.side, self.channels = side, len(mean)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """float32 (B, C, side, side) with mean 0 and deviation 1, of uint8 ``images`` (B, 1 or 3, H, W)."""
        floating = images.float()
        if images.shape[-2:] != (self.side, self.side):
            shrinks = max(images.shape[-2:]) > self.side
            size = (self.side, self.side)
            floating = F.interpolate(floating, size, mode="bilinear", align_corners=False, antialias=shrinks)
        if self.channels == 1 and images.shape[1] == 3:
            red, green, blue = floating.unbind(1)
            grey = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601, as Pillow's convert("L")
            floating = grey.unsqueeze(1)
        # A grey image meets three means and deviations, and becomes three channels.
        return (floating - cast(Tensor, self.mean)) / cast(Tensor, self.std)


class Adapted(nn.Module):
    """A hub's network behind what makes images fit for it."""

    def __init__(self, network: nn.Module, normalise: Normalise) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of uint8 ``images`` (B, 1 or 3, H, W)."""
        normalised = cast(Tensor, self.normalise(images))
        return cast(Tensor, self.network(normalised.contiguous(memory_format=torch.channels_last)))


def plain(model: nn.Module) -> nn.Module:
    """The network as its hub knows it, without what adapts it to images; a built-in one as it is."""
    return model.network if isinstance(model, Adapted) else model


def design(
    name: str,
    *,
    channels: int,
    image_size: int,
    classes: tuple[str, ...],
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    weights: str = "none",
    input_size: int | None = None,
) -> ModelSpec:
    """What a network must be for images of ``channels`` × ``image_size`` × ``image_size``.

    With weights, normalisation and size follow what they were trained on: smaller images are enlarged to it.
    Without, ``statistics`` (mean and deviation per channel) normalise, and a network made for larger images
    loses strides in its stem. ``input_size`` overrules the size.

    Raises:
        UserError: there is no such network.
    """
    check_network(name)
    if is_model_file(name):
        known = read_card(Path(name))
        wanted = {"classes": classes, "image_size": image_size, "input_size": input_size or known.side}
        return known.model_copy(update=wanted)
    mean, std = statistics
    if is_built_in(name):
        return ModelSpec(
            name=name,
            channels=channels,
            image_size=image_size,
            classes=classes,
            mean=mean,
            std=std,
            input_size=input_size,
        )
    from augsearch.trainers.hubs import halvings_to_take_out, native

    known_as = native(name)
    halvings = 0
    if weights != "none":
        mean, std = known_as.mean, known_as.std
    elif input_size is None and not known_as.fixed_side:
        halvings = halvings_to_take_out(name, image_size)
    if input_size is None and (known_as.fixed_side or (weights != "none" and image_size < known_as.side)):
        input_size = known_as.side
    return ModelSpec(
        name=name,
        channels=3,
        image_size=image_size,
        classes=classes,
        mean=mean * (3 // len(mean)),
        std=std * (3 // len(std)),
        input_size=input_size,
        stem_halvings=halvings,
    )


def native_side(name: str) -> int:
    """The side in pixels at which the weights of ``name``, a hub's network or a model file, were trained.

    Raises:
        UserError: there is no such network.
    """
    if is_model_file(name):
        return read_card(Path(name)).side
    from augsearch.trainers.hubs import native

    return native(name).side


def build_model(spec: ModelSpec, seed: int) -> nn.Module:
    """A network with fresh weights; the same seed gives the same weights.

    Raises:
        UserError: there is no such network, or it can't take these images.
    """
    check_network(spec.name, files=False)
    with torch.random.fork_rng(devices=[]):  # initialisers take no generator
        torch.default_generator.manual_seed(seed)
        network = _built_in(spec) if is_built_in(spec.name) else _adapted(spec)
    return network.to(memory_format=torch.channels_last)


def _built_in(spec: ModelSpec) -> nn.Module:
    layers = built_in.layers(spec.name, spec.channels, spec.side, len(spec.classes))
    return nn.Sequential(Normalise(spec.mean, spec.std, spec.side), *layers)


def _adapted(spec: ModelSpec) -> nn.Module:
    from augsearch.trainers.hubs import plain_network, takes

    network = plain_network(spec.name, len(spec.classes), spec.stem_halvings)
    if not takes(network, spec.side):
        raise UserError(f"model {spec.name} takes no images of {spec.side} pixels; give another --input-size")
    return Adapted(network, Normalise(spec.mean, spec.std, spec.side))


def prepared(spec: ModelSpec, weights: str, seed: int) -> tuple[nn.Module, Loaded | None]:
    """The network of ``spec`` with its weights, and what was loaded.

    ``weights`` is ``none``, ``hub`` or a file; the last layer is fresh, drawn from ``seed``, but for a model
    that augsearch trained on the same classes.

    Raises:
        UserError: the weights can't be had, or are for another network.
    """
    model = build_model(spec, seed)
    if weights == "none":
        return model, None
    if weights == "hub":
        if hub_of(spec.name) is None:
            raise UserError(f"model {spec.name} comes from no hub, so no hub has its weights; give a file")
        from augsearch.trainers.hubs import hub_weights

        return model, load_weights(
            plain(model), hub_weights(spec.name), keep_head=False, where=f"weights of {spec.name}"
        )
    path = Path(weights)
    keep_head = _classes_on_card(path) == spec.classes
    loaded = load_weights(plain(model), read_weights(path), keep_head=keep_head, where=f"weights {path}")
    return model, loaded


def _classes_on_card(path: Path) -> tuple[str, ...] | None:
    """The classes of a model that augsearch trained; None for a file from elsewhere."""
    try:
        return read_card(path).classes if is_model_file(path.name) else None
    except UserError:
        return None


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


def card_of(path: Path) -> dict[str, Any]:
    """All that the card of the model at ``path`` says."""
    return _card(path.with_suffix(".json"))


def add_to_card(path: Path, more: dict[str, JsonValue]) -> None:
    """Write ``more`` on the card of the model at ``path``."""
    _write_card(path, {**card_of(path), **more})


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
    spec = read_card(path)
    try:
        model = build_model(spec, seed=0)
        model.load_state_dict(load_file(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a model that augsearch saved ({first_line(error)})") from None
    return model.eval(), spec


def read_card(path: Path) -> ModelSpec:
    """What the card beside the model at ``path`` says of its network.

    Raises:
        UserError: the model or its card is missing, or is none.
    """
    card = path.with_suffix(".json")
    for file in (path, card):
        if not file.is_file():
            raise UserError(
                f"{file}: no such file; a model is a .safetensors file with its .json card beside it"
            )
    try:
        return ModelSpec.model_validate(_card(card).get("model"))
    except ValidationError as error:
        raise UserError(f"{card}: no model card ({explain(error)})") from None
    except ValueError as error:
        raise UserError(f"{card}: no model card ({first_line(error)})") from None


def _card(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    return document if isinstance(document, dict) else {}
