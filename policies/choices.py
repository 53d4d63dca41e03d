"""What a policy draws from: plain names, operations with a strength of their own, and sequences in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictFloat,
    StrictInt,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from augsearch.policies.registry import MAX_MAGNITUDE, OPERATIONS, Operation, Ranges

Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Number = StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)]


def _one_or_two_numbers(strength: Any) -> Any:
    numbers = strength if isinstance(strength, list | tuple) else [strength]
    if strength is not None and (
        not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
        or (numbers is strength and len(numbers) != 2)
    ):
        raise ValueError(f"must be a number, or [from, to], got {strength!r}")
    return strength


Strength = Annotated[Number | tuple[Number, Number] | None, BeforeValidator(_one_or_two_numbers)]
"""One that is fixed, or the two between which it is drawn uniformly."""

LONGEST_SEQUENCE = 8


def checked_name(name: str) -> str:
    """``name`` where it is an operation's.

    Raises:
        ValueError: it is not.
    """
    if name not in OPERATIONS:
        raise ValueError(f"unknown operation {name!r}; known are {', '.join(OPERATIONS)}")
    return name


class _Short(BaseModel):
    """Written without what is as usual, so that a policy file says only what is its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_serializer(mode="wrap")
    def _without_the_usual(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        usual = {name: field.default for name, field in type(self).model_fields.items()}
        # The usual value of a field that must be given is a mark that nothing equals.
        return {name: value for name, value in write(self).items() if getattr(self, name) != usual[name]}


class OwnOperation(_Short):
    """An operation with a weight, a probability or a strength of its own.

    Where neither ``magnitude`` nor ``value`` is given, its strength is the policy's magnitude.
    """

    name: str
    weight: Weight = 1.0
    """How often it is drawn, in proportion to the other weights; a plain name has 1."""
    probability: Probability = 1.0
    """The probability that it is applied, where it was drawn."""
    magnitude: Strength = None
    """0–30, also between whole numbers: fixed, or [from, to]: drawn uniformly."""
    value: Strength = None
    """The same in the operation's unit: degrees, shares of the side, grey levels."""
    sd: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] | None = None
    """The strength is normal about ``magnitude`` or ``value``, with this standard deviation, and clipped to
    what it may be (timm's ``mstd``, on a scale of 0–10)."""
    signed: StrictBool | None = None
    """Negated half of the time; null: where the operation is, and ``value`` has no negative number."""

    _known = field_validator("name")(checked_name)

    @model_validator(mode="after")
    def _one_strength(self) -> OwnOperation:
        given = [field for field in ("magnitude", "value") if getattr(self, field) is not None]
        if len(given) == 2:
            raise ValueError(f"{self.name} has a magnitude and a value; give one of them")
        if given and self.operation.standard is None:
            raise ValueError(f"{self.name} has no strength, so no {given[0]}")
        low, high = self.span
        if low > high:
            raise ValueError(
                f"{given[0]} of {self.name} must go from the lower to the higher, got [{low:g}, {high:g}]"
            )
        if self.magnitude is not None and not 0 <= low <= high <= MAX_MAGNITUDE:
            raise ValueError(
                f"magnitude of {self.name} must lie in 0–{MAX_MAGNITUDE}, got {shown_strength(self)}"
            )
        if self.sd is not None and (not given or low != high):
            raise ValueError(f"sd of {self.name} needs one magnitude or value, about which it varies")
        if self.signed and not self.operation.signed:
            raise ValueError(f"{self.name} has no sign, so signed can't be true")
        return self

    @property
    def operation(self) -> Operation:
        """The entry of the registry."""
        return OPERATIONS[self.name]

    @property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest given strength, before a normal draw; (0, 0) where none is given."""
        given = self.value if self.magnitude is None else self.magnitude
        low, high = given if isinstance(given, tuple) else (given or 0, given or 0)
        return float(low), float(high)

    @property
    def negated(self) -> bool:
        """Whether it is negated half of the time."""
        if self.signed is not None:
            return self.signed
        return self.operation.signed and (self.value is None or self.span[0] >= 0)

    def values(self, ranges: Ranges) -> tuple[float, float] | None:
        """``span`` in the operation's unit, by rising magnitude; None: the policy's magnitude."""
        low, high = self.span
        if self.magnitude is not None:
            return self.operation.value_between(low, ranges), self.operation.value_between(high, ranges)
        return None if self.value is None else (low, high)

    def check_limits(self, ranges: Ranges) -> None:
        """See that the values are such as the operation takes.

        Raises:
            ValueError: they are not.
        """
        if self.value is not None:
            low, high = self.operation.limits(ranges)
            if not low <= self.span[0] <= self.span[1] <= high:
                raise ValueError(
                    f"value of {self.name} must lie in {low:g} to {high:g} "
                    f"({self.operation.unit_of(ranges)}), got {shown_strength(self)}"
                )


def shown_strength(operation: OwnOperation) -> str:
    """``9``, ``3 to 12``: the given strength, as numbers; empty where none is."""
    low, high = operation.span
    if operation.magnitude is None and operation.value is None:
        return ""
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _tag(entry: Any) -> str:
    if isinstance(entry, OperationSequence) or (isinstance(entry, Mapping) and "sequence" in entry):
        return "union[sequence]"
    return "union[own]" if isinstance(entry, OwnOperation | Mapping) else "union[name]"


def _tag_in_sequence(entry: Any) -> str:
    return "union[own]" if isinstance(entry, OwnOperation | Mapping) else "union[name]"


InSequence = Annotated[
    Annotated[str, Tag("union[name]")] | Annotated[OwnOperation, Tag("union[own]")],
    Discriminator(_tag_in_sequence),
]


class OperationSequence(_Short):
    """Operations that are done in this order, where the sequence is drawn: AutoAugment's sub-policies."""

    sequence: Annotated[tuple[InSequence, ...], Field(min_length=1, max_length=LONGEST_SEQUENCE)]
    weight: Weight = 1.0
    """How often it is drawn, in proportion to the other weights."""

    @field_validator("sequence")
    @classmethod
    def _known(cls, entries: tuple[InSequence, ...]) -> tuple[InSequence, ...]:
        for entry in entries:
            if isinstance(entry, str):
                checked_name(entry)
            elif entry.weight != 1:
                raise ValueError(f"{entry.name} has a weight; in a sequence only the whole has one")
        return entries


Choice = Annotated[
    Annotated[str, Tag("union[name]")]
    | Annotated[OwnOperation, Tag("union[own]")]
    | Annotated[OperationSequence, Tag("union[sequence]")],
    Discriminator(_tag),
]
"""One of what a policy draws from."""


def in_order(choice: Choice) -> tuple[OwnOperation, ...]:
    """The operations that a choice stands for, in order; a plain name with nothing of its own."""
    entries = choice.sequence if isinstance(choice, OperationSequence) else (choice,)
    return tuple(OwnOperation(name=entry) if isinstance(entry, str) else entry for entry in entries)


def names_in(choices: Sequence[Choice]) -> Iterator[str]:
    """The names of all operations that may be drawn, those in sequences too, as often as they stand there."""
    for choice in choices:
        entries = choice.sequence if isinstance(choice, OperationSequence) else (choice,)
        yield from (entry if isinstance(entry, str) else entry.name for entry in entries)
