"""The names of networks, for those who only need the names: this imports no torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from augsearch.policies import UserError

WIDTHS = {"tiny": 8, "small": 16, "medium": 32, "wide": 64}
"""Channels after the stem, by the name of the built-in network; the last layer has four times as many."""

HUBS = ("torchvision", "timm")
"""Libraries of networks: ``torchvision:resnet50``, ``timm:tf_efficientnet_lite0``."""

MODEL_SUFFIX = ".safetensors"


def is_built_in(name: str) -> bool:
    """Whether ``name`` is one of augsearch's own small networks."""
    return name in WIDTHS


def is_model_file(name: str) -> bool:
    """Whether ``name`` is the path of a model that augsearch trained."""
    return name.endswith(MODEL_SUFFIX)


def hub_of(name: str) -> tuple[str, str] | None:
    """``("timm", "resnet18")`` for ``timm:resnet18``; None for what comes from no hub."""
    hub, _, network = name.partition(":")
    return (hub, network) if hub in HUBS and network else None


def check_network(name: str, *, files: bool = True) -> str:
    """``name``, if it can be the name of a network; whether a hub has it shows when it is built.

    Raises:
        UserError: it can't be; says which there are.
    """
    hub = hub_of(name)
    if hub is not None and hub[0] == "timm" and find_spec("timm") is None:
        raise UserError(f"model {name}: timm is not installed; pip install 'augsearch[timm]'")
    if files and is_model_file(name):
        if not Path(name).is_file():
            raise UserError(f"model {name}: no such file")
        return name
    if is_built_in(name) or hub is not None:
        return name
    raise UserError(
        f"unknown model {name!r}; built in are {', '.join(WIDTHS)}; "
        "others are torchvision:NAME, timm:NAME, or a .safetensors file that augsearch saved"
    )
