"""The torch backend on a CPU: batches become arrays, which take a fraction of the time that torch needs.

In one thread, and with the pixels of ``Policy.batch_transform`` to the last bit.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from augsearch.policies.backends import engine
from augsearch.policies.planner import Draws
from augsearch.policies.registry import Ranges
from augsearch.policies.sampling import Sampling


def run_draws(draws: Draws, images: Tensor, ranges: Ranges, sampling: Sampling) -> Tensor:
    """A new batch: ``images``, uint8 (B, C, H, W) with C = 1 or 3, each after its own draw."""
    planes = images.numpy()
    count, channels, height, width = planes.shape
    if channels == 1 or (planes.strides[1] == 1 and not images.is_contiguous()):  # each pixel is in one place
        pixels = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        augmented = engine.run_draws(draws, pixels, ranges, sampling)
        return torch.from_numpy(augmented.transpose(0, 3, 1, 2))
    # OpenCV puts channels together and takes them apart ten times as fast as a copy does.
    pixels = np.empty((count, height, width, channels), dtype=np.uint8)
    for image, own in zip(pixels, planes, strict=True):
        cv2.merge(list(own), image)
    augmented = engine.run_draws(draws, pixels, ranges, sampling)
    result = pixels.reshape(planes.shape)  # nobody needs them any more
    for own, image in zip(result, augmented, strict=True):
        cv2.split(image, list(own))
    return torch.from_numpy(result)
