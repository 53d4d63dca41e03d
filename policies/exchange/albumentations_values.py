"""Choices that are more than names, from Albumentations' JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from augsearch.policies.exchange.albumentations_choices import EVEN, between
from augsearch.policies.exchange.albumentations_nodes import BLUR_SIDE, NODES, Node
from augsearch.policies.registry import OPERATIONS, Ranges
from augsearch.policies.sampling import Sampling

Same = Callable[[Any, Node, Sampling], bool]
"""Whether a transform does what another, expected one does."""


def _pair(node: Node, *names: str) -> Any:
    """The first of these arguments that is there."""
    return next((node[name] for name in names if name in node), None)


def _axis(argument: str, axis: str) -> Callable[[Node], Any]:
    def read(node: Node) -> Any:
        both = node.get(argument)
        return both.get(axis) if isinstance(both, dict) else None

    return read


def _limit(stem: str) -> Callable[[Node], Any]:
    return lambda node: _pair(node, f"{stem}_range", f"{stem}_limit", stem)


def _softening(sigma: float) -> float:
    """The sharpness that a Gaussian of three taps stands in for."""
    shared = math.exp(-0.5 / sigma**2)
    return -13 / 3 * shared / (1 + 2 * shared)


_Inverse = tuple[str, Callable[[Node], Any], Callable[[float], float]]
"""A transform, where its two numbers stand, and what each is as a value of the operation."""

INVERSES: dict[str, list[_Inverse]] = {
    "shear_x": [("Affine", _axis("shear", "x"), lambda n: math.tan(math.radians(n)))],
    "shear_y": [("Affine", _axis("shear", "y"), lambda n: math.tan(math.radians(n)))],
    "translate_x": [
        ("Affine", _axis("translate_percent", "x"), float),
        ("Affine", _axis("translate_px", "x"), float),
    ],
    "translate_y": [
        ("Affine", _axis("translate_percent", "y"), float),
        ("Affine", _axis("translate_px", "y"), float),
    ],
    "rotate": [("Affine", lambda node: node.get("rotate"), float)],
    "brightness": [("ColorJitter", _limit("brightness"), lambda n: n - 1)],
    "color": [("ColorJitter", _limit("saturation"), lambda n: n - 1)],
    "contrast": [("ColorJitter", _limit("contrast"), lambda n: n - 1)],
    "sharpness": [
        ("Sharpen", _limit("alpha"), lambda n: 13 * n),
        ("GaussianBlur", _limit("sigma"), _softening),
    ],
    "posterize": [("Posterize", lambda node: node.get("num_bits"), float)],
    "solarize": [("Solarize", lambda node: node.get("threshold_range"), float)],
    "brightness_shift": [("RandomBrightnessContrast", _limit("brightness"), lambda n: 255 * n)],
    "gamma": [("RandomGamma", _limit("gamma"), lambda n: math.log2(n / 100))],
    "hue": [("ColorJitter", _limit("hue"), lambda n: 0.0 - 360 * n)],
    "gaussian_blur": [("GaussianBlur", _limit("sigma"), lambda n: n / BLUR_SIDE)],
    "zoom_in": [("Affine", _axis("scale", "x"), float)],
    "zoom_out": [("Affine", _axis("scale", "x"), lambda n: 1 / n)],
    "cutout": [("CoarseDropout", lambda node: node.get("hole_height_range"), float)],
}
"""Operations with a strength: the transforms that they become, read backwards."""

Strength = tuple[str, float, float]
"""An operation, and its lowest and highest value; zeros where it has none."""


def strengths(node: Node, ranges: Ranges, sampling: Sampling, same: Same) -> list[Strength]:
    """The operations that one transform may be."""
    found: list[Strength] = []
    for name, write in NODES.items():
        if OPERATIONS[name].standard is None:
            if same(node, write(0, ranges, sampling), sampling):
                found.append((name, 0.0, 0.0))
            continue
        for transform, numbers, value in INVERSES.get(name, []):
            if node.get("__class_fullname__") == transform:
                found += _read(name, numbers(node), value, node, ranges, sampling, same)
    return found


def _read(
    name: str,
    numbers: Any,
    value: Callable[[float], float],
    node: Node,
    ranges: Ranges,
    sampling: Sampling,
    same: Same,
) -> list[Strength]:
    try:
        # Without what angles, logarithms and the like leave at the end.
        low, high = sorted(float(f"{value(float(number)):.10g}") for number in numbers)
        least, most = OPERATIONS[name].limits(ranges)
        if not least <= low <= high <= most:
            return []
        written = [NODES[name](end, ranges, sampling) for end in (low, high)]
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return []
    if low != high and (name not in EVEN or (ranges == "wide" and name.startswith("translate"))):
        return []
    expected = written[0] if low == high else between(*written)
    return [(name, low, high)] if same(node, expected, sampling) else []


def choice_of_node(node: Node, ranges: Ranges, sampling: Sampling, same: Same) -> dict[str, Any] | None:
    """The choice that one transform of a ``OneOf`` is, as a policy file has it; None: it is none."""
    weight = node.get("p", 1.0)
    if not _is_share(weight) or not weight:
        return None
    if node.get("__class_fullname__") != "Sequential":
        own = _own(node, ranges, sampling, same)
        return None if own is None else own | {"weight": weight}
    entries: list[dict[str, Any]] = []
    inner = node.get("transforms")
    for one in inner if isinstance(inner, list) else []:
        own = _own(one, ranges, sampling, same) if isinstance(one, dict) else None
        probability = one.get("p", 1.0) if isinstance(one, dict) else None
        if own is None or not _is_share(probability):
            return None
        entries.append(own | {"probability": probability})
    if not entries:
        return None
    return {"sequence": entries, "weight": weight} if len(entries) > 1 else entries[0] | {"weight": weight}


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _own(node: Node, ranges: Ranges, sampling: Sampling, same: Same) -> dict[str, Any] | None:
    """The operation that a transform is, or a ``OneOf`` of one and its negative; None: it is none."""
    leaves = [node]
    if node.get("__class_fullname__") == "OneOf":
        leaves = node.get("transforms", [])
        if (
            not isinstance(leaves, list)
            or len(leaves) != 2
            or not all(isinstance(one, dict) for one in leaves)
        ):
            return None
        if any(one.get("p", 1.0) != leaves[0].get("p", 1.0) for one in leaves):
            return None
    meanings = [strengths(leaf, ranges, sampling, same) for leaf in leaves]
    for name, low, high in meanings[0]:
        operation = OPERATIONS[name]
        if len(leaves) == 2:
            opposite = any(
                other[0] == name and math.isclose(other[1], -high) and math.isclose(other[2], -low)
                for other in meanings[1]
            )
            if not (opposite and operation.signed):
                continue
        if operation.standard is None:
            return {"name": name}
        own: dict[str, Any] = {"name": name, "value": low if low == high else [low, high]}
        signed = {"signed": len(leaves) == 2} if operation.signed else {}
        return own | signed
    return None
