"""Images of other than one or three channels, as satellites take them: each band is a grey image by itself.

What was drawn for an image happens to each of its bands alike. So warps, patches and kernels are what they
are to colours; tables that follow the image follow each band; and operations that move colours among one
another do nothing, as on grey images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = (1, 3)
"""Numbers of channels that are grey and RGB; of any other number each is a band."""

MOST_BANDS = 16
"""Channels that an image may have."""

Images = NDArray[Any]


def are_channels(count: int) -> bool:
    """Whether an image may have as many channels."""
    return 1 <= count <= MOST_BANDS


def may_become(own: int, channels: int) -> bool:
    """Whether an image of ``own`` channels can have ``channels``: grey and colours become each other."""
    return own == channels or {own, channels} <= {*COLOURS}


def by_band(augment: Callable[[Images], Images], images: Images) -> Images:
    """What ``augment`` makes of grey images and colours; of others, (…, C), band by band."""
    if images.shape[-1] in COLOURS:
        return augment(images)
    return np.concatenate([augment(band) for band in np.split(images, images.shape[-1], axis=-1)], axis=-1)


def seen(images: Images) -> Images:
    """What a person is shown of ``images``, (…, C): of bands the first three as RGB, or the first alone."""
    if images.shape[-1] in COLOURS:
        return images
    return images[..., :3] if images.shape[-1] > 3 else images[..., :1]
