"""A readable Python module on Keras 3, a layer of ``keras.ops`` for batches; read back by its settings.

Keras 3.15 has no layer that enlarges a random part, and its ``RandomErasing`` draws each side by itself, so
the module says both with its own lines.
"""

from __future__ import annotations

from augsearch.policies.exchange.code import assembled, literal, template
from augsearch.policies.exchange.form import FIELDS, Form, Read, Written, operation_names
from augsearch.policies.exchange.torchvision import (
    BASIC,
    TURNS,
    read_module,
    settings_text,
    warp_notes,
)
from augsearch.policies.policy import Policy
from augsearch.policies.regions import REGION_NOISE, REGION_OPERATIONS
from augsearch.policies.registry import OPERATIONS

MODULE = "keras_module.txt"
FACES = {"Augment", "Mix"}
KINDS = {
    "warp": ("WARPS", "warped"),
    "table": ("TABLES", "looked_up"),
    "colour": ("COLOURS", "coloured"),
    "kernel": ("KERNELS", "filtered"),
    "patch": ("PATCHES", "patched"),
    "part": ("PARTS", "enlarged"),
}
"""What the module calls the operations of a kind, and the function that applies them."""


def _write(policy: Policy) -> Written:
    used = {*BASIC[:3], *TURNS, *operation_names(policy)}
    used |= {"resized_crop"} if policy.resized_crop is not None else set()
    used |= {"erase"} if policy.erasing is not None else set()
    kinds = {kind: [name for name in OPERATIONS if name in used and _kind(name) == kind] for kind in KINDS}
    applied = {KINDS[kind][1] for kind, names in kinds.items() if names}
    source = _with_regions(policy, used)
    text = assembled(source, settings_text(policy, choices=True), FACES | used | applied)
    there = [kind for kind, names in kinds.items() if names]
    parts = [text, ""]
    for kind in there:
        parts += [f"{KINDS[kind][0]} = {{", *(f"    {literal(name)}: {name}," for name in kinds[kind]), "}"]
    pairs = [f"({KINDS[kind][0]}, {KINDS[kind][1]})," for kind in there]
    many = ["KINDS = (", *(f"    {pair}" for pair in pairs), ")"]
    parts += many if len(pairs) > 1 else [f"KINDS = ({pairs[0]})"]
    tried = "it was tried with Keras on torch; colours and kernels may be a grey level off"
    return Written("\n".join([*parts, ""]), notes=(tried, *warp_notes(policy)))


def _with_regions(policy: Policy, used: set[str]) -> str:
    """The template, which draws parts that are enlarged or erased where the policy has that."""
    text = template(MODULE)
    if used & REGION_OPERATIONS:
        text = text.replace("MOST_NOISE = 8\n", f"MOST_NOISE = {REGION_NOISE}\n")
    if policy.resized_crop is not None:
        before = "    for name, probability in BASIC.items():\n"
        drawn = 'draw_part("resized_crop", RESIZED_CROP["smallest"], 1.0, count, seed)'
        text = text.replace(before, f"    yield {drawn}\n{before}")
    if policy.erasing is not None:
        after = "        yield from draw_choice(count, width, height, seed)\n"
        drawn = 'draw_part("erase", ERASING["largest"], ERASING["probability"], count, seed)'
        text = text.replace(after, f"{after}    yield {drawn}\n")
    return text


def _kind(name: str) -> str:
    return "part" if name == "resized_crop" else OPERATIONS[name].kind


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
    says=FIELDS,
    write=_write,
    head=_head,
    recognises=_recognises,
    read=_read,
    says_choices=lambda policy: True,
)
