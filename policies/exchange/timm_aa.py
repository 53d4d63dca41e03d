"""What follows timm's ``--aa``: ``rand-…``, AutoAugment's ``original`` and ``originalr``, and ``3a``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

from augsearch.policies.autoaugment import IMAGENET
from augsearch.policies.choices import Choice, OwnOperation
from augsearch.policies.errors import UserError
from augsearch.policies.exchange.form import Difference, operation_names, own_choices
from augsearch.policies.policy import Policy
from augsearch.policies.registry import MAX_MAGNITUDE, OPERATIONS

NAMES = {
    "auto_contrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
    "rotate": "Rotate",
    "posterize": "PosterizeIncreasing",
    "solarize": "SolarizeIncreasing",
    "color": "ColorIncreasing",
    "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing",
    "sharpness": "SharpnessIncreasing",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel",
}
"""What timm's ``inc1`` draws from, but for SolarizeAdd, which no policy has; each is as likely."""
LEVELS = 10
"""timm's magnitudes are of 10, a policy's of 30."""
OTHERWISE = {
    "posterize": "timm keeps 4 to 0 bits",
    "solarize": "timm's threshold is a whole number of 256",
    "translate_x": "up to 45 % and not 45.3, by parts of pixels",
    "translate_y": "up to 45 % and not 45.3, by parts of pixels",
}
"""Operations that timm does otherwise, in words."""
PROBABILITY, LAYERS, MAGNITUDE = 0.5, 2, LEVELS
"""What timm takes where ``--aa`` says nothing else."""
WIDEST, EVENLY = 100.0, 101.0
"""The widest ``mstd``; and one with which timm draws evenly from 0 to the magnitude."""
ORIGINALS = ("original", "originalr")
THREE = "3a"
JITTER = 0.3
"""What 3-Augment's ``--color-jitter`` is."""
BLUR = Difference("gaussian_blur", "as wide as for images of 224 pixels, by timm's rule")


@dataclass(frozen=True, slots=True)
class _Rand:
    """The sections of ``rand-…``, in timm's units."""

    layers: int
    level: float
    probability: float = 1.0
    spread: float = 0.0
    """``mstd``; above 100: evenly from 0 to the level."""

    def __str__(self) -> str:
        probability, spread = _plainly(self.probability), _plainly(self.spread)
        return f"rand-m{round(self.level)}-n{self.layers}-p{probability}-mstd{spread}-inc1"


def _plainly(value: float) -> str:
    """A number without an exponent, whose dash timm would take for the next section's."""
    whole, _, part = f"{value:.9f}".partition(".")
    return f"{whole}.{part.rstrip('0') or '0'}"


def says(policy: Policy) -> bool:
    """Whether timm can say such choices, or comes near to them."""
    return _named(policy) is not None or _rand_of(policy) is not None


def written_aa(policy: Policy) -> tuple[str, float, list[Difference]]:
    """The value of ``--aa``, that of ``--color-jitter`` with it, and what is not as the policy says.

    The policy draws operations, and where their choices are more than names ``says`` is true of them.
    """
    named = _named(policy)
    if named is not None:
        return named
    rand = _rand_of(policy)
    assert rand is not None, "says(policy) must be true"
    near = [] if rand.level == round(rand.level) else [_rounded(policy, rand)]
    return str(rand), 0, near + _drawn_otherwise(policy)


def _named(policy: Policy) -> tuple[str, float, list[Difference]] | None:
    """The named set of sub-policies that the policy draws from, if it is one."""
    if policy.num_ops != 1 or policy.ranges != "standard":
        return None
    for name in ORIGINALS:
        if policy.operations == original(name):
            return name, 0, sampled_otherwise(policy, ())
    if policy.operations == Policy.named("autoaugment-imagenet").operations:
        words = "in tenths of the range and not in ninths; of color, contrast and sharpness with one sign"
        return ORIGINALS[0], 0, [Difference("magnitudes", words), *sampled_otherwise(policy, ())]
    if policy.operations == Policy.named("3-augment").operations:
        return THREE, JITTER, [BLUR]
    return None


