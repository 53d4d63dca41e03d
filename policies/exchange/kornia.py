"""A readable Python module on kornia, for batches on the device; read back by its settings."""

from __future__ import annotations

from augsearch.policies.exchange.code import assembled, overlaid, template
from augsearch.policies.exchange.form import FIELDS, Form, Read, Written, operation_names, own_choices
from augsearch.policies.exchange.torchvision import (
    BASIC,
    CHOICES_TEMPLATE,
    TEMPLATE,
    TURNS,
    read_module,
    settings_text,
    warp_notes,
    with_changes,
)
from augsearch.policies.policy import Policy

MODULE = "kornia_module.txt"
FACES = {"train_transform", "val_transform", "mixing"}
ROUNDED = "grey levels are rounded after each operation, where augsearch and PIL cut some of them off"


def _write(policy: Policy) -> Written:
    used = {*BASIC[:3], *TURNS, *operation_names(policy)}
    source, notes = overlaid(*_templates(policy)), [ROUNDED, *warp_notes(policy)]
    if policy.resized_crop is not None:
        source = source.replace("def train_transform(mean", "def train_transform(size: int, mean")
        source = source.replace("Sequential(Augment(), ", "Sequential(enlarged(size), Augment(), ")
        notes.append(
            "the resized crop is kornia's own, so train_transform must be given a size; of long images, "
            "where no part fits, it takes any and not the middle one"
        )
    if policy.erasing is not None:
        source = source.replace("Augment(), *as_floats", "Augment(), Erase(), *as_floats")
        used.add("erase")
    text = assembled(source, settings_text(policy), FACES | used)
    return Written(with_changes(text, used), notes=tuple(notes))


def _templates(policy: Policy) -> list[str]:
    """What is drawn, and how often, is that of the torchvision module."""
    return [
        template(TEMPLATE),
        *([template(CHOICES_TEMPLATE)] if own_choices(policy) else []),
        template(MODULE),
    ]


def _head(text: str, lines: list[str]) -> str:
    size = "size=224" if "def train_transform(size" in text else ""
    usage = [
        "",
        "    from FILE import mixing, train_transform, val_transform",
        "",
        f"    augment, mix = train_transform({size}).to(device), mixing(num_classes=10)",
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
    says=FIELDS,
    write=_write,
    head=_head,
    recognises=_recognises,
    read=_read,
    says_choices=lambda policy: True,
)
