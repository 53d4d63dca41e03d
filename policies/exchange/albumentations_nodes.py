"""Every operation as a transform of Albumentations, as its JSON has it, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from augsearch.policies.effects import Size
from augsearch.policies.regions import CROP_RATIOS, ERASED_RATIOS, SMALLEST_ERASED, Erasing, ResizedCrop
from augsearch.policies.registry import MAX_MAGNITUDE, OPERATIONS, Ranges
from augsearch.policies.sampling import Border, Interpolation, Sampling

Node = dict[str, Any]
"""A transform as the JSON has it."""

BLUR_SIDE = 224
CROPPED_SIDE = 224
"""Pixels of the square that a resized crop becomes; the JSON must say some."""
BORDERS: dict[Border, int] = {"fill": 0, "reflect": 4}
INTERPOLATIONS: dict[Interpolation, int] = {"nearest": 0, "bilinear": 1}
UNIT = Size(1, 1)
LEFT_OUT = "left out, nothing happens in its place"

NEAR = {
    "shear_x": "within a pixel where images are square; others are moved besides",
    "shear_y": "within a pixel where images are square; others are moved besides",
    "zoom_in": "of pixels that are read right between two the other one may be taken",
    "sharpness": "softened by a Gaussian; sharpening is the same",
    "auto_contrast": "stretched by the library's own rule",
    "equalize": "by OpenCV's rule",
    "hue": "turned in HSV instead of YIQ",
    "channel_shuffle": "one time in six the channels stay in order",
    "gaussian_blur": f"as wide as for images of {BLUR_SIDE} pixels",
    "cutout": "the rectangle lies wholly inside the image",
    "affine": LEFT_OUT,
    "perspective": LEFT_OUT,
    "resized_crop": LEFT_OUT,
    "erase": LEFT_OUT,
    "crop": "shifted evenly instead of by whole pixels, so that the largest shifts are half as frequent",
}
"""What stands in for operations, in words; the others are the same."""


def _node(name: str, p: float = 1.0, **options: Any) -> Node:
    return {"__class_fullname__": name, "p": p, **options}


def _both(**options: Any) -> dict[str, Any]:
    """Arguments under their names in 2.0.8 (``…_limit``, ``alpha``) and in AlbumentationsX (``…_range``)."""
    return options | {f"{name.removesuffix('_limit')}_range": value for name, value in options.items()}


def _warp(sampling: Sampling, p: float = 1.0, **options: Any) -> Node:
    how = {
        "interpolation": INTERPOLATIONS[sampling.interpolation],
        "border_mode": BORDERS[sampling.border],
        "fill": list(sampling.fill),
    }
    return _node("Affine", p, **options, **how)


def _jitter(**options: float) -> Node:
    still = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    return _node("ColorJitter", **_both(**{key: [value, value] for key, value in (still | options).items()}))


def _sharpness(change: float) -> Node:
    if change >= 0:
        # Its kernel adds eight times the pixel less its neighbours; PIL's smoothing has thirteenths of those.
        return _node("Sharpen", **_both(alpha=[change / 13] * 2, lightness=[1.0, 1.0]), method="kernel")
    # The Gaussian of three taps that spreads a pixel as widely.
    beside = -change * 3 / 13
    sigma = math.sqrt(-0.5 / math.log(beside / (1 - 2 * beside)))
    return _node("GaussianBlur", **_both(blur_limit=[3, 3], sigma_limit=[sigma, sigma]))


def _blur(share: float) -> Node:
    sigma = share * BLUR_SIDE
    if sigma == 0:
        return _node("NoOp")
    width = 2 * math.ceil(3 * sigma) + 1
    return _node("GaussianBlur", **_both(blur_limit=[width, width], sigma_limit=[sigma, sigma]))


def _shift(axis: str, value: float, ranges: Ranges, sampling: Sampling) -> Node:
    if ranges == "wide":
        return _warp(sampling, translate_px={"x": [0, 0], "y": [0, 0], axis: [int(value)] * 2})
    return _warp(sampling, translate_percent={"x": [0.0, 0.0], "y": [0.0, 0.0], axis: [value, value]})


def _shear(axis: str, slope: float, sampling: Sampling) -> Node:
    degrees, back = math.degrees(math.atan(slope)), 0.0 - slope / 2
    # x is always before y: of no slope at all nobody can tell afterwards which axis it was.
    return _warp(
        sampling,
        shear={"x": [0.0, 0.0], "y": [0.0, 0.0], axis: [degrees, degrees]},
        translate_percent={"x": [0.0, 0.0], "y": [0.0, 0.0], axis: [back, back]},
    )


NODES: dict[str, Callable[[float, Ranges, Sampling], Node]] = {
    "identity": lambda v, r, s: _node("NoOp"),
    "shear_x": lambda v, r, s: _shear("x", v, s),
    "shear_y": lambda v, r, s: _shear("y", v, s),
    "translate_x": lambda v, r, s: _shift("x", v, r, s),
    "translate_y": lambda v, r, s: _shift("y", v, r, s),
    "rotate": lambda v, r, s: _warp(s, rotate=[v, v]),
    "brightness": lambda v, r, s: _jitter(brightness=1 + v),
    "color": lambda v, r, s: _jitter(saturation=1 + v),
    "contrast": lambda v, r, s: _jitter(contrast=1 + v),
    "sharpness": lambda v, r, s: _sharpness(v),
    "posterize": lambda v, r, s: _node("Posterize", num_bits=[int(v)] * 2) if v < 8 else _node("NoOp"),
    "solarize": lambda v, r, s: _node("Solarize", threshold_range=[v, v]),
    "auto_contrast": lambda v, r, s: _node("AutoContrast", method="pil"),
    "equalize": lambda v, r, s: _node("Equalize", mode="cv"),
    "invert": lambda v, r, s: _node("InvertImg"),
    "brightness_shift": lambda v, r, s: _node(
        "RandomBrightnessContrast",
        **_both(brightness_limit=[v / 255, v / 255], contrast_limit=[0.0, 0.0]),
        brightness_by_max=True,
    ),
    "gamma": lambda v, r, s: _node("RandomGamma", **_both(gamma_limit=[100 * 2**v, 100 * 2**v])),
    "hue": lambda v, r, s: _jitter(hue=0.0 - v / 360),
    "channel_shuffle": lambda v, r, s: _node("ChannelShuffle"),
    "grey": lambda v, r, s: _node("ToGray", num_output_channels=3, method="weighted_average"),
    "gaussian_blur": lambda v, r, s: _blur(v),
    "zoom_in": lambda v, r, s: _warp(s, scale={"x": [v, v], "y": [v, v]}),
    "zoom_out": lambda v, r, s: _warp(s, scale={"x": [1 / v, 1 / v], "y": [1 / v, 1 / v]}),
    "cutout": lambda v, r, s: (
        _node(
            "CoarseDropout",
            num_holes_range=[1, 1],
            hole_height_range=[v, v],
            hole_width_range=[v, v],
            fill=list(s.fill),
        )
        if v
        else _node("NoOp")
    ),
    "flip_horizontal": lambda v, r, s: _node("HorizontalFlip"),
    "flip_vertical": lambda v, r, s: _node("VerticalFlip"),
    "rotate_90": lambda v, r, s: _warp(s, rotate=[90.0, 90.0]),
    "rotate_180": lambda v, r, s: _warp(s, rotate=[180.0, 180.0]),
    "rotate_270": lambda v, r, s: _warp(s, rotate=[270.0, 270.0]),
    "crop": lambda v, r, s: _warp(s, translate_percent={"x": [-v, v], "y": [-v, v]}),
    "affine": lambda v, r, s: _node("NoOp"),
    "perspective": lambda v, r, s: _node("NoOp"),
    "resized_crop": lambda v, r, s: _node("NoOp"),
    "erase": lambda v, r, s: _node("NoOp"),
}
"""Every operation at a value, as a transform."""


def node_of(name: str, magnitude: int, negative: bool, ranges: Ranges, sampling: Sampling) -> Node:
    """An operation at a magnitude and sign."""
    value = OPERATIONS[name].value(magnitude, ranges, UNIT)
    if name not in NODES:  # one that somebody added
        return _node("NoOp")
    return NODES[name](-value if negative and value else value, ranges, sampling)


def choice_of(name: str, magnitude: int | Literal["random"], ranges: Ranges, sampling: Sampling) -> Node:
    """An operation by its magnitude, or any of them, and with either sign where it has one."""
    signs = (False, True) if OPERATIONS[name].signed else (False,)
    every = range(MAX_MAGNITUDE + 1) if magnitude == "random" else (magnitude,)
    strong = every if OPERATIONS[name].standard else (0,)
    leaves = [node_of(name, one, sign, ranges, sampling) for one in strong for sign in signs]
    return leaves[0] if len(leaves) == 1 else one_of(leaves)


def resized_crop_node(crop: ResizedCrop, size: Any = (CROPPED_SIDE, CROPPED_SIDE)) -> Node:
    """A part of every image, enlarged to ``size``, height and width in pixels."""
    return _node(
        "RandomResizedCrop",
        size=list(size) if isinstance(size, tuple) else size,
        scale=[crop.smallest, 1.0],
        ratio=list(CROP_RATIOS),
        interpolation=INTERPOLATIONS["bilinear"],
        area_for_downscale="image",
    )


def erasing_node(erasing: Erasing, sampling: Sampling) -> Node:
    """A rectangle of some images, filled."""
    smallest = min(SMALLEST_ERASED, erasing.largest)
    return _node(
        "Erasing",
        erasing.probability,
        scale=[smallest, erasing.largest],
        ratio=list(ERASED_RATIOS),
        fill=list(sampling.fill),
    )


def one_of(nodes: list[Node]) -> Node:
    """One of ``nodes``, each as likely."""
    return _node("OneOf", transforms=nodes)
