"""Ready policies by name, wherever a policy file is taken: ``flip-crop+randaugment(2,9)``.

Each is the fields of a ``Policy``, as a policy file would have them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import permutations
from pathlib import Path
from typing import Any

from augsearch.policies.augmix import LONGEST, MOST_SEVERE, augmix_operations
from augsearch.policies.autoaugment import CIFAR10, IMAGENET, SVHN
from augsearch.policies.errors import UserError
from augsearch.policies.registry import MAX_MAGNITUDE, OPERATIONS

Fields = dict[str, Any]
"""The fields of a ``Policy`` that are not as usual."""

FIRST = "flip-crop"
"""What most people do to images before any other policy; written before it with a ``+``."""

FLIP_CROP: Fields = {"flip_horizontal": 0.5, "crop": 1.0}

RESIZED = "flip-resized-crop"
"""What most people do to photos, instead."""

FLIP_RESIZED: Fields = {"flip_horizontal": 0.5, "resized_crop": {"smallest": 0.08}}

BEFORE: dict[str, Fields] = {FIRST: FLIP_CROP, RESIZED: FLIP_RESIZED}
"""What may stand before a ``+``."""

_NAME = re.compile(r"([a-z0-9][a-z0-9-]*)(?:\(([^()]*)\))?")
_MADE_OF = re.compile(r"[\w ()+,-]{1,100}")
"""What ready policies' names are made of; anything else, a dot or a slash, is a path's."""


@dataclass(frozen=True, slots=True)
class Ready:
    """One ready policy."""

    shown: str
    """Its name as a person writes it, with usual numbers where it takes any."""
    fields: Callable[..., Fields]
    """The policy's fields, from as many whole numbers as ``numbers`` says."""
    numbers: int
    source: str
    """Where it comes from, in words."""


READY: dict[str, Ready] = {}
"""Every ready policy by the name before its brackets, the simplest first; ``_ready`` fills it."""


def _ready(
    shown: str, source: str, *, numbers: int = 0
) -> Callable[[Callable[..., Fields]], Callable[..., Fields]]:
    """Register the function below, which gives the fields, under the name that ``shown`` begins with."""

    def register(fields: Callable[..., Fields]) -> Callable[..., Fields]:
        READY[shown.partition("(")[0]] = Ready(shown, fields, numbers, source)
        return fields

    return register


@_ready("none", "no augmentation")
def _none() -> Fields:
    return {"num_ops": 0}


@_ready(FIRST, "a mirror in half of the images, and a random crop (He et al. 2015, arXiv:1512.03385)")
def _flip_crop() -> Fields:
    return {"num_ops": 0, **FLIP_CROP}


@_ready(RESIZED, "a mirror in half of the images, and a random part of 8 % of the area or more, enlarged")
def _flip_resized_crop() -> Fields:
    return {"num_ops": 0, **FLIP_RESIZED}


@_ready("randaugment(2,9)", "N and M of RandAugment (Cubuk et al. 2019, arXiv:1909.13719)", numbers=2)
def _randaugment(num_ops: int = 2, magnitude: int = 9) -> Fields:
    return {"num_ops": num_ops, "magnitude": magnitude}


@_ready("trivialaugment-wide", "the same by torchvision's name")
@_ready("trivialaugment", "TrivialAugment with wide ranges (Müller and Hutter 2021, arXiv:2103.10158)")
def _trivialaugment() -> Fields:
    return {"num_ops": 1, "magnitude": "random", "ranges": "wide"}


