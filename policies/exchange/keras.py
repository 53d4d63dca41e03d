"""A readable Python module on Keras 3, a layer of ``keras.ops`` for batches; read back by its settings."""

from __future__ import annotations

from augsearch.policies.exchange.code import assembled, literal, template
from augsearch.policies.exchange.form import USUAL, Form, Read, Written, operation_names
from augsearch.policies.exchange.torchvision import (
    BASIC,
    TURNS,
    read_module,
    settings_text,
    warp_notes,
)
from augsearch.policies.policy import Policy
from augsearch.policies.regions import REGION_OPERATIONS
from augsearch.policies.registry import OPERATIONS, Kind

MODULE = "keras_module.txt"
FACES = {"Augment", "Mix"}
KINDS: dict[Kind, tuple[str, str]] = {
    "warp": ("WARPS", "warped"),
    "table": ("TABLES", "looked_up"),
    "colour": ("COLOURS", "coloured"),
    "kernel": ("KERNELS", "filtered"),
    "patch": ("PATCHES", "patched"),
}
"""What the module calls the operations of a kind, and the function that applies them."""


def _write(policy: Policy) -> Written:
    used = {*BASIC[:3], *TURNS, *operation_names(policy)}
    kinds = {kind: [name for name in OPERATIONS if name in used and _kind(name) == kind] for kind in KINDS}
    applied = {KINDS[kind][1] for kind, names in kinds.items() if names}
    text = assembled(template(MODULE), settings_text(policy, choices=True), FACES | used | applied)
    there = [kind for kind, names in kinds.items() if names]
    parts = [text, ""]
    for kind in there:
        parts += [f"{KINDS[kind][0]} = {{", *(f"    {literal(name)}: {name}," for name in kinds[kind]), "}"]
    pairs = [f"({KINDS[kind][0]}, {KINDS[kind][1]})," for kind in there]
    many = ["KINDS = (", *(f"    {pair}" for pair in pairs), ")"]
    parts += many if len(pairs) > 1 else [f"KINDS = ({pairs[0]})"]
    tried = "it was tried with Keras on torch; colours and kernels may be a grey level off"
    return Written("\n".join([*parts, ""]), notes=(tried, *warp_notes(policy)))


def _kind(name: str) -> Kind:
    return OPERATIONS[name].kind


def _head(text: str, lines: list[str]) -> str:
    usage = [
        "",
        "    from FILE import Augment, Mix",
        "",
        "    model = keras.Sequential([keras.layers.Input((64, 64, 3)), Augment(), ...])",
    ]
    body = "\n".join([*lines, *usage])
    return f'"""{body}\n"""\n\n{text}'


def _recognises(text: str) -> bool:
    return "OPERATIONS" in text and "\nimport keras\n" in text


def _read(text: str) -> Read:
    return read_module(text, _write)


FORM = Form(
    name="keras",
    suffix="_keras.py",
    content="a Python module with a layer for Keras 3",
    says=USUAL,
    write=_write,
    head=_head,
    recognises=_recognises,
    read=_read,
    lacks=REGION_OPERATIONS,
    says_choices=lambda policy: True,
)
