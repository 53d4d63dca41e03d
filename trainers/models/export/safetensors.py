"""The weights alone, named as the network's own library names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from augsearch.trainers.models.export.base import Format

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from augsearch.trainers.models.spec import ModelSpec


def _write(model: nn.Module, spec: ModelSpec, images: Tensor, path: Path) -> None:
    from safetensors.torch import save_file

    from augsearch.trainers.models.build import plain
    from augsearch.trainers.models.saved import apart

    # What torchvision and timm load without a change; a built-in network has no other home.
    save_file(apart(plain(model).state_dict()), path, spec.metadata)


def _read(path: Path, spec: ModelSpec) -> Callable[[Tensor], Tensor]:
    from safetensors.torch import load_file

    from augsearch.trainers.models.build import build_model, plain

    model = build_model(spec, seed=0).eval()
    plain(model).load_state_dict(load_file(path))
    return model


FORMAT = Format(
    name="safetensors",
    suffixes=(".safetensors",),
    content="the weights alone, as torchvision and timm name them",
    write=_write,
    read=_read,
)
