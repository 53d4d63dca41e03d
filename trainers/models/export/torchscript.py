"""TorchScript, traced: runs wherever torch does, from Python or C++."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from augsearch.trainers.models.export.base import Format

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from augsearch.trainers.models.spec import ModelSpec


def _write(model: nn.Module, spec: ModelSpec, images: Tensor, path: Path) -> None:
    import torch

    from augsearch.trainers.models.one_shape import OfOneShape

    jit: Any = torch.jit  # without types
    # Into memory first, because an archive has the name of its file in it, which is a temporary one here.
    archive = BytesIO()
    with torch.no_grad():
        # Its own check runs the example once more; ours has other batch sizes.
        traced = jit.trace(model, images, check_trace=False)
        jit.save(jit.script(OfOneShape(traced, images)), archive, _extra_files=spec.metadata)
    path.write_bytes(archive.getvalue())


def _read(path: Path, _: ModelSpec) -> Callable[[Tensor], Tensor]:
    import torch

    jit: Any = torch.jit
    network: Callable[[Tensor], Tensor] = jit.load(path)
    return network


FORMAT = Format(
    name="torchscript",
    suffixes=(".pt", ".torchscript"),
    content="takes uint8 images of the size it was trained at and normalises them itself",
    write=_write,
    read=_read,
)
