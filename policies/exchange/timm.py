"""The flags of timm's ``train.py`` that say the same, where they can; and a policy from such flags."""

from __future__ import annotations

import math
import shlex
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from augsearch.policies.errors import UserError, explain
from augsearch.policies.exchange.form import (
    FIELDS,
    Difference,
    Form,
    ImageChange,
    Read,
    Written,
    operation_names,
)
from augsearch.policies.mixing import Mixing
from augsearch.policies.policy import CROP_MAGNITUDE, Policy
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
PLAIN = {"--hflip": "flip_horizontal", "--vflip": "flip_vertical"}
KNOWN = {
    *PLAIN,
    "--aa",
    "--mixup",
    "--cutmix",
    "--mixup-prob",
    "--color-jitter",
    "--reprob",
    "--remode",
    "--scale",
    "--ratio",
}
RATIO = "0.75 1.3333333333333333"
"""timm's own, and a policy's."""
MIXUP_PROB = 1.0
PROBABILITY, LAYERS, MAGNITUDE = 0.5, 2, LEVELS
"""What timm takes where ``--aa`` says nothing else."""


def _write(policy: Policy) -> Written:
    near: list[Difference] = []
    scale, ratio = "1.0 1.0", "1.0 1.0"
    if policy.resized_crop is not None:
        scale, ratio = f"{policy.resized_crop.smallest!r} 1.0", RATIO
        if policy.crop:
            near.append(Difference("crop", "left out, beside the resized crop"))
    elif policy.crop:
        share = (1 - OPERATIONS["crop"].value_between(CROP_MAGNITUDE, "standard")) ** 2
        scale = f"{share:.3g} 1.0"
        near.append(Difference("crop", f"{share:.0%} to 100 % of the area is cut out and enlarged, always"))
    flags = [f"--hflip {policy.flip_horizontal!r}", f"--vflip {policy.flip_vertical!r}", "--color-jitter 0"]
    flags += [f"--scale {scale}", f"--ratio {ratio}"]
    if policy.erasing is not None:
        flags.append(f"--reprob {policy.erasing.probability!r} --remode const")
        near.append(Difference("erasing", "up to a third of the area, filled with the mean colour"))
    if policy.quarter_turns:
        near.append(Difference("quarter turns", "left out"))
    if policy.num_ops:
        flags.append(f"--aa {_rand(policy)}")
        near += _drawn_otherwise(policy)
    if policy.mixing is not None:
        mixing = policy.mixing
        flags += [f"--{mixing.kind} {mixing.alpha!r}", f"--mixup-prob {mixing.probability!r}"]
    notes = ["timm smooths labels by 0.1 unless --smoothing says otherwise"]
    if policy.mixing is not None:
        notes.append("images are mixed with those at the other end of the batch, so the loader must shuffle")
    return Written("\n".join(flags) + "\n", tuple(near), tuple(notes))


def _rand(policy: Policy) -> str:
    if policy.magnitude == "random":
        return f"rand-m{LEVELS}-n{policy.num_ops}-p1.0-mstd101-inc1"
    return f"rand-m{_level(policy.magnitude)}-n{policy.num_ops}-p1.0-mstd0-inc1"


def _level(magnitude: int) -> int:
    return round(magnitude * LEVELS / MAX_MAGNITUDE)


def _drawn_otherwise(policy: Policy) -> list[Difference]:
    """What of the drawn operations is not as timm draws them."""
    near, names = [], operation_names(policy)
    if policy.magnitude == "random":
        near.append(Difference("magnitude random", "drawn evenly, and not in 31 steps"))
    elif policy.magnitude * LEVELS % MAX_MAGNITUDE:
        level = _level(policy.magnitude)
        near.append(Difference(f"magnitude {policy.magnitude}", f"timm's {level}, which is {level * 3}"))
    if policy.ranges == "wide":
        near.append(Difference("wide ranges", "the standard ones"))
    missing = [name for name in names if name not in NAMES]
    added = [name for name in NAMES if name not in names]
    if missing:
        near.append(Difference(f"operations {', '.join(missing)}", "never drawn"))
    near.append(Difference("operations", f"also drawn: {', '.join([*added, 'SolarizeAdd'])}"))
    near += [Difference(name, words, name) for name, words in OTHERWISE.items() if name in names]
    warps = any(OPERATIONS[name].kind == "warp" for name in names)
    if warps and (policy.interpolation, policy.border) != ("bilinear", "fill"):
        near.append(
            Difference("interpolation and border", "as --train-interpolation, filled by the mean colour")
        )
    elif warps:
        near.append(Difference("fill", "the mean colour"))
    return near


