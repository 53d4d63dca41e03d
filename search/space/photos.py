"""What is searched for photos alone: random parts that are enlarged, and such as are erased."""

from __future__ import annotations

from augsearch.policies import Policy
from augsearch.policies.regions import Erasing, ResizedCrop
from augsearch.search.space.dimension import Dimension, Given, Landing, Words, field, told_by
from augsearch.search.space.ranges import SWITCH, Real
from augsearch.search.space.steps import Flip, Normal

_CROPPED = Given("resized_crop", (True,))
_ERASED = Given("erasing", (True,))
_SHARE = Real(0.08, 0.9, log=True)
_PROBABILITY = Real(0.1, 0.6)
_LARGEST = Real(0.05, 0.5)


def _crop_short(policy: Policy) -> str:
    crop = policy.resized_crop
    return f"resized crop ≥ {100 * crop.smallest:.0f} %" if crop else ""


def _crop_full(policy: Policy) -> str:
    crop = policy.resized_crop
    return f"a random part of {100 * crop.smallest:.0f} % of the area or more, enlarged" if crop else ""


def _erasing_short(policy: Policy) -> str:
    erasing = policy.erasing
    return f"erasing p={erasing.probability:.2f} ≤ {100 * erasing.largest:.0f} %" if erasing else ""


def _erasing_full(policy: Policy) -> str:
    erasing = policy.erasing
    if erasing is None:
        return ""
    often = f"in {100 * erasing.probability:.0f} % of images"
    return f"a rectangle of up to {100 * erasing.largest:.0f} % of the area erased {often}"


PHOTO_DIMENSIONS: list[Dimension] = [
    Dimension(
        "resized_crop",
        SWITCH,
        default=False,
        step=Flip(0.15),
        lands=Landing(
            ("resized_crop",),
            lambda on: {"resized_crop.smallest": ResizedCrop().smallest} if on else {},
            lambda policy: policy.resized_crop is not None,
        ),
        words=Words("whether a random part of each image is enlarged", _crop_short, _crop_full),
        since=3,
        photos=True,
    ),
    Dimension(
        "smallest_crop",
        _SHARE,
        default=0.35,
        step=Normal(0.5),
        when=_CROPPED,
        lands=field("resized_crop.smallest", read=_SHARE.nearest),
        words=told_by("resized_crop", "the smallest share of the area"),
        since=3,
        photos=True,
    ),
    Dimension(
        "erasing",
        SWITCH,
        default=False,
        step=Flip(0.1),
        lands=Landing(
            ("erasing",),
            lambda on: {"erasing.probability": Erasing().probability} if on else {},
            lambda policy: policy.erasing is not None,
        ),
        words=Words("whether random rectangles are erased", _erasing_short, _erasing_full),
        since=3,
        photos=True,
    ),
    Dimension(
        "erasing_probability",
        _PROBABILITY,
        default=Erasing().probability,
        step=Normal(0.1),
        when=_ERASED,
        lands=field("erasing.probability", read=_PROBABILITY.nearest),
        words=told_by("erasing", "in how many images"),
        since=3,
        photos=True,
    ),
    Dimension(
        "largest_erased",
        _LARGEST,
        default=Erasing().largest,
        step=Normal(0.1),
        when=_ERASED,
        lands=field("erasing.largest", read=_LARGEST.nearest),
        words=told_by("erasing", "the largest share of the area"),
        since=3,
        photos=True,
    ),
]
"""The last of the policy's dimensions."""