def _rand_of(policy: Policy) -> _Rand | None:
    """``rand-…`` for it: all choices are operations with the same probability and strength; else None."""
    own = own_choices(policy)
    if not own:
        evenly = policy.magnitude == "random"
        level = LEVELS if policy.magnitude == "random" else policy.magnitude * LEVELS / MAX_MAGNITUDE
        return _Rand(policy.num_ops, level, 1.0, EVENLY if evenly else 0.0)
    entries = [OwnOperation(name=one) if isinstance(one, str) else one for one in own]
    if not all(isinstance(one, OwnOperation) for one in entries):
        return None
    strengths, others = set[tuple[float, float]](), set[tuple[float, float]]()
    for one in entries:
        assert isinstance(one, OwnOperation)
        if one.value is not None or one.signed is not None:
            return None
        others.add((one.weight, one.probability))
        if one.operation.standard is not None:
            if one.magnitude is None and policy.magnitude == "random":
                strengths.add((MAX_MAGNITUDE, EVENLY))
            elif one.magnitude is None:
                strengths.add((float(policy.magnitude), 0.0))
            elif one.span[0] == one.span[1]:
                spread = (one.sd or 0) * LEVELS / MAX_MAGNITUDE
                strengths.add((one.span[0], spread if spread <= WIDEST else math.nan))
            else:
                strengths.add((one.span[1], EVENLY if one.span[0] == 0 else math.nan))
    names = [one.name for one in entries if isinstance(one, OwnOperation)]
    if len(strengths) != 1 or len(others) != 1 or len(set(names)) != len(names):
        return None
    ((strength, spread),), ((_, probability),) = strengths, others
    if math.isnan(spread):
        return None
    return _Rand(policy.num_ops, strength * LEVELS / MAX_MAGNITUDE, probability, spread)


def _rounded(policy: Policy, rand: _Rand) -> Difference:
    level = round(rand.level)
    strength = rand.level * MAX_MAGNITUDE / LEVELS
    return Difference(f"magnitude {strength:g}", f"timm's {level}, which is {level * 3}")


def _drawn_otherwise(policy: Policy) -> list[Difference]:
    """What of the drawn operations is not as timm draws them."""
    near, names = [], operation_names(policy)
    if policy.magnitude == "random" and not own_choices(policy):
        near.append(Difference("magnitude random", "drawn evenly, and not in 31 steps"))
    if policy.ranges == "wide":
        near.append(Difference("wide ranges", "the standard ones"))
    missing = [name for name in names if name not in NAMES]
    added = [name for name in NAMES if name not in names]
    if missing:
        near.append(Difference(f"operations {', '.join(missing)}", "never drawn"))
    near.append(Difference("operations", f"also drawn: {', '.join([*added, 'SolarizeAdd'])}"))
    near += [Difference(name, words, name) for name, words in OTHERWISE.items() if name in names]
    return near + sampled_otherwise(policy, names)


def sampled_otherwise(policy: Policy, names: tuple[str, ...]) -> list[Difference]:
    """How timm's warps meet pixels, where that is not as the policy says."""
    drawn = names or operation_names(policy)
    if not any(OPERATIONS[name].kind == "warp" for name in drawn):
        return []
    if (policy.interpolation, policy.border) != ("bilinear", "fill"):
        return [Difference("interpolation and border", "as --train-interpolation, filled by the mean colour")]
    return [Difference("fill", "the mean colour")]


def read_aa(text: str, jitter: float, near: list[Difference]) -> dict[str, Any]:
    """What ``--aa`` with a ``--color-jitter`` says of a policy; what it doesn't goes into ``near``.

    Raises:
        UserError: it is nothing that can become a policy.
    """
    name, *sections = text.split("-")
    if name == "rand":
        return _read_rand(text, sections, near)
    if name not in (*ORIGINALS, THREE):
        raise UserError(
            f"--aa {short(text)}: only rand-…, {', '.join(ORIGINALS)} and {THREE} become policies"
        )
    for section in sections:
        key = section.rstrip("0123456789.")
        if key != "mstd":
            raise UserError(f"--aa: {short(section)} is no section of {name}")
        if number(f"--aa {key}", [section[len(key) :]]):
            near.append(Difference(short(section), "the strengths are always the same"))
    if name != THREE:
        return {"num_ops": 1, "operations": original(name)}
    near.append(BLUR)
    if jitter != JITTER:
        near.append(Difference(f"--color-jitter {jitter:g}", f"{JITTER}, as in 3-Augment"))
    return {"num_ops": 1, "operations": Policy.named("3-augment").operations}


