"""A readable Python module on ``torchvision.transforms.v2``, without augsearch; read back by its settings."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from augsearch.policies.errors import UserError, explain
from augsearch.policies.exchange.code import assembled, code_of, settings_of, template
from augsearch.policies.exchange.form import FIELDS, Form, Read, Written, operation_names
from augsearch.policies.mixing import Mixing
from augsearch.policies.policy import Policy
from augsearch.policies.registry import OPERATIONS, Operation, Ranges

TEMPLATE = "torchvision_module.txt"
BASIC = ("crop", "flip_horizontal", "flip_vertical", "quarter_turns")
TURNS = {"rotate_90", "rotate_180", "rotate_270"}
FACES = {"train_transform", "val_transform", "mixing"}
PLAIN = ("NUM_OPS", "MAGNITUDE", "RANGES", "INTERPOLATION", "BORDER", "FILL", "MIXING", "FUSE_WARPS")
SETTINGS = {*PLAIN, "OPERATIONS", "BASIC"}
REGIONS = {"RESIZED_CROP": "resized_crop", "ERASING": "erasing"}
"""Settings that stand only in files whose policy has them."""

WARPS_IN_A_ROW = (
    "two warps in a row are done one by one, so what the first moves out of the image is lost; augsearch "
    "joins them into one"
)
TIES = "nearest pixels at exact halves, and blends along the border, may be the neighbour's"


def _write(policy: Policy) -> Written:
    # The basic transforms always, so that each setting can be changed in the file.
    used = {*BASIC[:3], *TURNS, *operation_names(policy)}
    text = assembled(_with_regions(policy), _settings(policy), FACES | used)
    changes = "\n".join(f"    {_value(name)}: {name}," for name in OPERATIONS if name in used)
    return Written(f"{text}\n\nCHANGES = {{\n{changes}\n}}\n", notes=_notes(policy))


def _with_regions(policy: Policy) -> str:
    """The template, whose training images have parts enlarged and erased where the policy has that."""
    text = template(TEMPLATE)
    if policy.resized_crop is not None:
        text = text.replace("[*resized(size), Augment()", "[*enlarged(size), Augment()")
    if policy.erasing is not None:
        text = text.replace("Augment(), *as_floats", "Augment(), *erased(), *as_floats")
    return text


def _notes(policy: Policy) -> tuple[str, ...]:
    drawn = [name for name in operation_names(policy) if OPERATIONS[name].kind == "warp"]
    most = sum(getattr(policy, name) > 0 for name in BASIC) + (policy.num_ops if drawn else 0)
    notes = [TIES] if drawn else []
    if most > 1 and policy.fuse_warps:
        notes.append(WARPS_IN_A_ROW)
    if policy.resized_crop is not None:
        notes.append("the resized crop is torchvision's own, so train_transform must be given a size")
    if policy.mixing is not None:
        notes.append("images are mixed with their neighbours in the batch, so the loader must shuffle")
    return tuple(notes)


def _settings(policy: Policy) -> str:
    """The settings as lines of Python, each a plain value."""
    entries = {name: _strength(OPERATIONS[name], policy.ranges) for name in operation_names(policy)}
    mixing = policy.mixing and policy.mixing.model_dump(mode="json")
    regions = [
        f"{name} = {_value(part.model_dump())}"
        for name, field in REGIONS.items()
        if (part := getattr(policy, field)) is not None
    ]
    return "\n".join(
        (
            "# The settings: change them as you like; augsearch import reads them back.",
            f"NUM_OPS = {policy.num_ops}",
            f'MAGNITUDE = {_value(policy.magnitude)}  # 0 to 30, or "random"',
            f"RANGES = {_value(policy.ranges)}  # what OPERATIONS holds, for augsearch import alone",
            _dict("OPERATIONS", entries),
            _dict("BASIC", {name: getattr(policy, name) for name in BASIC}),
            f"MIXING = {_value(mixing)}",
            f"INTERPOLATION = {_value(policy.interpolation)}",
            f"BORDER = {_value(policy.border)}",
            f"FILL = {_value(policy.fill)}",
            f"FUSE_WARPS = {policy.fuse_warps}  # for augsearch import alone: warps are done one by one here",
            *regions,
        )
    )


def _strength(operation: Operation, ranges: Ranges) -> dict[str, Any]:
    """What one line of OPERATIONS says: the values of magnitudes 0 and 30, and what else is drawn."""
    chosen = operation.wide if ranges == "wide" else operation.standard
    entry: dict[str, Any] = {}
    if chosen is not None:
        entry |= {"weakest": float(chosen.weakest), "strongest": float(chosen.strongest)}
        entry |= {"side": chosen.side} if chosen.side else {}
        entry |= {"whole": True} if chosen.whole else {}
    entry |= {"signed": True} if operation.signed else {}
    return entry | ({"noise": operation.noise} if operation.noise else {})


def _dict(name: str, entries: dict[str, Any]) -> str:
    if not entries:
        return f"{name} = {{}}"
    lines = "\n".join(f"    {_value(key)}: {_value(entry)}," for key, entry in entries.items())
    return f"{name} = {{\n{lines}\n}}"


def _value(value: Any) -> str:
    """A plain value as Python, with double quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value(key)}: {_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_value, value)) + ")"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _head(text: str, lines: list[str]) -> str:
    usage = [
        "",
        "    from FILE import mixing, train_transform, val_transform",
        "",
        '    train = ImageFolder("photos/train", transform=train_transform(size=224))',
    ]
    body = "\n".join([*lines, *usage])
    return f'"""{body}\n"""\n\n{text}'


def _recognises(text: str) -> bool:
    return "OPERATIONS" in text and "train_transform" in text


def _read(text: str) -> Read:
    found = settings_of(text, SETTINGS | {name for name in REGIONS if f"\n{name} = " in text})
    operations, basic = found["OPERATIONS"], found["BASIC"]
    if not isinstance(operations, dict) or not isinstance(basic, dict):
        raise UserError("OPERATIONS and BASIC must be dictionaries; give a file that augsearch export wrote")
    strange = sorted(map(str, basic.keys() ^ set(BASIC)))
    if strange:
        raise UserError(f"BASIC must have {', '.join(BASIC)} and nothing else; look at {', '.join(strange)}")
    document = {name.lower(): found[name] for name in PLAIN} | {"operations": list(operations)} | basic
    document |= {field: found[name] for name, field in REGIONS.items() if name in found}
    if document["mixing"] is not None:
        document["mixing"] = _mixing(document["mixing"])
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        raise UserError(explain(error)) from None
    for name, entry in operations.items():
        expected = _strength(OPERATIONS[name], policy.ranges)
        if entry != expected:
            raise UserError(
                f"OPERATIONS: {name} has {entry!r}, and a policy with {policy.ranges} ranges can only have "
                f"{expected!r}"
            )
    return Read(policy, notes=_changed(text, policy))


def _mixing(document: Any) -> Mixing:
    try:
        return Mixing.model_validate(document)
    except ValidationError as error:
        raise UserError(f"MIXING: {explain(error)}") from None


def _changed(text: str, policy: Policy) -> tuple[str, ...]:
    """A word where the code is not what is written for these settings today."""
    names = SETTINGS | REGIONS.keys()
    if code_of(text, names) == code_of(_write(policy).text, names):
        return ()
    return ("its code is not what this augsearch writes for these settings; only the settings were read",)


FORM = Form(
    name="torchvision",
    suffix=".py",
    content="a Python module on torchvision.transforms.v2",
    says=FIELDS,
    write=_write,
    head=_head,
    recognises=_recognises,
    read=_read,
)