UNIFORM: tuple[str, ...] = (
    *("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "auto_contrast", "invert", "equalize"),
    *("solarize", "posterize", "contrast", "color", "brightness", "sharpness", "cutout"),
)
"""UniformAugment's operations, those of Fast AutoAugment (Lim et al. 2019, arXiv:1905.00397)."""

_UNIFORM_VALUES = {"posterize": (3.5, 7.5), "cutout": (0, 0.2)}
"""Where they are not RandAugment's: 4 to 7 bits, equally often, and cutouts of up to a fifth of the side."""


@_ready("uniformaugment", "UniformAugment (LingChen et al. 2020, arXiv:2003.14348)")
def _uniformaugment() -> Fields:
    # Each with a probability that is itself drawn from 0–1: in one half of the images.
    choices: list[Fields] = []
    for name in UNIFORM:
        own: Fields = {"name": name, "probability": 0.5}
        if name in _UNIFORM_VALUES:
            own["value"] = _UNIFORM_VALUES[name]
        elif OPERATIONS[name].standard is not None:
            own["magnitude"] = (0, MAX_MAGNITUDE)
        choices.append(own)
    return {"num_ops": 2, "operations": choices}


@_ready("autoaugment-cifar10", "AutoAugment for CIFAR-10 (Cubuk et al. 2018, arXiv:1805.09501)")
def _autoaugment_cifar10() -> Fields:
    return _autoaugment(CIFAR10)


@_ready("autoaugment-svhn", "AutoAugment for SVHN, from the same paper")
def _autoaugment_svhn() -> Fields:
    return _autoaugment(SVHN)


@_ready("autoaugment-imagenet", "AutoAugment for ImageNet, from the same paper")
def _autoaugment_imagenet() -> Fields:
    return _autoaugment(IMAGENET)


def _autoaugment(table: str) -> Fields:
    """One of the 25 sub-policies of ``table`` for each image."""
    sequences = [
        {"sequence": [_sub_policy(one) for one in line.split("+")]} for line in table.split("\n") if line
    ]
    return {"num_ops": 1, "operations": sequences}


def _sub_policy(text: str) -> Fields:
    name, probability, *magnitude = text.split()
    own: Fields = {"name": name, "probability": float(probability)}
    if magnitude:  # of 0 to 9
        own["magnitude"] = int(magnitude[0]) * MAX_MAGNITUDE / 9
    return own


@_ready(
    "augmix(3,3)", "AugMix of a severity and a width (Hendrycks et al. 2020, arXiv:1912.02781)", numbers=2
)
def _augmix(severity: int = 3, width: int = 3) -> Fields:
    if not 1 <= severity <= MOST_SEVERE:
        raise UserError(f"augmix's severity must be 1 to {MOST_SEVERE}, got {severity}")
    return {
        "num_ops": LONGEST,
        "operations": augmix_operations(severity),
        "chains": {"width": width},
        "interpolation": "bilinear",  # as torchvision's is, where nobody says otherwise
    }


@_ready(
    "3-augment",
    "3-Augment: grey, solarized or blurred, then colour jitter (Touvron et al. 2022, arXiv:2204.07118)",
)
def _three_augment() -> Fields:
    blur = {"name": "gaussian_blur", "value": (0.1 / 224, 2 / 224)}
    first = ("grey", {"name": "solarize", "value": 128 / 255}, blur)
    jitter = [{"name": name, "value": (-0.3, 0.3)} for name in ("brightness", "contrast", "color")]
    orders = list(permutations(jitter))
    return {"num_ops": 1, "operations": [{"sequence": [one, *order]} for one in first for order in orders]}


def ready_names() -> list[str]:
    """The names as a person writes them, those after flip + crop, resized or not, left out."""
    return [ready.shown for ready in READY.values()]


def is_ready_name(path: str | Path) -> bool:
    """Whether ``path`` means a ready policy: it is written like one, and no file is there."""
    return bool(_MADE_OF.fullmatch(str(path))) and not Path(path).exists()


def is_ready(name: str) -> bool:
    """Whether there is a ready policy of that name."""
    try:
        ready_fields(name)
    except UserError:
        return False
    return True


def ready_fields(name: str) -> Fields:
    """The fields of the policy that ``name`` says: ``trivialaugment``, ``flip-crop+randaugment(3, 12)``.

    Raises:
        UserError: there is none of that name, or its numbers are wrong.
    """
    first, plus, last = "".join(name.split()).lower().partition("+")
    if not plus:
        return _alone(first, name)
    if first not in BEFORE or last.partition("+")[0] in BEFORE:
        raise UserError(
            f"{name}: only {FIRST} or {RESIZED} may stand before the +, and once, as in "
            f"{FIRST}+trivialaugment"
        )
    return _alone(last, name) | BEFORE[first]


def _alone(text: str, said: str) -> Fields:
    match = _NAME.fullmatch(text)
    ready = READY.get(match[1]) if match else None
    if match is None or ready is None:
        shown = {known.partition("(")[0]: known for known in ready_names()}
        close = get_close_matches(text.partition("(")[0], shown, n=2, cutoff=0.5)
        meant = f"; did you mean {' or '.join(shown[one] for one in close)}?" if close else ""
        raise UserError(
            f"{said}: no such file, and no ready policy has that name{meant} "
            f"(there are {', '.join(shown.values())}, each also after {FIRST}+ or {RESIZED}+)"
        )
    return ready.fields(*_numbers(match[2], ready, said))


def _numbers(text: str | None, ready: Ready, said: str) -> list[int]:
    if text is None:
        return []
    parts = text.split(",")
    if len(parts) != ready.numbers or not all(part.isdecimal() for part in parts):
        wanted = "takes no numbers" if not ready.numbers else f"takes {ready.numbers} whole numbers"
        raise UserError(f"{said}: {ready.shown.partition('(')[0]} {wanted}; write {ready.shown}")
    return [int(part) for part in parts]
