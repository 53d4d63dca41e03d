"""Policies from other libraries' forms, and how far off is what stands in for what a form can't say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import OPERATIONS, Policy, PolicyFile, UserError, write_policy
from augsearch.policies.choices import names_in
from augsearch.policies.errors import check_readable, writing
from augsearch.policies.exchange.form import Difference, Form, Read, forms, recognised
from augsearch.policies.json_files import POLICY_FILE
from augsearch.policies.planner import DrawnOperation
from augsearch.search.pipelines.preview import training_images
from augsearch.search.space.describe import describe_policy

MEASURED_MAGNITUDES = (6, 15, 24)
"""Where strengths are drawn, or a choice's own, what stands in for an operation is measured at these."""
MOST_IMAGES = 16
SAMPLES = ("china.jpg", "flower.jpg")
SAMPLE_SIDE = 192
LARGEST_TEXT = 2**22
"""Bytes of a foreign file."""


def in_words(file: PolicyFile, form: Form, differences: Sequence[Difference], data: str | None) -> list[str]:
    """Each difference with how far off it is, in grey levels on images of ``data`` or two sample photos."""
    measurable = [one for one in differences if one.operation and form.stand_in is not None]
    if not measurable:
        return [str(one) for one in differences]
    images, where = _images(file, data)
    return [
        f"{one}; {_off(file.policy, form, one.operation, images, where)}" if one in measurable else str(one)
        for one in differences
    ]


def _off(policy: Policy, form: Form, name: str, images: Sequence[NDArray[np.uint8]], where: str) -> str:
    """How far off the form's stand-in for an operation is: the mean of what each pixel differs by."""
    assert form.stand_in is not None
    varied = any(not isinstance(choice, str) and name in names_in([choice]) for choice in policy.operations)
    magnitudes = MEASURED_MAGNITUDES if policy.magnitude == "random" or varied else (policy.magnitude,)
    signs = (False, True) if OPERATIONS[name].signed else (False,)
    noise = (0.5,) * OPERATIONS[name].noise
    means: list[float] = []
    for magnitude in magnitudes:
        for negative in signs:
            try:
                change = form.stand_in(policy, name, magnitude, negative)
            except ImportError as error:
                return f"how far off was not measured: {error.name} is not installed"
            if change is None:
                change = np.copy
            for image in images:
                own = policy.apply((DrawnOperation(name, magnitude, negative, noise),), image)
                means.append(float(np.abs(own.astype(int) - change(image)).mean()))
    return f"{np.mean(means):.1f} grey levels off on average, on {where}"


def _images(file: PolicyFile, data: str | None) -> tuple[list[NDArray[np.uint8]], str]:
    if data is None:
        from sklearn.datasets import load_sample_image

        photos = [load_sample_image(name) for name in SAMPLES]
        cut = [np.ascontiguousarray(photo[:SAMPLE_SIDE, :SAMPLE_SIDE]) for photo in photos]
        return cut, "scikit-learn's two photos"
    images = training_images(file, data, MOST_IMAGES)
    colour = [np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image for image in images]
    return colour, f"{len(images)} images of {data}"


def import_policy(source: str, output: Path, *, approximate: bool) -> str:
    """Write the policy file of what another library reads; returns lines that say what it is.

    Args:
        source: a file, or timm's flags as they are.
        output: the policy file.
        approximate: whether what a policy can't say may be left to what comes near.

    Raises:
        UserError: it can't be read, or a policy can't say it.
    """
    text, where = _text_of(source)
    if POLICY_FILE.name in text[:200]:
        raise UserError(f"{where}: is a policy file already, which every command takes as it is")
    form = recognised(text)
    if form is None or form.read is None:
        readable = ", ".join(one.name for one in forms().values() if one.read is not None)
        raise UserError(f"{where}: nothing that augsearch import can read; it takes forms of {readable}")
    try:
        found = form.read(text)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if found.differences and not approximate:
        listed = "; ".join(map(str, found.differences))
        raise UserError(f"{where}: a policy can't say all of it: {listed}; --approximate takes it so")
    if output.exists() and Path(source).exists() and output.samefile(source):
        raise UserError(f"{output}: is the file to import itself; give another --output")
    with writing(output):
        write_policy(PolicyFile(policy=found.policy, provenance=_origin(where, form, found)), output)
    lines = [f"{output}: {form.name} → {describe_policy(found.policy)}"]
    lines += [f"  approximated: {one}" for one in found.differences]
    return "\n".join([*lines, *(f"  {note}" for note in found.notes)])


def _text_of(source: str) -> tuple[str, str]:
    """The text to read, and what to call it."""
    path = Path(source)
    if not path.exists() and source.startswith(("rand-", "original", "--")):
        return source, "the flags given"
    check_readable(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UserError(f"{source}: {reason}; give a file, or timm's flags in quotes") from None
    if len(content) > LARGEST_TEXT:
        raise UserError(f"{source}: larger than {LARGEST_TEXT >> 20} MiB, so no policy")
    try:
        return content.decode("utf-8"), source
    except UnicodeDecodeError:
        raise UserError(f"{source}: not a text file; give what augsearch export wrote") from None


def _origin(where: str, form: Form, found: Read) -> dict[str, Any]:
    origin: dict[str, Any] = {"imported_from": where, "form": form.name}
    if found.differences:
        origin["approximated"] = [str(one) for one in found.differences]
    return origin
