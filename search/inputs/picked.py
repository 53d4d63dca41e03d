"""The final network where nobody names one: by how large the images are, and what there is to train it on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from augsearch.search.settings.data import DataSettings
from augsearch.trainers.data.dataset import LARGEST_SIDE, SMALL_SIDE, ImageData
from augsearch.trainers.data.form import PLAIN, Form
from augsearch.trainers.data.sources.base import find_source
from augsearch.trainers.models.names import LITE
from augsearch.trainers.system.gpus import has_gpu

PHOTO_SIDE = 96
"""Pixels: images whose shorter side is at least as long, as a median, are photos."""
SIDE_ON_CPU = 128
"""Pixels at which lite0 is trained on a CPU without a budget: a third of the time that its 224 would take."""
STRONGER = ("timm:convnext_tiny.in12k_ft_in1k", "torchvision:convnext_tiny", "torchvision:resnet50")
"""For a GPU, by the accuracy on ImageNet that their libraries state (84.2, 82.5 and 80.9 %; lite0 has 74.8).

No measurement of ours stands behind them yet.
"""


@dataclass(frozen=True, slots=True)
class Picked:
    """A network, and why."""

    network: str | None
    """None: the small one that is built in."""
    size: int | None
    """Side in pixels at which to train it, where no budget decides; None: that of its weights."""
    why: str
    """One line for a person, how to pick otherwise with it."""


def pick(source: str, device: str, small: str, form: Form = PLAIN) -> Picked:
    """A network for the images of ``source`` on ``device``; ``small`` is the name of the one built in.

    Raises:
        UserError: there are no such images.
    """
    side = median_side(source, form)
    if side < PHOTO_SIDE:
        why = f"these are small images, {side} px; --final-model lite0 is pretrained on photos"
        return Picked(None, None, f"final network: {small}, because {why}")
    photos = f"these are photos, {'at least ' if side == LARGEST_SIDE else ''}{side} px"
    if not has_gpu(device):
        why = (
            f"final network: {LITE} (EfficientNet-Lite0, pretrained), because {photos} and there is no GPU; "
            "--final-model NAME picks another, --final-size its images' side"
        )
        return Picked(LITE, min(side, SIDE_ON_CPU), why)
    stronger = next(_at_hand(), None)
    if stronger is not None:
        why = f"{photos}, there is a GPU, and its weights are in the cache; --final-model NAME picks another"
        return Picked(stronger, None, f"final network: {stronger}, because {why}")
    why = (
        f"final network: {LITE} (EfficientNet-Lite0, pretrained), because {photos} and no weights of a "
        f"stronger one are in a cache; --final-model {STRONGER[1]} would fetch some for the GPU"
    )
    return Picked(LITE, None, why)


def median_side(source: str, form: Form = PLAIN) -> int:
    """The median shorter side in pixels of the images of ``source``, or 1024 if it is more.

    Raises:
        UserError: there are no such images.
    """
    return find_source(source, form).open().side(LARGEST_SIDE)


@lru_cache(maxsize=8)
def known_median_side(source: str, form: Form, content: str) -> int:
    """``median_side`` of images whose content is known by its hash: they are listed once for it."""
    return median_side(source, form)


def are_photos(data: DataSettings, images: ImageData) -> bool:
    """Whether ``images``, which were opened as ``data`` says, are photos: large enough to cut parts out."""
    if data.source is None or (data.image_size is None and images.images.shape[1] < SMALL_SIDE):
        return False  # decoded as large as they are
    return known_median_side(data.source, images.form, images.fingerprint) >= PHOTO_SIDE


def _at_hand() -> Iterator[str]:
    """Those of the stronger networks whose weights are in a cache."""
    from augsearch.trainers.models.pretrained import in_cache  # it imports torch

    return (name for name in STRONGER if in_cache(name))
