"""Every searched dimension, declared once.

From a declaration follow the parameter that a trial suggests, a baseline's parameters, how a neighbour moves,
what is said of it to people, and its line in ``docs/dimensions.md``. To search one more, give the policy or
the technique a field and add a ``Dimension`` to the list of its section: here, or in ``photos.py``,
``unlabeled.py`` or ``balance.py``.

The order counts: a sampler is asked, and a neighbour draws random numbers, in the order of declaration. New
dimensions stand at the end of their list, so that a fixed seed goes on drawing the same for those before, and
name the edition of the space (``Space.edition``) since which they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from augsearch.policies import MAX_MAGNITUDE, Distillation, Policy, Transfer
from augsearch.policies.choices import names_in
from augsearch.search.space.balance import CLASS_BALANCE
from augsearch.search.space.borders import BORDERS, MEANING, border_of, border_words, written
from augsearch.search.space.dimension import (
    Dimension,
    Either,
    Given,
    Landing,
    Words,
    field,
    silent,
    told_by,
)
from augsearch.search.space.per_operation import RANGES, strongest, weakest, weight
from augsearch.search.space.photos import PHOTO_DIMENSIONS
from augsearch.search.space.policy_words import (
    mixing_full,
    mixing_short,
    num_ops_full,
    num_ops_short,
    sampling_in_full,
    sampling_words,
)
from augsearch.search.space.ranges import SWITCH, Choice, Integer, Real
from augsearch.search.space.space import ON, RANDAUGMENT_SPACE, Space
from augsearch.search.space.steps import Flip, Normal, Redraw, Stay, Toss, Whole
from augsearch.search.space.unlabeled import UNLABELED

Section = Literal["policy", "distillation", "transfer", "semi", "balance"]
"""The settings that a dimension is a field of."""

Declared = Dimension | Callable[[str], Dimension | None]
"""A dimension, or what makes one for each operation that it means something for."""

_NUM_OPS = Integer(0, 4)

_OPERATIONS = Given("num_ops", tuple(range(1, _NUM_OPS.high + 1)))
_PADDED = Either((_OPERATIONS, Given("crop", (True,))))
_MIXED = Given("mixing", ("cutmix", "mixup"))
_TAUGHT = Given("distillation", (True,))
_FULL = Given("transfer", ("full",))
_USUAL_TRANSFER = Transfer(mode="full")


def operation(name: str) -> Dimension:
    """The switch of the operation ``name``."""
    return Dimension(
        f"op_{name}",
        SWITCH,
        default=True,
        step=Flip(0.15),
        when=_OPERATIONS,
        lands=Landing(
            ("operations",),
            lambda on: {f"operations.{name}.on": on},
            lambda policy: name in names_in(policy.operations),
        ),
        words=told_by("num_ops", "whether the operation is among those drawn from"),
    )


def transform(name: str, short: str, full: str, *, chance: float, on: float = ON) -> Dimension:
    """A basic transform, with probability ``on`` when it is switched on."""

    def said_in_full(policy: Policy) -> str:
        probability = getattr(policy, name)
        often = "" if probability == 1 else f" in {100 * probability:.0f} % of images"
        return f"{full}{often}" if probability else ""

    return Dimension(
        name,
        SWITCH,
        default=False,
        step=Flip(chance),
        lands=field(name, write=lambda is_on: on if is_on else 0.0, read=lambda probability: probability > 0),
        words=Words(full, lambda policy: short if getattr(policy, name) > 0 else "", said_in_full),
    )


_POLICY: list[Declared] = [
    Dimension(
        "num_ops",
        _NUM_OPS,
        default=2,
        step=Whole(1, turns_back=True),
        words=Words("operations for each image, N", num_ops_short, num_ops_full),
    ),
    Dimension(
        "magnitudes",
        Choice(("fixed", "random")),
        default="fixed",
        step=Stay(),
        when=_OPERATIONS,
        lands=Landing(
            ("magnitude", "ranges"),
            # Random magnitudes go with TrivialAugment's wide ranges, fixed ones with RandAugment's.
            lambda value: {"magnitude": "random", "ranges": "wide"} if value == "random" else {},
            lambda policy: "random" if policy.magnitude == "random" else "fixed",
        ),
        words=told_by("num_ops", "one magnitude for all, or each time another"),
        space=RANDAUGMENT_SPACE,
    ),
    Dimension(
        "magnitude",
        Integer(0, MAX_MAGNITUDE),
        default=9,
        step=Whole(6, least=1),
        when=Given("magnitudes", ("fixed",)),
        words=told_by("num_ops", "how strong the operations are, M"),
        space=RANDAUGMENT_SPACE,
    ),
    operation,
    transform("crop", "crop", "a random crop", chance=0.1, on=1.0),
    transform("flip_horizontal", "h-flip", "a horizontal flip", chance=0.1),
    transform("flip_vertical", "v-flip", "a vertical flip", chance=0.03),
    transform("quarter_turns", "quarter turns", "a quarter turn", chance=0.03),
    Dimension(
        "mixing",
        Choice(("none", "cutmix", "mixup")),
        default="none",
        step=Redraw(0.4),
        lands=Landing(
            ("mixing",),
            lambda kind: {} if kind == "none" else {"mixing.kind": kind},
            lambda policy: policy.mixing.kind if policy.mixing else "none",
        ),
        words=Words("how batches are mixed", mixing_short, mixing_full),
    ),
    Dimension(
        "mixing_alpha",
        Real(0.1, 2.0, log=True),
        default=1.0,
        step=Stay(),
        when=_MIXED,
        lands=field("mixing.alpha"),
        words=told_by("mixing", "the kept share is drawn from Beta(α, α)"),
    ),
    Dimension(
        "mixing_probability",
        Real(0.1, 1.0),
        default=0.5,
        step=Stay(),
        when=_MIXED,
        lands=field("mixing.probability"),
        words=told_by("mixing", "how often a batch is mixed"),
    ),
    Dimension(
        "border",
        Choice(tuple(BORDERS)),
        default="black",
        step=Redraw(0.25),
        when=_PADDED,
        lands=Landing(("border", "fill"), written, border_of),
        words=Words(MEANING, border_words, border_words),
        since=2,
    ),
    Dimension(
        "interpolation",
        Choice(("nearest", "bilinear")),
        default="nearest",
        step=Flip(0.15),
        when=_OPERATIONS,
        words=Words("how pixels are read between those of the image", sampling_words, sampling_in_full),
        since=2,
    ),
    *PHOTO_DIMENSIONS,
    RANGES,
    weight,
    strongest,
    weakest,
]


def _distil_full(own: Distillation) -> str:
    return f"learning {100 * own.alpha:.0f} % from a teacher, at temperature {own.temperature:.1f}"


_DISTILLATION: list[Declared] = [
    Dimension(
        "distillation",
        SWITCH,
        default=False,
        # A teacher is tried soon, because no baseline has one, and kept where the best so far has it.
        step=Toss(True, 0.7, kept=0.85),
        lands=Landing((), lambda on: {}, lambda distillation: True),
        words=Words("whether it learns from a teacher", lambda distillation: "distil", _distil_full),
        moves_last=True,
    ),
    Dimension(
        "temperature",
        Real(1.0, 20.0, log=True),
        default=4.0,
        step=Normal(0.4),
        start=(2.0, 8.0),
        when=_TAUGHT,
        words=Words(
            "softens the teacher's and the student's distributions, T",
            lambda distillation: f"T={distillation.temperature:.1f}",
            silent,
        ),
    ),
    Dimension(
        "alpha",
        Real(0.0, 1.0),
        default=0.5,
        step=Normal(0.2),
        start=(0.2, 0.8),
        when=_TAUGHT,
        words=Words(
            "the weight of the teacher's word against the labels', α",
            lambda distillation: f"α={distillation.alpha:.2f}",
            silent,
        ),
    ),
]


def _transfer_full(transfer: Transfer) -> str:
    what = "only a new last layer learns" if transfer.mode == "head" else "all layers learn"
    return f"of the network with weights, {what}"


_TRANSFER: list[Declared] = [
    Dimension(
        "transfer",
        Choice(("head", "full")),
        default=_USUAL_TRANSFER.mode,
        step=Flip(0.3),
        lands=field("mode"),
        words=Words(
            "a new last layer alone, or all layers",
            lambda transfer: "head only" if transfer.mode == "head" else "",
            _transfer_full,
        ),
    ),
    Dimension(
        "backbone_lr_scale",
        Real(0.01, 1.0, log=True),
        default=_USUAL_TRANSFER.backbone_lr_scale,
        step=Normal(0.7),
        when=_FULL,
        words=Words(
            "the learning rate of the backbone's last layer as a share of the new last layer's",
            lambda own: "" if own.mode == "head" else f"backbone lr × {own.backbone_lr_scale:.2g}",
            silent,
        ),
    ),
    Dimension(
        "layer_decay",
        Real(0.6, 1.0),
        default=_USUAL_TRANSFER.layer_decay,
        step=Normal(0.1),
        when=_FULL,
        words=Words(
            "how much slower each layer learns than the next",
            lambda own: "" if own.mode == "head" or own.layer_decay == 1 else f"decay {own.layer_decay:.2f}",
            silent,
        ),
    ),
]


DIMENSIONS: dict[Section, list[Declared]] = {
    "policy": _POLICY,
    "distillation": _DISTILLATION,
    "transfer": _TRANSFER,
    "semi": [*UNLABELED],
    "balance": [CLASS_BALANCE],
}
"""All dimensions, by their section."""


def dimensions(section: Section, operations: Iterable[str] = ()) -> list[Dimension]:
    """The dimensions of a section in the order of their declaration, one a switch of ``operations``."""
    found: list[Dimension] = []
    for declared in DIMENSIONS[section]:
        made = [declared] if isinstance(declared, Dimension) else map(declared, operations)
        found += [one for one in made if one is not None]
    return found


def policy_dimensions(space: Space, operations: Iterable[str] | None = None) -> list[Dimension]:
    """What ``space`` may choose of a policy, one a switch of ``operations``; None: of those it has."""
    names = space.operations if operations is None else operations
    found = [one for one in dimensions("policy", names) if one.since <= space.edition]
    found = [one for one in found if one.space in (None, space.name)]
    return [one for one in found if one.name not in space.left_out and (space.photos or not one.photos)]
