"""JSON that ``albumentations.from_dict`` and ``load`` read, those of 2.0.8 and of AlbumentationsX alike.

AlbumentationsX calls some arguments otherwise. Such stand there under both names; each library warns of the
other's and leaves it aside.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies.choices import in_order
from augsearch.policies.exchange.albumentations_choices import choice_node, stepped
from augsearch.policies.exchange.albumentations_nodes import (
    CROPPED_SIDE,
    LEFT_OUT,
    NEAR,
    NODES,
    Node,
    choice_of,
    erasing_node,
    node_of,
    one_of,
    resized_crop_node,
)
from augsearch.policies.exchange.albumentations_read import read
from augsearch.policies.exchange.form import (
    FIELDS,
    Difference,
    Form,
    ImageChange,
    Written,
    operation_names,
    own_choices,
)
from augsearch.policies.policy import CROP_MAGNITUDE, Policy
from augsearch.policies.registry import OPERATIONS

HEAD = "augsearch"
"""The key of the head, which the libraries leave aside."""
ERASED = (
    "rectangles of drawn ratios instead of their logarithms, so more of them are wide than high, and of at "
    "most 3/10 of a square"
)


def _write(policy: Policy) -> Written:
    transforms = [
        *([resized_crop_node(policy.resized_crop)] if policy.resized_crop else []),
        *_basic(policy),
        *[_drawn(policy)] * policy.num_ops,
        *([erasing_node(policy.erasing, policy.sampling)] if policy.erasing else []),
    ]
    whole = {
        "__version__": "2.0.8",
        "transform": {"__class_fullname__": "Compose", "p": 1.0, "transforms": transforms},
    }
    used = [*operation_names(policy), *(["crop"] if policy.crop else [])]
    near = [
        Difference(name.replace("_", " "), NEAR.get(name, LEFT_OUT), "" if name == "crop" else name)
        for name in dict.fromkeys(used)
        if name in NEAR or name not in NODES
    ]
    near += stepped(own_choices(policy), policy)
    if policy.erasing is not None:
        near.append(Difference("erasing", ERASED))
    if policy.mixing is not None:
        near.append(Difference(policy.mixing.kind, "left out; mix batches in the training loop"))
    notes = ["each library warns of arguments that only the other has; both read their own"]
    if policy.resized_crop is not None:
        notes.append(
            f"the resized crop makes squares of {CROPPED_SIDE} pixels; for others change size in the file"
        )
    if any(OPERATIONS[name].kind == "warp" for name in used):
        notes.append("of warps, pixels between two may be the neighbour's, and shifts a pixel more or less")
    many = policy.num_ops > 1 or any(len(in_order(choice)) > 1 for choice in own_choices(policy))
    if many and policy.fuse_warps:
        notes.append("two warps in a row are done one by one, where augsearch joins them into one")
    return Written(_dumped(whole), tuple(near), tuple(notes))


def _basic(policy: Policy) -> list[Node]:
    sampling, nodes = policy.sampling, []
    for name, magnitude in (("crop", CROP_MAGNITUDE), ("flip_horizontal", 0), ("flip_vertical", 0)):
        if getattr(policy, name):
            nodes.append(
                node_of(name, magnitude, False, policy.ranges, sampling) | {"p": getattr(policy, name)}
            )
    if policy.quarter_turns:
        turns = [node_of(f"rotate_{angle}", 0, False, policy.ranges, sampling) for angle in (90, 180, 270)]
        nodes.append(one_of(turns) | {"p": policy.quarter_turns})
    return nodes


def _drawn(policy: Policy) -> Node:
    """One operation of the policy's, each as likely."""
    own = own_choices(policy)
    if own:
        heaviest = max(1.0 if isinstance(choice, str) else choice.weight for choice in own)
        return one_of([choice_node(choice, policy, heaviest) for choice in own])
    return one_of(
        [
            choice_of(name, policy.magnitude, policy.ranges, policy.sampling)
            for name in operation_names(policy)
        ]
    )


def _dumped(whole: Node) -> str:
    """JSON with a line for each transform that has none inside."""

    def lines(node: Any, indent: str) -> Iterator[str]:
        inner = node.get("transforms")
        if inner is None:
            yield indent + json.dumps(node)
            return
        own = json.dumps({key: value for key, value in node.items() if key != "transforms"})
        yield f'{indent}{own[:-1]}, "transforms": ['
        for number, one in enumerate(inner):
            *rest, last = lines(one, indent + "  ")
            yield from rest
            yield last + ("," if number < len(inner) - 1 else "")
        yield f"{indent}]}}"

    body = "\n".join(lines(whole["transform"], "  ")).lstrip()
    return f'{{\n  "__version__": "{whole["__version__"]}",\n  "transform": {body}\n}}\n'


def _head(text: str, lines: list[str]) -> str:
    listed = json.dumps([line for line in lines if line], ensure_ascii=False, indent=4)
    return text.replace("{\n", f'{{\n  "{HEAD}": {listed[:-1]}  ],\n', 1) if text else listed


def _recognises(text: str) -> bool:
    return '"transform"' in text and "__class_fullname__" in text


def _stand_in(policy: Policy, name: str, magnitude: int, negative: bool) -> ImageChange | None:
    import albumentations

    node = node_of(name, magnitude, negative, policy.ranges, policy.sampling)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transform: Any = albumentations.from_dict({"__version__": "2.0.8", "transform": node})

    def change(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        changed: NDArray[np.uint8] = transform(image=image)["image"]
        return changed

    return change


FORM = Form(
    name="albumentations",
    suffix=".albumentations.json",
    content="JSON for albumentations.load, 2.0.8 or AlbumentationsX",
    says=FIELDS,
    write=_write,
    head=_head,
    recognises=_recognises,
    read=read,
    says_choices=lambda policy: True,
    stand_in=_stand_in,
)
