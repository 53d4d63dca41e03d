"""Albumentations' JSON → a policy: each transform is looked for among those that operations become."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NoReturn

from pydantic import ValidationError

from augsearch.policies.errors import UserError, explain
from augsearch.policies.exchange.albumentations_nodes import (
    BORDERS,
    INTERPOLATIONS,
    NODES,
    Node,
    choice_of,
    erasing_node,
    node_of,
    one_of,
    resized_crop_node,
)
from augsearch.policies.exchange.albumentations_values import choice_of_node
from augsearch.policies.exchange.form import Read
from augsearch.policies.json_files import parse_json
from augsearch.policies.policy import CROP_MAGNITUDE, Policy
from augsearch.policies.regions import Erasing, ResizedCrop
from augsearch.policies.registry import MAX_MAGNITUDE, Ranges
from augsearch.policies.sampling import Sampling

RANGES: tuple[Ranges, ...] = ("standard", "wide")
EVERY_MAGNITUDE: tuple[int | Literal["random"], ...] = (*range(MAX_MAGNITUDE + 1), "random")
SAMPLING = ("interpolation", "border_mode", "fill")
_STILL = {"x": [0, 0], "y": [0, 0]}
HARMLESS: dict[str, tuple[Any, ...]] = {
    "rotate": ([0, 0],),
    "scale": ({"x": [1, 1], "y": [1, 1]},),
    "shear": (_STILL,),
    "translate_percent": (_STILL,),
    "translate_px": (_STILL,),
    "fit_output": (False,),
    "balanced_scale": (False,),
    "keep_ratio": (False, True),
    "rotate_method": ("largest_box",),
    "cutoff": (0,),
    "by_channels": (True,),
    "mask_params": ([],),
    "ensure_safe_range": (False,),
    "ensure_safe_output": (False,),
    "kernel_size": (5,),
    "sigma": (1.0,),
    "volume_mode": ("slice",),
    "sampling_method": ("standard",),
}
"""What the libraries add when they save, at the values that change nothing here; none of them as null."""
ANYTHING = ("fill_mask", "mask_interpolation", "p", "__class_fullname__", *SAMPLING)
"""What is looked at elsewhere, or touches no image."""


def read(text: str) -> Read:
    """The policy that a file of ``augsearch export`` holds, or one that the libraries saved again.

    Raises:
        UserError: it is no JSON, or a pipeline that a policy can't say; names the transform.
    """
    try:
        document = parse_json(text)
    except ValueError as error:
        raise UserError(f"not valid JSON ({error})") from None
    whole: Any = document.get("transform") if isinstance(document, dict) else None
    transforms = _children(whole, "transform")
    if whole.get("__class_fullname__", "Compose") != "Compose" or whole.get("p", 1.0) != 1.0:
        raise UserError(f"{_shown(whole)}: the whole must be a Compose that is always applied, of p 1")
    sampling = _sampling(text, transforms)
    fields: dict[str, Any] = {"interpolation": sampling.interpolation, "border": sampling.border}
    fields["fill"] = sampling.fill
    fields["num_ops"] = 0
    drawn: list[Node] = []
    between = len(transforms)
    if transforms and (crop := _resized_crop(transforms[0], sampling)) is not None:
        fields["resized_crop"] = crop
    if transforms and (erasing := _erasing(transforms[-1], sampling)) is not None:
        fields["erasing"] = erasing
        between -= 1
    for number, node in enumerate(transforms[:between], start=1):
        if number == 1 and "resized_crop" in fields:
            continue
        basic = None if drawn else _basic(node, sampling)
        if basic is not None and basic not in fields:
            fields[basic] = _probability(node, number)
        else:
            drawn.append(node)
    if drawn:
        fields |= _operations(drawn, between - len(drawn), sampling)
    try:
        return Read(Policy.model_validate(fields))
    except ValidationError as error:
        raise UserError(explain(error)) from None


def _children(node: Any, where: str) -> list[Node]:
    inner = node.get("transforms") if isinstance(node, dict) else None
    if not isinstance(inner, list) or not all(isinstance(one, dict) for one in inner):
        raise UserError(f"{where} has no list of transforms; give what albumentations.save writes")
    return inner


def _probability(node: Node, number: int) -> float:
    p = node.get("p", 1.0)
    if isinstance(p, bool) or not isinstance(p, int | float):
        raise UserError(f"transform {number}: p must be a number, got {p!r}")
    return float(p)


def _sampling(text: str, transforms: list[Node]) -> Sampling:
    """How the first transform that samples does it; the others must do alike, or they are not recognised."""
    waiting: list[Any] = list(transforms)
    patched: Any = None  # what rectangles are filled with, where nothing else says it
    while waiting:
        node = waiting.pop(0)
        if not isinstance(node, dict):
            continue
        if "border_mode" in node:
            modes = {number: name for name, number in INTERPOLATIONS.items()}
            borders = {number: name for name, number in BORDERS.items()}
            try:
                red, green, blue = map(int, _three(node.get("fill", 0)))
                sampled = modes[node.get("interpolation", 1)], borders[node["border_mode"]]
                return Sampling(*sampled, (red, green, blue))
            except (KeyError, TypeError, ValueError, OverflowError):
                raise UserError(
                    f"{_shown(node)}: its interpolation, border_mode or fill is none that a policy can say"
                ) from None
        if patched is None and node.get("__class_fullname__") in ("CoarseDropout", "Erasing"):
            patched = node.get("fill")
        waiting += node.get("transforms") or [] if isinstance(node.get("transforms"), list) else []
    try:
        red, green, blue = map(int, _three(patched or 0))
    except (TypeError, ValueError, OverflowError):
        return Sampling()
    return Sampling(fill=(red, green, blue))


def _three(fill: Any) -> tuple[Any, Any, Any]:
    first, second, third = fill if isinstance(fill, list) else [fill] * 3
    return first, second, third


def _basic(node: Node, sampling: Sampling) -> str | None:
    """The basic transform that ``node`` is, but for its probability."""
    for name, magnitude in (("crop", CROP_MAGNITUDE), ("flip_horizontal", 0), ("flip_vertical", 0)):
        if same(node, node_of(name, magnitude, False, "standard", sampling), sampling):
            return name
    turns = one_of([node_of(f"rotate_{angle}", 0, False, "standard", sampling) for angle in (90, 180, 270)])
    return "quarter_turns" if same(node, turns, sampling) else None


def _resized_crop(node: Node, sampling: Sampling) -> ResizedCrop | None:
    """The resized crop that ``node`` is, to whatever size."""
    try:
        smallest, _ = node["scale"]
        crop = ResizedCrop(smallest=smallest)
    except (KeyError, TypeError, ValueError):
        return None
    certain = node.get("p", 1.0) == 1.0
    return crop if certain and same(node, resized_crop_node(crop, node.get("size")), sampling) else None


def _erasing(node: Node, sampling: Sampling) -> Erasing | None:
    """The erasing that ``node`` is."""
    try:
        _, largest = node["scale"]
        erasing = Erasing(probability=node.get("p", 0.5), largest=largest)
    except (KeyError, TypeError, ValueError):
        return None
    return erasing if same(node, erasing_node(erasing, sampling), sampling) else None


def _operations(drawn: list[Node], before: int, sampling: Sampling) -> dict[str, Any]:
    """What N times the same choice of operations says of a policy."""
    first = drawn[0]
    if first.get("__class_fullname__") != "OneOf" or first.get("p", 1.0) != 1.0:
        _refuse(first, before + 1)
    for number, node in enumerate(drawn[1:], start=before + 2):
        if node != first:
            _refuse(node, number)
    choices = _children(first, "OneOf")
    for ranges in RANGES:
        found = [_meanings(node, ranges, sampling) for node in choices]
        for magnitude in EVERY_MAGNITUDE:
            names = _names(found, magnitude)
            if names:
                return {
                    "num_ops": len(drawn),
                    "operations": _weighed(names, choices, before + 1),
                    "ranges": ranges,
                    "magnitude": magnitude,
                }
    for ranges in RANGES:
        own = [choice_of_node(node, ranges, sampling, same) for node in choices]
        if own and None not in own:
            return {"num_ops": len(drawn), "operations": own, "ranges": ranges}
    unknown = [node for node in choices if not any(_meanings(node, one, sampling) for one in RANGES)]
    if unknown:
        _refuse(unknown[0], before + 1)
    raise UserError(
        f"transform {before + 1}: its operations are not all of one magnitude, or one is there twice; "
        "a policy has one magnitude for all"
    )


def _weighed(names: list[str], choices: list[Node], number: int) -> list[Any]:
    """The names, with weights where the choices' are not all alike."""
    weights = [_probability(node, number) for node in choices]
    if len(set(weights)) == 1:
        return list(names)
    return [{"name": name, "weight": weight} for name, weight in zip(names, weights, strict=True)]


