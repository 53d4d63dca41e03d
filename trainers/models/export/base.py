"""What a format is, and which there are.

To add one, put a file beside this one that declares ``FORMAT``: options, help and messages name it. Names and
suffixes are read wherever help is shown, so such a file imports torch and its own libraries inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from augsearch.trainers.system.registry import declared_in

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from augsearch.trainers.models.spec import ModelSpec


def nothing_is_missing() -> None:
    """The check of a format that needs no package of its own."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a trained model is written to a file, and read from it again."""

    name: str
    """What ``--format`` takes: the name of the file that declares it."""
    suffixes: tuple[str, ...]
    """How names of such files end: ``.onnx``; no two formats share one."""
    content: str
    """What is in such a file, in a few words."""
    write: Callable[[nn.Module, ModelSpec, Tensor, Path], None]
    """``write(model, spec, images, path)``: ``model`` is in evaluation mode, ``images`` are two examples of
    what it takes, uint8 (2, C, S, S). The file says ``spec.metadata`` of itself. May raise anything."""
    read: Callable[[Path, ModelSpec], Callable[[Tensor], Tensor]]
    """``read(path, spec)``: what the file computes of uint8 images (B, C, S, S), logits float32 (B, K)."""
    check: Callable[[], None] = nothing_is_missing
    """Raises UserError where packages are missing."""


def formats() -> dict[str, Format]:
    """Every format by its name."""
    return {one.name: one for one in declared_in(__package__, "FORMAT", Format).values()}


def suffixes() -> dict[str, Format]:
    """Which format the end of a file's name asks for."""
    return {suffix: one for one in formats().values() for suffix in one.suffixes}


def formats_in_words() -> str:
    """``onnx (.onnx): …; torchscript (.pt, .torchscript): …``."""
    return "; ".join(f"{one.name} ({', '.join(one.suffixes)}): {one.content}" for one in formats().values())
