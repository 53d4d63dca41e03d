"""ONNX, by torch's exporter; run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from augsearch.trainers.models.export.base import Format

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from augsearch.trainers.models.spec import ModelSpec


def _check() -> None:
    from augsearch.policies import UserError

    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}; pip install 'augsearch[onnx]'") from None


def _write(model: nn.Module, spec: ModelSpec, images: Tensor, path: Path) -> None:
    import torch

    program = torch.onnx.export(
        model,
        (images,),
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update(spec.metadata)
    program.save(path, external_data=False)


def _read(path: Path, _: ModelSpec) -> Callable[[Tensor], Tensor]:
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


FORMAT = Format(
    name="onnx",
    suffixes=(".onnx",),
    content="takes uint8 images and normalises them itself",
    write=_write,
    read=_read,
    check=_check,
)
