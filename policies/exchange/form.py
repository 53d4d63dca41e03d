"""What a foreign form of a policy is, which there are, and how one says what it can't say.

To add one, put a file beside this one that declares ``FORM``: options, help and messages name it. A form
writes and reads text; it imports its library inside functions, and only to measure its stand-ins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from augsearch.policies.errors import UserError

if TYPE_CHECKING:
    from augsearch.policies.choices import Choice
    from augsearch.policies.document import PolicyFile
    from augsearch.policies.policy import Policy

USUAL = frozenset(
    {
        *("num_ops", "magnitude", "ranges", "operations", "mixing", "interpolation", "border", "fill"),
        *("crop", "flip_horizontal", "flip_vertical", "quarter_turns", "fuse_warps"),
    }
)
"""What every form can say. Spelled out: a field that comes later is not said by itself."""
FIELDS = USUAL | {"resized_crop", "erasing"}
"""What forms know of a policy so far."""

ImageChange = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Changes an image, uint8 (H, W, 3), RGB."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that the other side can't say as it is."""

    what: str
    """What of the policy: ``sharpness``, ``mixing``."""
    instead: str
    """What stands in for it, in words: ``left out``."""
    operation: str = ""
    """The operation whose stand-in can be measured against it; empty: there is nothing to measure."""

    def __str__(self) -> str:
        return f"{self.what}: {self.instead}"


@dataclass(frozen=True, slots=True)
class Written:
    """What a form makes of a policy."""

    text: str
    """The file's content, but for its head."""
    differences: tuple[Difference, ...] = ()
    """What it only comes near to."""
    notes: tuple[str, ...] = ()
    """What is as it should be, but for borders and ties; and what else a user of the file must know."""


@dataclass(frozen=True, slots=True)
class Read:
    """What was understood of a foreign file."""

    policy: Policy
    differences: tuple[Difference, ...] = ()
    """What the policy only comes near to."""
    notes: tuple[str, ...] = ()
    """What else a person must know."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a policy is written for another library, and read from what that library reads."""

    name: str
    """What ``--format`` takes: the name of the file that declares it."""
    suffix: str
    """How names of such files end; a module's so that it can be imported."""
    content: str
    """What is in such a file, in a few words."""
    says: frozenset[str]
    """The fields of a policy that it can say; any other that is set is refused by name."""
    write: Callable[[Policy], Written]
    """``write(policy)``. Never raises."""
    head: Callable[[str, list[str]], str]
    """``head(text, lines)``: the file's content with ``lines`` at its head, where none is taken for data."""
    recognises: Callable[[str], bool] | None = None
    """``recognises(text)``: whether it may be of this form; None: it can't be read."""
    read: Callable[[str], Read] | None = None
    """``read(text)``. Raises UserError: a line that says what is wrong, without the file's name."""
    says_choices: Callable[[Policy], bool] | None = None
    """Whether it can say choices that are more than names, or comes near to them; None: to none."""
    says_chains: Callable[[Policy], bool] | None = None
    """Whether it can say the chains of a policy, where ``chains`` is among the fields that it says."""
    stand_in: Callable[[Policy, str, int, bool], ImageChange | None] | None = None
    """``stand_in(policy, operation, magnitude, negative)``: what the library does in that operation's place;
    None where it does nothing comparable. Raises ImportError without the library."""


def forms() -> dict[str, Form]:
    """Every form by its name, in the alphabet's order."""
    found = {}
    for module in sorted(one.name for one in iter_modules(import_module(__package__).__path__)):
        form = getattr(import_module(f"{__package__}.{module}"), "FORM", None)
        if isinstance(form, Form):
            found[form.name] = form
    return found


def written(file: PolicyFile, form: Form, *, approximate: bool) -> Written:
    """What ``form`` makes of the policy of ``file``.

    Raises:
        UserError: it can't say all of it, and ``approximate`` is off; says by name what, and what would stand
            in for it. Or there is a field that it knows nothing of.
    """
    policy = file.policy
    unknown = [
        name
        for name, field in type(policy).model_fields.items()
        if name not in form.says and getattr(policy, name) != field.get_default()
    ]
    if unknown:
        raise UserError(
            f"{form.name} can't say the policy's {', '.join(unknown)}; use --format json, or a policy without"
        )
    if policy.chains is not None and form.says_chains and not form.says_chains(policy):
        raise UserError(
            f"{form.name} can say chains as AugMix alone, with its operations and a filled border; use "
            "--format json, or a policy as augmix(3,3) has it"
        )
    if own_choices(policy) and not (form.says_choices and form.says_choices(policy)):
        raise UserError(
            f"{form.name} can't say sequences, or operations with a weight, probability or strength of their "
            "own; use --format json, or a policy that draws from names alone"
        )
    made = form.write(policy)
    if made.differences and not approximate:
        listed = "; ".join(map(str, made.differences))
        raise UserError(f"{form.name} can't say all of it: {listed}; --approximate writes it so")
    return made


def operation_names(policy: Policy) -> tuple[str, ...]:
    """The operations that a policy draws, those in sequences too, each once; nothing where it draws none."""
    return policy.names if policy.num_ops else ()


def own_choices(policy: Policy) -> tuple[Choice, ...]:
    """What a policy draws from, where that is more than names alone; else nothing."""
    plain = not policy.num_ops or all(isinstance(choice, str) for choice in policy.operations)
    return () if plain else policy.operations


def recognised(text: str) -> Form | None:
    """The form that ``text`` is in, if any."""
    for form in forms().values():
        if form.recognises is not None and form.read is not None and form.recognises(text):
            return form
    return None
