"""A readable Python module on kornia, for batches on the device; read back by its settings."""

from __future__ import annotations

from augsearch.policies.exchange.code import assembled, literal, overlaid, template
from augsearch.policies.exchange.form import Form, Read, Written, operation_names, own_choices
from augsearch.policies.exchange.torchvision import (
    BASIC,
    CHOICES_TEMPLATE,
    TEMPLATE,
    TIES,
    TURNS,
    WARPS_IN_A_ROW,
    has_warps_in_a_row,
    read_module,
    settings_text,
)
from augsearch.policies.policy import Policy
from augsearch.policies.regions import REGION_OPERATIONS
from augsearch.policies.registry import OPERATIONS

MODULE = "kornia_module.txt"
FACES = {"train_transform", "val_transform", "mixing"}
SAYS = frozenset(
    {
        *("num_ops", "magnitude", "ranges", "operations", "mixing", "interpolation", "border", "fill"),
        *("crop", "flip_horizontal", "flip_vertical", "quarter_turns", "fuse_warps"),
    }
)
"""Spelled out: its module knows of nothing else."""
ROUNDED = "grey levels are rounded after each operation, where augsearch and PIL cut some of them off"


def _write(policy: Policy) -> Written:
    used = {*BASIC[:3], *TURNS, *operation_names(policy)}
    text = assembled(overlaid(*_templates(policy)), settings_text(policy), FACES | used)
    changes = "\n".join(f"    {literal(name)}: {name}," for name in OPERATIONS if name in used)
    notes = [ROUNDED]
    if any(OPERATIONS[name].kind == "warp" for name in operation_names(policy)):
        notes.append(TIES)
    if has_warps_in_a_row(policy) and policy.fuse_warps:
        notes.append(WARPS_IN_A_ROW)
    return Written(f"{text}\n\nCHANGES = {{\n{changes}\n}}\n", notes=tuple(notes))


def _templates(policy: Policy) -> list[str]:
    """What is drawn, and how often, is that of the torchvision module."""
    return [
        template(TEMPLATE),
        *([template(CHOICES_TEMPLATE)] if own_choices(policy) else []),
        template(MODULE),
    ]


def _head(text: str, lines: list[str]) -> str:
    usage = [
        "",
        "    from FILE import mixing, train_transform, val_transform",
        "",
        "    augment, mix = train_transform().to(device), mixing(num_classes=10)",
        "    images, probabilities = mix(augment(images.to(device)), labels.to(device))",
    ]
    body = "\n".join([*lines, *usage])
    return f'"""{body}\n"""\n\n{text}'


def _recognises(text: str) -> bool:
    return "OPERATIONS" in text and "train_transform" in text and "\nimport kornia\n" in text


def _read(text: str) -> Read:
    return read_module(text, _write)


FORM = Form(
    name="kornia",
    suffix="_kornia.py",
    content="a Python module on kornia, for batches on the device",
    says=SAYS,
    write=_write,
    head=_head,
    recognises=_recognises,
    read=_read,
    lacks=REGION_OPERATIONS,
    says_choices=lambda policy: True,
)
