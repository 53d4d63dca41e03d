"""A readable Python module on ``torchvision.transforms.v2``, without augsearch; read back by its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from augsearch.policies.choices import Choice, in_order, names_in
from augsearch.policies.errors import UserError, explain
from augsearch.policies.exchange.augmix import augmix_arguments, with_augmix
from augsearch.policies.exchange.code import assembled, assigned, code_of, literal, settings_of, template
from augsearch.policies.exchange.form import FIELDS, Form, Read, Written, operation_names, own_choices
from augsearch.policies.exchange.head import plain
from augsearch.policies.mixing import Mixing
from augsearch.policies.policy import Policy
from augsearch.policies.registry import OPERATIONS, Operation, Ranges

TEMPLATE, CHOICES_TEMPLATE = "torchvision_module.txt", "choices_module.txt"
BASIC = ("crop", "flip_horizontal", "flip_vertical", "quarter_turns")
TURNS = {"rotate_90", "rotate_180", "rotate_270"}
FACES = {"train_transform", "val_transform", "mixing"}
PLAIN = ("NUM_OPS", "MAGNITUDE", "RANGES", "INTERPOLATION", "BORDER", "FILL", "MIXING", "FUSE_WARPS")
REGIONS = {"RESIZED_CROP": "resized_crop", "ERASING": "erasing"}
"""Settings that stand only in files whose policy has them."""
OPTIONAL = {"CHOICES", "AUGMIX", *REGIONS}
"""Not there where a policy draws from names alone, or has no such part."""
SETTINGS = {*PLAIN, "OPERATIONS", "BASIC", *OPTIONAL}

WARPS_IN_A_ROW = (
    "two warps in a row are done one by one, so what the first moves out of the image is lost; augsearch "
    "joins them into one"
)
TIES = "nearest pixels at exact halves, and blends along the border, may be the neighbour's"


def _write(policy: Policy) -> Written:
    source, settings, notes = _with_regions(policy), "", _notes(policy)
    if policy.chains is not None:
        # AugMix has its operations by itself; the rest of the policy comes before and after it.
        source = source.replace("Augment(), ", "Augment(), *augmix(), ")
        settings = f"\nAUGMIX = {literal(augmix_arguments(policy))}"
        policy = policy.model_copy(update={"num_ops": 0, "operations": (), "chains": None})
    # The basic transforms always, so that each setting can be changed in the file.
    used = {*BASIC[:3], *TURNS, *operation_names(policy)}
    source += template(CHOICES_TEMPLATE) if own_choices(policy) else ""
    text = assembled(source, settings_text(policy) + settings, FACES | used)
    return Written(with_changes(text, used), notes=notes)


def with_changes(text: str, used: set[str]) -> str:
    """A module with the functions of the operations that are ``used``, by name, at its end."""
    changes = "\n".join(f"    {literal(name)}: {name}," for name in OPERATIONS if name in used)
    return f"{text}\n\nCHANGES = {{\n{changes}\n}}\n"


def _with_regions(policy: Policy) -> str:
    """The template, whose training images have parts enlarged and erased where the policy has that."""
    text = template(TEMPLATE)
    if policy.resized_crop is not None:
        text = text.replace("[*resized(size), Augment()", "[*enlarged(size), Augment()")
    if policy.erasing is not None:
        text = text.replace("Augment(), *as_floats", "Augment(), *erased(), *as_floats")
    return text


def _notes(policy: Policy) -> tuple[str, ...]:
    notes = warp_notes(policy)
    if policy.resized_crop is not None:
        notes.append("the resized crop is torchvision's own, so train_transform must be given a size")
    if len(set(policy.fill)) > 1 and (policy.erasing is not None or policy.chains is not None):
        notes.append("torchvision fills with three channels: grey images need v2.RGB() first")
    if policy.mixing is not None:
        notes.append("images are mixed with their neighbours in the batch, so the loader must shuffle")
    return tuple(notes)


def warp_notes(policy: Policy) -> list[str]:
    """What is to be said of the warps of a module's images."""
    drawn = any(OPERATIONS[name].kind == "warp" for name in operation_names(policy))
    in_a_row = _has_warps_in_a_row(policy) and policy.fuse_warps
    return [*([TIES] if drawn else []), *([WARPS_IN_A_ROW] if in_a_row else [])]


def _has_warps_in_a_row(policy: Policy) -> bool:
    """Whether an image may be warped more than once, basic transforms included."""
    each = 0
    for choice in policy.operations:
        each = max(each, sum(OPERATIONS[name].kind == "warp" for name in names_in([choice])))
    basic = [name for name in BASIC if getattr(policy, name) > 0]
    return len(basic) + policy.num_ops * each > 1