Meanings = dict[str, frozenset[int | str]]
"""The operations that a transform may be, and each one's magnitudes."""


def _meanings(node: Node, ranges: Ranges, sampling: Sampling) -> Meanings:
    found: Meanings = {}
    for name in NODES:
        fitting = frozenset(
            magnitude
            for magnitude in EVERY_MAGNITUDE
            if same(node, _expected(name, magnitude, ranges, sampling), sampling)
        )
        if fitting:
            found[name] = fitting
    return found


def _names(found: list[Meanings], magnitude: int | str) -> list[str] | None:
    """An operation for each choice, none of them twice, all of this magnitude; None: there are none."""
    names: list[str] = []
    for meanings in found:
        fitting = [name for name, every in meanings.items() if magnitude in every and name not in names]
        if not fitting:
            return None
        names.append(fitting[0])
    return names


@cache
def _expected(name: str, magnitude: int | Literal["random"], ranges: Ranges, sampling: Sampling) -> Node:
    return choice_of(name, magnitude, ranges, sampling)


def same(node: Any, expected: Node, sampling: Sampling) -> bool:
    """Whether ``node`` does what ``expected`` does, whatever else the libraries wrote into it."""
    if not isinstance(node, dict) or node.get("__class_fullname__") != expected["__class_fullname__"]:
        return False
    if "transforms" in expected:
        inner = node.get("transforms")
        if not isinstance(inner, list) or len(inner) != len(expected["transforms"]):
            return False
        pairs = zip(inner, expected["transforms"], strict=True)
        return all(same(one, other, sampling) and one.get("p", 1.0) == other["p"] for one, other in pairs)
    more = {key: value for key, value in node.items() if key not in expected and key not in ANYTHING}
    return _says(node, expected) and all(
        value is None or any(_equal(value, one) for one in HARMLESS.get(key, ()))
        for key, value in more.items()
    )