def _head(text: str, lines: list[str]) -> str:
    usage = ["", "python train.py DATA $(grep -v '^#' FILE)"]
    return "".join(f"# {line}".rstrip() + "\n" for line in [*lines, *usage]) + text


def _words(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    try:
        return shlex.split("\n".join(lines))
    except ValueError as error:
        raise UserError(f"no flags ({str(error).lower()})") from None


def _recognises(text: str) -> bool:
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return first.startswith(("--", "rand-"))


def _read(text: str) -> Read:
    flags = _flags(_words(text))
    near: list[Difference] = []
    fields: dict[str, Any] = {"num_ops": 0}
    for flag, field in PLAIN.items():
        if flag in flags:
            fields[field] = _number(flag, flags[flag])
    erased = _number("--reprob", flags.get("--reprob", ["0"]))
    if erased:
        fields["erasing"] = {"probability": erased}
        near.append(Difference("--reprob", "filled with black"))
    if _number("--color-jitter", flags.get("--color-jitter", ["0"])):
        near.append(Difference("--color-jitter", "left out"))
    fields |= _cropping(flags, near)
    fields["mixing"] = _mixing(flags)
    if "--aa" in flags:
        fields |= _read_rand(" ".join(flags["--aa"]), near)
    try:
        return Read(Policy.model_validate(fields), tuple(near))
    except ValidationError as error:
        raise UserError(explain(error)) from None


def _cropping(flags: dict[str, list[str]], near: list[Difference]) -> dict[str, Any]:
    """What ``--scale`` and ``--ratio`` say of a policy; what they don't goes into ``near``."""
    scale = _numbers("--scale", flags.get("--scale", ["1.0", "1.0"]))
    given = "--ratio" in flags
    ratio = _numbers("--ratio", flags["--ratio"] if given else RATIO.split())
    if scale == [1.0, 1.0]:
        if given and ratio != [1.0, 1.0]:
            near.append(Difference("--ratio", "left out"))
        return {}
    if ratio == [1.0, 1.0]:
        near.append(Difference("--scale", "the crop of a policy: a shift by up to an eighth"))
        return {"crop": 1.0}
    if len(scale) != 2 or scale[1] != 1:
        near.append(Difference("--scale", "up to the whole image"))
    if not np.allclose(ratio, [float(side) for side in RATIO.split()], atol=0.01):
        near.append(Difference("--ratio", "3/4 to 4/3"))
    return {"resized_crop": {"smallest": scale[0]}}


def _flags(words: list[str]) -> dict[str, list[str]]:
    """The values of each flag."""
    if words and words[0].startswith("rand-"):
        words = ["--aa", *words]
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            if flag not in KNOWN:
                known = ", ".join(sorted(KNOWN))
                raise UserError(f"{_short(flag)} is no flag that augsearch import knows; it takes {known}")
            if flag in found:
                raise UserError(f"{flag} is there twice; leave one of them")
            current = found[flag] = [value] if equals else []
        elif current is None:
            raise UserError(f"{_short(word)} stands before any flag; begin with --aa")
        else:
            current.append(word)
    return found


def _short(word: str) -> str:
    return "".join(letter for letter in word if letter.isprintable())[:40]


def _numbers(flag: str, values: list[str]) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise UserError(f"{flag} must be a number, got {_short(' '.join(values)) or 'nothing'}")
    return numbers


def _number(flag: str, values: list[str]) -> float:
    numbers = _numbers(flag, values)
    if len(numbers) != 1:
        raise UserError(f"{flag} must be one number, got {_short(' '.join(values))}")
    return numbers[0]


def _mixing(flags: dict[str, list[str]]) -> Mixing | None:
    alphas = {
        kind: _number(f"--{kind}", flags[f"--{kind}"]) for kind in ("mixup", "cutmix") if f"--{kind}" in flags
    }
    used = {kind: alpha for kind, alpha in alphas.items() if alpha}
    if len(used) > 1:
        raise UserError("--mixup and --cutmix are both on, and a policy has one of them; set one to 0")
    probability = _number("--mixup-prob", flags.get("--mixup-prob", [str(MIXUP_PROB)]))
    for kind, alpha in used.items():
        try:
            return Mixing.model_validate({"kind": kind, "alpha": alpha, "probability": probability})
        except ValidationError as error:
            raise UserError(f"--{kind}: {explain(error)}") from None
    return None


def _read_rand(text: str, near: list[Difference]) -> dict[str, Any]:
    """What ``rand-m9-n2-mstd0.5-inc1`` says of a policy; what it doesn't goes into ``near``."""
    name, *sections = text.split("-")
    if name != "rand":
        raise UserError(f"--aa {_short(text)}: only rand-… can become a policy")
    said: dict[str, float] = {}
    for section in sections:
        key = section.rstrip("0123456789.")
        if key not in ("m", "n", "p", "mstd", "mmax", "inc") or key in said:
            raise UserError(f"--aa: {_short(section)} is no section of rand that a policy can say")
        said[key] = _number(f"--aa {key}", [section[len(key) :]])
    level, layers = said.get("m", MAGNITUDE), said.get("n", LAYERS)
    if layers != int(layers) or level != int(level) or level > said.get("mmax", LEVELS):
        raise UserError(f"--aa {_short(text)}: m must be a whole number from 0 to {LEVELS}, n a whole number")
    if said.get("mmax", LEVELS) != LEVELS:
        raise UserError("--aa: mmax is nothing that a policy can say; leave it out")
    spread = said.get("mstd", 0.0)
    evenly = spread > 100
    if evenly:
        near.append(Difference("mstd", "magnitudes in 31 steps"))
        if level != LEVELS:
            near.append(Difference(f"m{level:g}", f"evenly up to {LEVELS}"))
    elif spread:
        near.append(Difference(f"mstd{spread:g}", "the magnitude is always the same"))
    if said.get("p", PROBABILITY) != 1:
        near.append(Difference(f"p{said.get('p', PROBABILITY):g}", "every drawn operation happens"))
    if not said.get("inc"):
        near.append(Difference("inc0", "strengths that grow with the magnitude"))
    near.append(Difference("SolarizeAdd", "left out"))
    near += [Difference(name, words) for name, words in OTHERWISE.items()]
    magnitude = "random" if evenly else int(level) * MAX_MAGNITUDE // LEVELS
    return {"num_ops": int(layers), "magnitude": magnitude, "operations": list(NAMES)}


def _stand_in(policy: Policy, name: str, magnitude: int, negative: bool) -> ImageChange | None:
    from PIL import Image
    from timm.data import auto_augment

    resample = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}[
        policy.interpolation
    ]
    hparams = {"interpolation": resample, "img_mean": policy.fill}
    library: Any = auto_augment  # without types
    operation = library.AugmentOp(NAMES[name], prob=1.0, magnitude=_level(magnitude), hparams=hparams)

    def change(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        arguments: tuple[float, ...] = (
            operation.level_fn(operation.magnitude, hparams) if operation.level_fn else ()
        )
        if OPERATIONS[name].signed:  # timm draws the sign; a factor lies around 1
            (value,) = arguments
            around = 1 if name in ("color", "contrast", "brightness", "sharpness") else 0
            size = abs(value - around)
            left = name.startswith("translate") != negative  # its positive translations go left and up
            arguments = (around - size if left else around + size,)
        return np.asarray(operation.aug_fn(Image.fromarray(image), *arguments, **operation.kwargs))

    return change


FORM = Form(
    name="timm",
    suffix=".timm.txt",
    content="the flags of timm's train.py",
    says=FIELDS,
    write=_write,
    head=_head,
    recognises=_recognises,
    read=_read,
    stand_in=_stand_in,
)