def settings_text(policy: Policy, *, choices: bool = False) -> str:
    """The settings as lines of Python, each a plain value; always with CHOICES where ``choices``."""
    entries = _strengths(policy)
    written = [_choice(choice) for choice in own_choices(policy)]
    if choices and not written:
        written = list(entries)
    mixing = policy.mixing and policy.mixing.model_dump(mode="json")
    regions = [
        f"{name} = {literal(part.model_dump())}"
        for name, field in REGIONS.items()
        if (part := getattr(policy, field)) is not None
    ]
    return "\n".join(
        (
            "# The settings: change them as you like; augsearch import reads them back.",
            f"NUM_OPS = {policy.num_ops}",
            f'MAGNITUDE = {literal(policy.magnitude)}  # 0 to 30, or "random"',
            f"RANGES = {literal(policy.ranges)}  # what OPERATIONS holds, for augsearch import alone",
            assigned("OPERATIONS", entries),
            *([assigned("CHOICES", written)] if written or choices else []),
            assigned("BASIC", {name: getattr(policy, name) for name in BASIC}),
            f"MIXING = {literal(mixing)}",
            f"INTERPOLATION = {literal(policy.interpolation)}",
            f"BORDER = {literal(policy.border)}",
            f"FILL = {literal(policy.fill)}",
            f"FUSE_WARPS = {policy.fuse_warps}  # for augsearch import alone: warps are done one by one here",
            *regions,
        )
    )


def _strengths(policy: Policy) -> dict[str, dict[str, Any]]:
    """What OPERATIONS says."""
    entries = {name: _strength(OPERATIONS[name], policy.ranges) for name in operation_names(policy)}
    for choice in own_choices(policy):
        for own in in_order(choice):
            if own.sd is not None and own.value is not None:  # a normal draw ends where own values do
                entries[own.name]["limits"] = tuple(map(float, own.operation.limits(policy.ranges)))
    return entries


def _choice(choice: Choice) -> Any:
    """A choice as a policy file has it."""
    return choice if isinstance(choice, str) else choice.model_dump()


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
    return read_module(text, _write)


def read_module(text: str, write: Callable[[Policy], Written]) -> Read:
    """The policy of a module that ``write`` wrote, by its settings.

    Raises:
        UserError: it has others, or such as no policy can have.
    """
    found = settings_of(text, SETTINGS, OPTIONAL)
    operations, basic = found["OPERATIONS"], found["BASIC"]
    if not isinstance(operations, dict) or not isinstance(basic, dict):
        raise UserError("OPERATIONS and BASIC must be dictionaries; give a file that augsearch export wrote")
    strange = sorted(map(plain, basic.keys() ^ set(BASIC)))
    if strange:
        raise UserError(f"BASIC must have {', '.join(BASIC)} and nothing else; look at {', '.join(strange)}")
    document = {name.lower(): found[name] for name in PLAIN} | basic
    document["operations"] = found.get("CHOICES", list(operations))
    document |= {field: found[name] for name, field in REGIONS.items() if name in found}
    if document["mixing"] is not None:
        document["mixing"] = _mixing(document["mixing"])
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        raise UserError(explain(error)) from None
    known = _strengths(policy)
    lacking = sorted(map(plain, known.keys() ^ operations.keys()))
    if lacking:
        raise UserError(f"OPERATIONS must have those of CHOICES and no others; look at {', '.join(lacking)}")
    for name, entry in operations.items():
        expected = known[name]
        if entry != expected:
            raise UserError(
                f"OPERATIONS: {name} has {entry!r}, and a policy with {policy.ranges} ranges can only have "
                f"{expected!r}"
            )
    if "AUGMIX" in found:
        policy = with_augmix(policy, found["AUGMIX"])
    return Read(policy, notes=_changed(text, write(policy).text))


def _mixing(document: Any) -> Mixing:
    try:
        return Mixing.model_validate(document)
    except ValidationError as error:
        raise UserError(f"MIXING: {explain(error)}") from None


def _changed(text: str, usual: str) -> tuple[str, ...]:
    """A word where the code is not what is written for these settings today."""
    if code_of(text, SETTINGS) == code_of(usual, SETTINGS):
        return ()
    return ("its code is not what this augsearch writes for these settings; only the settings were read",)


FORM = Form(
    name="torchvision",
    suffix=".py",
    content="a Python module on torchvision.transforms.v2",
    says=FIELDS | {"chains"},
    write=_write,
    head=_head,
    recognises=_recognises,
    read=_read,
    says_choices=lambda policy: True,
    says_chains=lambda policy: augmix_arguments(policy) is not None,
)