def _says(node: Node, expected: Node) -> bool:
    """Whether all that is expected is there, under one of its two names at least."""
    for key, value in expected.items():
        if key in ("p", "__class_fullname__"):
            continue
        if key in node:
            if not _equal(node[key], value):
                return False
        elif not _other_names(key) & node.keys():
            return False
    return True


def _other_names(key: str) -> set[str]:
    stem = key.removesuffix("_range").removesuffix("_limit")
    return {stem, f"{stem}_range", f"{stem}_limit"} - {key}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(other, Mapping):
        return (
            isinstance(one, Mapping)
            and one.keys() == other.keys()
            and all(_equal(one[k], other[k]) for k in other)
        )
    if isinstance(other, list):
        return isinstance(one, list) and len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(other, float | int) and not isinstance(other, bool):
        number = isinstance(one, float | int) and not isinstance(one, bool)
        return number and math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    return bool(one == other)


def _refuse(node: Node, number: int) -> NoReturn:
    raise UserError(
        f"transform {number}: {_shown(node)} is nothing that a policy can say; a policy has a resized "
        "crop, crop, flips and quarter turns, some OneOf of its operations at one magnitude, then erasing"
    )


def _shown(node: Node) -> str:
    text = str(node.get("__class_fullname__", "a transform without a name"))
    return " ".join(text.split())[:60]
