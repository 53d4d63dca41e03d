"""Networks of torchvision and timm: built, and fitted to small images."""

from __future__ import annotations

import difflib
import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from augsearch.policies import UserError
from augsearch.trainers.models.layers import head_of
from augsearch.trainers.models.names import hub_of

GREY_LEVELS = 255.0


@dataclass(frozen=True, slots=True)
class Native:
    """How a hub's network was trained: what its images must look like for its weights to mean anything."""

    side: int
    """Pixels."""
    mean: tuple[float, ...]
    """Per channel, in grey levels."""
    std: tuple[float, ...]
    fixed_side: bool
    """Whether it takes images of that side only, as vision transformers do."""


def native(name: str) -> Native:
    """How the hub's network ``name`` was trained; asks no network.

    Raises:
        UserError: the hub has no such network.
    """
    hub, network = _parts(name)
    return _timm_native(network) if hub == "timm" else _torchvision_native(network)


def plain_network(name: str, classes: int, stem_halvings: int) -> nn.Module:
    """The hub's network with ``classes`` outputs and fresh weights, drawn from torch's global generator.

    ``stem_halvings`` strides of 2 are taken out of the network's beginning, so that an image that many times
    smaller leaves it as large.

    Raises:
        UserError: the hub has no such network, or it is no plain classifier.
    """
    hub, network = _parts(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constructors, about defaults that will change
        if hub == "timm":
            import timm

            known_to_timm(network)
            built: nn.Module = timm.create_model(network, pretrained=False, num_classes=classes)
        else:
            from torchvision.models import get_model

            torchvision_weights(network)
            plain: dict[str, int] = {}
            if network in ("googlenet", "inception_v3"):
                plain = {"init_weights": True, "aux_logits": False}
            if network.startswith("vit_"):
                plain = {"image_size": _torchvision_native(network).side}
            built = get_model(network, weights=None, num_classes=classes, **plain)
    if len(head_of(built)[1].weight) != classes:
        raise UserError(f"model {name} is no plain classifier")
    _take_out_strides(built, stem_halvings)
    return built


@lru_cache(maxsize=64)
def halvings_to_take_out(name: str, image_size: int) -> int:
    """How many strides of 2 to take out of the network's beginning for images of ``image_size`` pixels.

    As many as leave the last feature map at least half as large as the network was made for; a ResNet on
    32 pixels loses the stride and the pooling of its stem, the usual form for CIFAR (He et al. 2016, §4.2).
    Fewer where branches would no longer meet: a RegNet's stem has one stride, the next are a block's two.
    """
    ratio = native(name).side / image_size
    halvings = min(2, max(0, math.floor(math.log2(ratio)))) if ratio > 1 else 0
    with torch.random.fork_rng(devices=[]):
        while halvings and not takes(plain_network(name, 2, halvings), image_size):
            halvings -= 1
    return halvings


def _take_out_strides(network: nn.Module, halvings: int) -> None:
    """Set the first strides to 1 that stand before the network's blocks."""
    left = halvings
    for module in network.modules():
        if left and isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            stride = module.stride if isinstance(module.stride, int) else module.stride[0]
            taken = min(left, int(math.log2(stride))) if stride > 1 else 0
            if taken:
                smaller = stride >> taken
                module.stride = (smaller, smaller) if isinstance(module, nn.Conv2d) else smaller
                left -= taken


def _parts(name: str) -> tuple[str, str]:
    parts = hub_of(name)
    assert parts is not None
    return parts


def known_to_timm(network: str) -> None:
    """Check that timm has the network, and weights of that name.

    Raises:
        UserError: it hasn't; says which are called alike.
    """
    import timm

    if not timm.is_model(network):
        raise UserError(f"timm has no model {network!r}{_close(network, timm.list_models())}")
    try:
        of_old = timm.models.get_pretrained_cfg(network) is None
    except RuntimeError:
        known = timm.list_pretrained(f"{network.partition('.')[0]}.*")
        raise UserError(f"timm has no weights {network!r}{_close(network, known)}") from None
    if of_old:
        now = _close(network, timm.list_models(pretrained=True))
        raise UserError(f"timm has another name now for {network!r}{now}")


def _close(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _timm_native(network: str) -> Native:
    import timm

    known_to_timm(network)
    config: Any = timm.models.get_pretrained_cfg(network)
    return Native(
        side=int(config.input_size[-1]),
        mean=_levels(config.mean),
        std=_levels(config.std),
        fixed_side=bool(config.fixed_input_size),
    )


def torchvision_weights(network: str) -> Any:
    """All weights that torchvision has for the network, as its own enumeration.

    Raises:
        UserError: it has no such network; says which are called alike.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if network not in known:
        raise UserError(f"torchvision has no classifier {network!r}{_close(network, known)}")
    return models.get_model_weights(network)


def _torchvision_native(network: str) -> Native:
    shown = torchvision_weights(network).DEFAULT.transforms()
    return Native(
        side=int(shown.crop_size[0]),
        mean=_levels(shown.mean),
        std=_levels(shown.std),
        fixed_side=network.startswith(("vit_", "maxvit")),
    )


def _levels(shares: Any) -> tuple[float, ...]:
    return tuple(round(GREY_LEVELS * share, 4) for share in shares)


def takes(network: nn.Module, side: int) -> bool:
    """Whether ``network`` (3 channels in) takes images of ``side`` pixels, by trying."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError, ValueError):
        return False
    finally:
        network.train(training)
    return True
