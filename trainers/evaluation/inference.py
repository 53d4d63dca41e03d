"""What a network says of images: logits, in chunks that fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augsearch.trainers.evaluation.metrics import Logits
from augsearch.trainers.system.device_errors import does_not_fit, out_of_memory
from augsearch.trainers.system.devices import autocast, let_go_of_memory


def predict(
    model: nn.Module,
    images: NDArray[np.uint8] | Iterable[NDArray[np.uint8]],
    device: torch.device,
    batch_size: int = 256,
    precision: torch.dtype = torch.float32,
) -> Logits:
    """Logits (N, K) of ``images``, in evaluation mode; every module's mode is put back.

    Args:
        model: takes uint8 (B, C, H, W).
        images: uint8 (N, H, W, C); or batches of them, uint8 (B, H, W, C), each taken when it is needed.
        device: where ``model`` is.
        batch_size: images at a time, on a GPU four times as many; batches are taken as they come. Fewer
            where memory runs out.
        precision: what convolutions and products are computed in.

    Raises:
        ValueError: there are no images.
        UserError: there is not memory enough for one image.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    rows: list[Logits] = []
    try:
        at_once = batch_size if device.type == "cpu" else 4 * batch_size
        room: int | None = None  # for as many images as come
        for batch in _chunks(images, at_once) if isinstance(images, np.ndarray) else images:
            while len(batch):
                part = batch[:room]
                logits = _logits(model, part, device, precision)
                if logits is None:
                    room = len(part) // 2
                else:
                    rows.append(logits)
                    batch = batch[len(part) :]
    finally:
        # One by one: in a network that is partly frozen they differ.
        for module, mode in modes:
            module.training = mode
    if not rows:
        raise ValueError("there are no images to predict")
    return np.concatenate(rows)


def _logits(
    model: nn.Module, images: NDArray[np.uint8], device: torch.device, precision: torch.dtype
) -> Logits | None:
    """Those of ``images``; None: there is not memory enough for so many at a time.

    Raises:
        UserError: there is not enough for one.
    """
    # torch warns of read-only arrays, as a memory map is: only such a batch is copied.
    pixels = np.require(images, requirements=["C", "W"])
    try:
        # Here and not around the loop, where it would reach into a generator of batches.
        with torch.inference_mode(), autocast(device, precision):
            logits: Logits = model(to_tensor(pixels, device)).float().cpu().numpy()
        return logits
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        if len(images) == 1:
            raise does_not_fit(1, device.type) from None
    # Outside the handler: the traceback holds what filled the memory.
    let_go_of_memory(device)
    return None


def _chunks(images: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def to_tensor(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """uint8 (B, H, W, C) as a (B, C, H, W) tensor of the same memory, on ``device``."""
    return torch.from_numpy(images).to(device, non_blocking=True).permute(0, 3, 1, 2)
