"""A trained model → one file that works without augsearch, checked against the original."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.trainers.models.build import build_model, plain
from augsearch.trainers.models.spec import ModelSpec

Network = Callable[[Tensor], Tensor]
"""Logits, float32 (B, K), of uint8 images (B, C, H, W)."""

SUFFIXES = {
    ".onnx": "onnx",
    ".pt": "torchscript",
    ".torchscript": "torchscript",
    ".safetensors": "safetensors",
}
"""Which format a file's name asks for."""

_jit: Any = torch.jit  # without types

CHECKED_BATCHES = (1, 2, 7)
TOLERANCE = 1e-3
"""Most that a logit may differ, as a share of the largest; other orders of summation differ by some 1e-6."""


def export_model(model: nn.Module, spec: ModelSpec, output: Path, kind: str | None = None) -> float:
    """Write ``model`` to ``output`` and return the largest difference of its logits from the original's.

    The file takes uint8 images (B, C, S, S), S being ``spec.image_size`` and B anything, and normalises them
    itself; but ``safetensors`` is the weights alone, under their network's own names. In its metadata are the
    classes and all else that ``spec`` says, see ``metadata``. It appears only once it has been read again and
    has agreed with ``model`` on random images.

    Args:
        model: on the CPU; it is put into evaluation mode.
        spec: what ``model`` was built from.
        output: the file, overwritten if it exists.
        kind: ``onnx``, ``torchscript`` or ``safetensors``; by the file's name if None.

    Raises:
        UserError: there is no such format, packages for it are missing, the model can't be written in it,
            or the file's outputs differ from the model's.
    """
    written = _FORMATS[_kind_of(output, kind)]
    written.check()
    part = output.with_name(f".{output.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        written.write(model.eval(), spec, part)
        difference = _largest_difference(model, written.read(part, spec), spec)
        part.replace(output)
    except UserError as error:
        raise UserError(f"{output}: {error}") from None
    except OSError as error:
        raise UserError(f"{output}: can't be written ({error.strerror or first_line(error)})") from None
    except Exception as error:  # exporters and runtimes raise anything where a network is beyond them
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{output}: {spec.name} can't be written so ({reason}); try another format") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return difference


def _kind_of(output: Path, kind: str | None) -> str:
    chosen = kind or SUFFIXES.get(output.suffix.lower())
    if chosen is None:
        raise UserError(f"{output}: no format ends so; end it in {', '.join(SUFFIXES)}, or give a format")
    if chosen not in _FORMATS:
        raise UserError(f"format must be {', '.join(_FORMATS)}, got {chosen!r}")
    return chosen


def metadata(spec: ModelSpec) -> dict[str, str]:
    """What a file says of itself: each field of ``spec`` as text, lists and numbers as JSON."""
    fields = spec.model_dump(mode="json")
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in fields.items()
    }


def _random_images(spec: ModelSpec, count: int) -> Tensor:
    shape = (count, spec.channels, spec.image_size, spec.image_size)
    return torch.from_numpy(np.random.default_rng(count).integers(0, 256, shape, dtype=np.uint8))


def _largest_difference(model: nn.Module, exported: Network, spec: ModelSpec) -> float:
    largest = scale = 0.0
    for count in CHECKED_BATCHES:
        images = _random_images(spec, count)
        with torch.inference_mode():
            expected = cast(Tensor, model(images))
        difference = float((exported(images) - expected).abs().max())
        scale = max(scale, float(expected.abs().max()))
        if not difference <= TOLERANCE * scale:  # so that nan is refused
            raise UserError(f"its outputs differ from the model's by {difference:.1g}; not written")
        largest = max(largest, difference)
    return largest


def _check_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}; pip install 'augsearch[onnx]'") from None


def _write_onnx(model: nn.Module, spec: ModelSpec, path: Path) -> None:
    # Of two images: a batch of one would be taken for a constant.
    example = _random_images(spec, 2)
    with _quiet():
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(metadata(spec))
    program.save(path, external_data=False)


def _read_onnx(path: Path, _: ModelSpec) -> Network:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _write_torchscript(model: nn.Module, spec: ModelSpec, path: Path) -> None:
    with _quiet(), torch.no_grad():
        # Its own check runs the example once more; ours has other batch sizes.
        traced = _jit.trace(model, _random_images(spec, 2), check_trace=False)
        _jit.save(traced, path, _extra_files=metadata(spec))


def _read_torchscript(path: Path, _: ModelSpec) -> Network:
    with _quiet():
        network = _jit.load(path)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return cast(Tensor, network(images))

    return run


def _write_safetensors(model: nn.Module, spec: ModelSpec, path: Path) -> None:
    # What torchvision and timm load without a change; a built-in network has no other home.
    state = {name: tensor.contiguous() for name, tensor in plain(model).state_dict().items()}
    save_file(state, path, metadata(spec))


def _read_safetensors(path: Path, spec: ModelSpec) -> Network:
    model = build_model(spec, seed=0).eval()
    plain(model).load_state_dict(load_file(path))

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return cast(Tensor, model(images))

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of its own exporters: one is deprecated, and takes shapes as fixed."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, _jit.TracerWarning):
            warnings.simplefilter("ignore", category)
        yield


@dataclass(frozen=True, slots=True)
class _Format:
    """How a model is written and read again."""

    write: Callable[[nn.Module, ModelSpec, Path], None]
    read: Callable[[Path, ModelSpec], Network]
    check: Callable[[], None] = lambda: None
    """Raises UserError where packages are missing."""


_FORMATS = {
    "onnx": _Format(_write_onnx, _read_onnx, _check_onnx),
    "torchscript": _Format(_write_torchscript, _read_torchscript),
    "safetensors": _Format(_write_safetensors, _read_safetensors),
}
