"""Random parts of an image: one that is cut out and enlarged, one that is erased."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

REGION_OPERATIONS = frozenset({"resized_crop", "erase"})
"""The operations that do what ``ResizedCrop`` and ``Erasing`` say."""

TRIES = 10
"""Parts that are tried before the usual one is taken, as torchvision and timm do."""

REGION_NOISE = 2 * (TRIES + 1)
"""Random numbers that a part follows from: area and ratio of each try, and its place."""

CROP_RATIOS = (3 / 4, 4 / 3)
"""Between which a crop is wider than what it becomes (Szegedy et al. 2015, arXiv:1409.4842)."""

ERASED_RATIOS = (0.3, 1 / 0.3)
"""Between which an erased rectangle is higher than wide (Zhong et al. 2020, arXiv:1708.04896)."""

SMALLEST_ERASED = 0.02
"""The smallest share of the area that is erased, from the same paper."""


class ResizedCrop(BaseModel):
    """A random part of every image, enlarged to its size (torchvision's and timm's ``RandomResizedCrop``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    smallest: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.08
    """The smallest share of the area; the share is drawn evenly from it to 1."""


class Erasing(BaseModel):
    """A random rectangle filled with the policy's colour (Zhong et al. 2020, arXiv:1708.04896)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probability: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.25
    largest: Annotated[float, Field(gt=SMALLEST_ERASED, le=1, allow_inf_nan=False)] = 1 / 3
    """The largest share of the area; the share is drawn evenly from 0.02 to it."""


class Region(NamedTuple):
    """A part of an image, in whole pixels."""

    left: int
    top: int
    width: int
    height: int


def cropped(
    width: int, height: int, smallest: float, noise: Sequence[float], aspect: float | None = None
) -> Region:
    """The part of an image of ``width`` × ``height`` that a resized crop keeps.

    Area and ratio are drawn as torchvision draws them, ten times at most; where none fits, it is the largest
    part in the middle.

    Args:
        width: of the image, in pixels.
        height: likewise.
        smallest: the smallest share of the area.
        noise: ``REGION_NOISE`` numbers from [0, 1).
        aspect: width to height of what the part becomes; None: those of the image.
    """
    aspect = width / height if aspect is None else aspect
    low, high = (math.log(ratio) for ratio in CROP_RATIOS)
    for draw in range(TRIES):
        area = width * height * (smallest + (1 - smallest) * noise[2 * draw])
        ratio = aspect * math.exp(low + (high - low) * noise[2 * draw + 1])
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left = int(noise[-2] * (width - across + 1))
            return Region(left, int(noise[-1] * (height - down + 1)), across, down)
    across = max(1, min(width, round(height * aspect * CROP_RATIOS[1])))
    down = max(1, min(height, round(width / (aspect * CROP_RATIOS[0]))))
    return Region((width - across) // 2, (height - down) // 2, across, down)


def erased(width: int, height: int, largest: float, noise: Sequence[float]) -> Region | None:
    """The part of an image of ``width`` × ``height`` that is erased; None: no try fitted.

    Drawn as ``cropped`` draws, with the paper's ratios; a part as large as the image does not fit.
    """
    low, high = (math.log(ratio) for ratio in ERASED_RATIOS)
    smallest = min(SMALLEST_ERASED, largest)
    for draw in range(TRIES):
        area = width * height * (smallest + (largest - smallest) * noise[2 * draw])
        ratio = math.exp(low + (high - low) * noise[2 * draw + 1])
        down, across = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across < width and 0 < down < height:
            left = int(noise[-2] * (width - across + 1))
            return Region(left, int(noise[-1] * (height - down + 1)), across, down)
    return None
