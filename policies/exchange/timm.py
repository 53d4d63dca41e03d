"""The flags of timm's ``train.py`` that say the same, where they can; and a policy from such flags."""

from __future__ import annotations

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
)
from augsearch.policies.exchange.timm_aa import (
    LEVELS,
    NAMES,
    ORIGINALS,
    THREE,
    number,
    numbers,
    read_aa,
    says,
    short,
    written_aa,
)
from augsearch.policies.mixing import Mixing
from augsearch.policies.policy import CROP_MAGNITUDE, Policy
from augsearch.policies.registry import MAX_MAGNITUDE, OPERATIONS

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
    aa, jitter, drawn = written_aa(policy) if policy.num_ops else ("", 0, [])
    flags = [f"--hflip {policy.flip_horizontal!r}", f"--vflip {policy.flip_vertical!r}"]
    flags += [f"--color-jitter {jitter:g}", f"--scale {scale}", f"--ratio {ratio}"]
    if policy.erasing is not None:
        flags.append(f"--reprob {policy.erasing.probability!r} --remode const")
        near.append(Difference("erasing", "up to a third of the area, filled with the mean colour"))
    if policy.quarter_turns:
        near.append(Difference("quarter turns", "left out"))
    if policy.num_ops:
        flags.append(f"--aa {aa}")
        near += drawn
    if policy.mixing is not None:
        mixing = policy.mixing
        flags += [f"--{mixing.kind} {mixing.alpha!r}", f"--mixup-prob {mixing.probability!r}"]
    notes = ["timm smooths labels by 0.1 unless --smoothing says otherwise"]
    if policy.mixing is not None:
        notes.append("images are mixed with those at the other end of the batch, so the loader must shuffle")
    return Written("\n".join(flags) + "\n", tuple(near), tuple(notes))


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
    return first.startswith(("--", "rand-", *ORIGINALS))


USUAL_NOTE = (
    "timm's train.py mirrors half of the images and enlarges parts of 8 % or more where no flag says "
    "otherwise: give --hflip 0.5 --scale 0.08 1.0 too where it did"
)


def _read(text: str) -> Read:
    flags = _flags(_words(text))
    near: list[Difference] = []
    fields: dict[str, Any] = {"num_ops": 0}
    for flag, field in PLAIN.items():
        if flag in flags:
            fields[field] = number(flag, flags[flag])
    erased = number("--reprob", flags.get("--reprob", ["0"]))
    if erased:
        fields["erasing"] = {"probability": erased}
        near.append(Difference("--reprob", "filled with black"))
    jitter = number("--color-jitter", flags.get("--color-jitter", ["0"]))
    aa = " ".join(flags.get("--aa", []))
    if jitter and not aa.startswith(THREE):
        near.append(Difference("--color-jitter", "left out"))
    fields |= _cropping(flags, near)
    fields["mixing"] = _mixing(flags)
    if "--aa" in flags:
        fields |= read_aa(aa, jitter, near)
    says_all = {"--hflip", "--scale"} <= flags.keys() or flags.keys() <= {"--aa"}
    notes = () if says_all else (USUAL_NOTE,)
    try:
        return Read(Policy.model_validate(fields), tuple(near), notes=notes)
    except ValidationError as error:
        raise UserError(explain(error)) from None


def _cropping(flags: dict[str, list[str]], near: list[Difference]) -> dict[str, Any]:
    """What ``--scale`` and ``--ratio`` say of a policy; what they don't goes into ``near``."""
    scale = numbers("--scale", flags.get("--scale", ["1.0", "1.0"]), 2)
    given = "--ratio" in flags
    ratio = numbers("--ratio", flags["--ratio"] if given else RATIO.split(), 2)
    if scale == [1.0, 1.0]:
        if given and ratio != [1.0, 1.0]:
            near.append(Difference("--ratio", "left out"))
        return {}
    if ratio == [1.0, 1.0]:
        near.append(Difference("--scale", "the crop of a policy: a shift by up to an eighth"))
        return {"crop": 1.0}
    if scale[1] != 1:
        near.append(Difference("--scale", "up to the whole image"))
    if not np.allclose(ratio, [float(side) for side in RATIO.split()], atol=0.01):
        near.append(Difference("--ratio", "3/4 to 4/3"))
    return {"resized_crop": {"smallest": scale[0]}}


def _flags(words: list[str]) -> dict[str, list[str]]:
    """The values of each flag."""
    if words and words[0].startswith(("rand-", *ORIGINALS)):
        words = ["--aa", *words]
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            if flag not in KNOWN:
                known = ", ".join(sorted(KNOWN))
                raise UserError(f"{short(flag)} is no flag that augsearch import knows; it takes {known}")
            if flag in found:
                raise UserError(f"{flag} is there twice; leave one of them")
            current = found[flag] = [value] if equals else []
        elif current is None:
            raise UserError(f"{short(word)} stands before any flag; begin with --aa")
        else:
            current.append(word)
    return found


def _mixing(flags: dict[str, list[str]]) -> Mixing | None:
    alphas = {
        kind: number(f"--{kind}", flags[f"--{kind}"]) for kind in ("mixup", "cutmix") if f"--{kind}" in flags
    }
    used = {kind: alpha for kind, alpha in alphas.items() if alpha}
    if len(used) > 1:
        raise UserError("--mixup and --cutmix are both on, and a policy has one of them; set one to 0")
    probability = number("--mixup-prob", flags.get("--mixup-prob", [str(MIXUP_PROB)]))
    for kind, alpha in used.items():
        try:
            return Mixing.model_validate({"kind": kind, "alpha": alpha, "probability": probability})
        except ValidationError as error:
            raise UserError(f"--{kind}: {explain(error)}") from None
    return None


def _stand_in(policy: Policy, name: str, magnitude: int, negative: bool) -> ImageChange | None:
    from PIL import Image
    from timm.data import auto_augment

    resample = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}[
        policy.interpolation
    ]
    hparams = {"interpolation": resample, "img_mean": policy.fill}
    library: Any = auto_augment  # without types
    operation = library.AugmentOp(
        NAMES[name], prob=1.0, magnitude=round(magnitude * LEVELS / MAX_MAGNITUDE), hparams=hparams
    )

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
    says_choices=says,
    stand_in=_stand_in,
)
