"""A trained model → one file that works without augsearch, checked against the original."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from augsearch.policies import UserError
from augsearch.policies.atomic import whole_file
from augsearch.policies.errors import first_line
from augsearch.trainers.models.export.base import Format, formats, suffixes
from augsearch.trainers.models.spec import ModelSpec

CHECKED_BATCHES = (1, 2, 7)
TOLERANCE = 1e-3
"""Most that a logit may differ, as a share of the largest; other orders of summation differ by some 1e-6."""


def export_model(model: nn.Module, spec: ModelSpec, output: Path, kind: str | None = None) -> float:
    """Write ``model`` to ``output`` and return the largest difference of its logits from the original's.

    The file takes uint8 images (B, C, S, S), S being ``spec.image_size`` and B anything, and normalises them
    itself; but ``safetensors`` is the weights alone, under their network's own names. In its metadata are the
    classes and all else that ``spec`` says, see ``ModelSpec.metadata``. It appears only once it has been read
    again and has agreed with ``model`` on random images.

    Args:
        model: on the CPU; it is put into evaluation mode.
        spec: what ``model`` was built from.
        output: the file, overwritten if it exists.
        kind: the name of a format in ``models/export/``; by the end of the file's name if None.

    Raises:
        UserError: there is no such format, packages for it are missing, the model can't be written in it,
            or the file's outputs differ from the model's.
    """
    chosen = _format_of(output, kind)
    chosen.check()
    try:
        with whole_file(output) as part:
            part.touch()  # of a place that can't be written exporters speak in words of their own
            with _without_exporters_warnings():
                # Of two images: a batch of one would be taken for a constant.
                chosen.write(model.eval(), spec, _random_images(spec, 2), part)
                exported = chosen.read(part, spec)
            return _largest_difference(model, exported, spec)
    except UserError as error:
        raise UserError(f"{output}: {error}") from None
    except OSError as error:
        raise UserError(
            f"{output}: can't be written ({error.strerror or first_line(error)}); give another -o"
        ) from None
    except Exception as error:  # exporters and runtimes raise anything where a network is beyond them
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{output}: {spec.name} can't be written so ({reason}); try another format") from None


def _format_of(output: Path, kind: str | None) -> Format:
    if kind is None:
        known = suffixes()
        if output.suffix.lower() not in known:
            raise UserError(f"{output}: no format ends so; end it in {', '.join(known)}, or give a format")
        return known[output.suffix.lower()]
    if kind not in formats():
        raise UserError(f"format must be {', '.join(formats())}, got {kind!r}")
    return formats()[kind]


def _random_images(spec: ModelSpec, count: int) -> Tensor:
    shape = (count, spec.channels, spec.image_size, spec.image_size)
    return torch.from_numpy(np.random.default_rng(count).integers(0, 256, shape, dtype=np.uint8))


def _largest_difference(model: nn.Module, exported: Callable[[Tensor], Tensor], spec: ModelSpec) -> float:
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


@contextmanager
def _without_exporters_warnings() -> Iterator[None]:
    """Silence torch about its own exporters: one is deprecated, and takes shapes as fixed."""
    with warnings.catch_warnings():
        jit: Any = torch.jit  # without types
        for category in (DeprecationWarning, FutureWarning, jit.TracerWarning):
            warnings.simplefilter("ignore", category)
        yield