def _read_rand(text: str, sections: list[str], near: list[Difference]) -> dict[str, Any]:
    """What ``rand-m9-n2-mstd0.5-inc1`` says."""
    said: dict[str, float] = {}
    for section in sections:
        key = section.rstrip("0123456789.")
        if key not in ("m", "n", "p", "mstd", "mmax", "inc") or key in said:
            raise UserError(f"--aa: {short(section)} is no section of rand that a policy can say")
        said[key] = number(f"--aa {key}", [section[len(key) :]])
    level, layers = said.get("m", MAGNITUDE), said.get("n", LAYERS)
    if layers != int(layers) or level != int(level) or level > said.get("mmax", LEVELS):
        raise UserError(f"--aa {short(text)}: m must be a whole number from 0 to {LEVELS}, n a whole number")
    if said.get("mmax", LEVELS) != LEVELS:
        raise UserError("--aa: mmax is nothing that a policy can say; leave it out")
    if not said.get("inc"):
        near.append(Difference("inc0", "strengths that grow with the magnitude"))
    near.append(Difference("SolarizeAdd", "left out"))
    near += [Difference(name, words) for name, words in OTHERWISE.items()]
    spread, probability = said.get("mstd", 0.0), said.get("p", PROBABILITY)
    strength = int(level) * MAX_MAGNITUDE // LEVELS
    fields = {"num_ops": int(layers), "magnitude": strength, "operations": list(NAMES)}
    if probability == 1 and not spread:
        return fields
    own: dict[str, Any] = {}
    if spread > WIDEST:
        own = {"magnitude": [0, strength]}
    elif spread:
        own = {"magnitude": strength, "sd": spread * MAX_MAGNITUDE / LEVELS}
    return fields | {"operations": [_own(name, probability, own) for name in NAMES]}


def _own(name: str, probability: float, strength: dict[str, Any]) -> dict[str, Any]:
    has = OPERATIONS[name].standard is not None
    return {"name": name, "probability": probability} | (strength if has else {})


@cache
def original(name: str) -> tuple[Choice, ...]:
    """timm's AutoAugment: the paper's sub-policies, by timm's strengths; ``originalr`` posterizes more."""
    sequences = [
        {"sequence": [_sub_policy(one, name) for one in line.split("+")]}
        for line in IMAGENET.split("\n")
        if line
    ]
    return Policy.model_validate({"num_ops": 1, "operations": sequences}).operations


def _sub_policy(text: str, table: str) -> dict[str, Any]:
    name, probability, *levels = text.split()
    own: dict[str, Any] = {"name": name, "probability": float(probability)}
    for level in map(int, levels):
        quarter = 4 * level // LEVELS
        if name == "posterize":
            own["value"] = quarter + 4 if table == "original" else 4 - quarter
        elif name == "solarize":
            own["value"] = (256 * level // LEVELS) / 255
        elif name in ("rotate", "shear_x"):
            own["magnitude"] = level * MAX_MAGNITUDE // LEVELS
        else:  # a factor of 0.1 to 1.9
            own |= {"value": round(0.18 * level - 0.9, 2), "signed": False}
    return own


def numbers(flag: str, values: list[str], count: int) -> list[float]:
    """The ``count`` numbers that follow a flag.

    Raises:
        UserError: something else does, or another count of them.
    """
    try:
        found = [float(value) for value in values]
    except ValueError:
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        wanted = "a number" if count == 1 else f"{count} numbers"
        raise UserError(f"{flag} must be {wanted}, got {short(' '.join(values)) or 'nothing'}")
    return found


def number(flag: str, values: list[str]) -> float:
    """The one number that follows a flag; raises as ``numbers`` does."""
    return numbers(flag, values, 1)[0]


def short(word: str) -> str:
    """A stranger's word, for a message."""
    return "".join(letter for letter in word if letter.isprintable())[:40]
