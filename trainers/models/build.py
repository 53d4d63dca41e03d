"""A name → a network; saving and loading what was trained.

Every network takes uint8 images (B, C, H, W) of any size and resizes and normalises them itself, so a saved
model needs no recipe beside it, and a teacher and its student may differ in size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from augsearch.policies import UserError
from augsearch.policies.bands import COLOURS, may_become
from augsearch.trainers.models import built_in
from augsearch.trainers.models.hubs import halvings_to_take_out, native, plain_network, takes
from augsearch.trainers.models.names import check_network, hub_of, is_built_in, is_model_file
from augsearch.trainers.models.pretrained import pretrained
from augsearch.trainers.models.spec import ModelSpec, read_card
from augsearch.trainers.models.stem import first_convolution, fit_stem, fitted_weights
from augsearch.trainers.models.weights import Loaded, load_weights, read_weights


class Normalise(nn.Module):
    """uint8 images of any size, grey or RGB, to what a network takes: resized, float32, normalised."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], side: int) -> None:
        super().__init__()
        self.side, self.channels = side, len(mean)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """float32 (B, C, side, side) with mean 0 and deviation 1, of uint8 ``images`` (B, C, H, W)."""
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


def _averaged(network: BuiltIn | Adapted, logits: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The logits of ``images``; outside of training, where the network is to, averaged over mirror images."""
    if not network.average_flips or network.training:
        return logits(images)
    return (logits(images) + logits(images.flip(-1))) / 2


class BuiltIn(nn.Sequential):
    """A built-in network: its layers, behind what makes images fit for it."""

    average_flips = False
    """As ``ModelSpec`` has it."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of uint8 ``images`` (B, C, H, W)."""
        return _averaged(self, super().forward, images)


class Adapted(nn.Module):
    """A hub's network behind what makes images fit for it."""

    average_flips = False
    """As ``ModelSpec`` has it."""

    def __init__(self, network: nn.Module, normalise: Normalise) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of uint8 ``images`` (B, C, H, W)."""
        return _averaged(self, self._logits, images)

    def _logits(self, images: Tensor) -> Tensor:
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
        if not may_become(known.channels, channels):
            raise UserError(
                f"{name} was trained on images of {known.channels} channels, and these have {channels}; "
                "choose as many with --bands"
            )
        wanted = {"classes": classes, "image_size": image_size, "input_size": input_size or known.side}
        wanted |= {"average_flips": False}
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
    known_as = native(name)
    halvings = 0
    if weights != "none" and channels in COLOURS:
        mean, std = known_as.mean, known_as.std
    if weights == "none" and input_size is None and not known_as.fixed_side:
        halvings = halvings_to_take_out(name, image_size)
    if input_size is None and (known_as.fixed_side or (weights != "none" and image_size < known_as.side)):
        input_size = known_as.side
    return ModelSpec(
        name=name,
        channels=3 if channels in COLOURS else channels,
        image_size=image_size,
        classes=classes,
        mean=mean * 3 if len(mean) == 1 else mean,
        std=std * 3 if len(std) == 1 else std,
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
    network.average_flips = spec.average_flips
    return network.to(memory_format=torch.channels_last)


def _built_in(spec: ModelSpec) -> BuiltIn:
    layers = built_in.layers(spec.name, spec.channels, spec.side, len(spec.classes))
    return BuiltIn(Normalise(spec.mean, spec.std, spec.side), *layers)


def _adapted(spec: ModelSpec) -> Adapted:
    network = plain_network(spec.name, len(spec.classes), spec.stem_halvings)
    if not takes(network, spec.side):
        raise UserError(f"model {spec.name} takes no images of {spec.side} pixels; give another --input-size")
    if spec.channels not in COLOURS:
        fit_stem(network, spec.channels)
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
        found = pretrained(spec.name)
        tensors = _fitted(found.tensors, model, spec)
        loaded = load_weights(plain(model), tensors, keep_head=False, where=f"weights of {spec.name}")
        return model, replace(loaded, source=found.source)
    path = Path(weights)
    keep_head = _classes_on_card(path) == spec.classes
    tensors = _fitted(read_weights(path), model, spec)
    loaded = load_weights(plain(model), tensors, keep_head=keep_head, where=f"weights {path}")
    return model, replace(loaded, source=str(path))


def _fitted(tensors: dict[str, Tensor], model: nn.Module, spec: ModelSpec) -> dict[str, Tensor]:
    """``tensors`` for a network of as many channels as ``spec`` has."""
    return tensors if spec.channels in COLOURS else fitted_weights(tensors, first_convolution(model))


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
