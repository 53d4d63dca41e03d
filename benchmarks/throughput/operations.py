"""Operation by operation: ours against the fastest way of every peer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from augsearch.policies import OPERATIONS, Policy
from augsearch.policies.effects import Kernel, Size, Table
from augsearch.policies.sampling import Interpolation
from benchmarks.images import Images
from benchmarks.throughput import peers
from benchmarks.throughput.peers import BILINEAR, NEAREST, Strengths, Ways
from benchmarks.throughput.randaugment import our_batch_size, peers_batch_size
from benchmarks.throughput.timing import Contestant, Form

MAGNITUDE = 9

EXACT = 0.05
"""Grey levels: the same pixels, but for a few that lie on an edge."""
ROUNDING = 0.6
"""Grey levels: some round where others cut off."""


@dataclass(frozen=True)
class Job:
    """One row of the table."""

    name: str
    operations: tuple[str, ...]
    """Ours: as many as are drawn for every image."""
    interpolation: Interpolation = NEAREST
    tolerance: float | None = ROUNDING
    """How far the peers' images may be from ours in the mean, in grey levels, borders aside; None where
    place or shape are drawn at random."""

    @property
    def policy(self) -> Policy:
        """Ours, always drawn."""
        return Policy(
            num_ops=len(self.operations),
            magnitude=MAGNITUDE,
            operations=self.operations,
            interpolation=self.interpolation,
        )


JOBS = [
    Job("rotate", ("rotate",), tolerance=EXACT),
    Job("rotate, bilinear", ("rotate",), BILINEAR),
    # About the top left corner here, in Pillow, torchvision and kornia; elsewhere about the middle.
    Job("shear_x", ("shear_x",), tolerance=None),
    Job("translate_x", ("translate_x",), tolerance=EXACT),
    Job("brightness", ("brightness",)),
    Job("contrast", ("contrast",)),
    # Two draws from the two: half of the images get both, the others one of them twice.
    Job("brightness + contrast", ("brightness", "contrast"), tolerance=2 * ROUNDING),
    Job("color", ("color",)),
    Job("posterize", ("posterize",), tolerance=EXACT),
    Job("solarize", ("solarize",), tolerance=EXACT),
    Job("auto_contrast", ("auto_contrast",)),
    # OpenCV's formula, which AlbumentationsX uses, is not PIL's.
    Job("equalize", ("equalize",), tolerance=2),
    Job("sharpness", ("sharpness",)),
    Job("invert", ("invert",), tolerance=EXACT),
    Job("gamma", ("gamma",)),
    # Pillow's is three running means.
    Job("gaussian_blur", ("gaussian_blur",), tolerance=2 * ROUNDING),
    Job("flip_horizontal", ("flip_horizontal",), tolerance=EXACT),
    Job("grey", ("grey",)),
    Job("cutout", ("cutout",), tolerance=None),
    Job("perspective", ("perspective",), tolerance=None),
]


def jobs() -> list[Job]:
    """The jobs whose operations exist."""
    return [job for job in JOBS if set(job.operations) <= set(OPERATIONS)]


def strengths(side: int) -> Strengths:
    """Magnitude 9 for images of this size, gamma and blur read off what ours do."""
    found: dict[str, Any] = {}
    gamma = _effect("gamma", side)
    if isinstance(gamma, Table):
        found["gamma"] = round(math.log(gamma.entries[128] / 255) / math.log(128 / 255), 2)
    blur = _effect("gaussian_blur", side)
    if isinstance(blur, Kernel):
        middle = len(blur.taps) // 2
        ratio = blur.taps[middle + 1] / blur.taps[middle]
        found |= {"taps": len(blur.taps), "sigma": math.sqrt(-1 / (2 * math.log(ratio)))}
    return Strengths(side, **found)


def _effect(name: str, side: int) -> Any:
    operation = OPERATIONS.get(name)
    if operation is None:
        return None
    size = Size(side, side)
    return operation.effect(operation.value(MAGNITUDE, "standard", size), [0.5] * operation.noise, size)


def ours(job: Job, images: Images) -> list[Contestant]:
    """Ours, image by image and by the batch."""
    size = our_batch_size(images.side)
    return [
        Contestant("augsearch", job.policy.transform(seed=0), images.arrays, "array", path="numba"),
        Contestant(
            "augsearch",
            job.policy.batch_transform(seed=0),
            images.batches(size),
            "batch of arrays",
            path="numba",
        ),
    ]


@dataclass(frozen=True)
class Peer:
    """One library in one of its forms, with all its ways."""

    library: str
    ways: Ways
    inputs: Sequence[Any]
    form: Form
    draws: Literal["image", "batch"] = "image"

    def contestant(self, job: Job) -> Contestant:
        """It, doing this job."""
        way = self.ways[job.name]
        return Contestant(self.library, way, self.inputs, self.form, job.interpolation, self.draws)


def all_peers(images: Images) -> list[Peer]:
    """Every peer for images of this size, made once for all jobs."""
    strength = strengths(images.side)
    size = min(peers_batch_size(images.side), len(images.arrays))
    torchvision, augrs = peers.torchvision_tensor(strength), peers.augrs_py(strength)
    one = {name: peers.one_image(pipeline) for name, pipeline in augrs.items()}
    many = {name: peers.one_batch(pipeline) for name, pipeline in augrs.items()}
    kornia = peers.kornia_batch(strength, size)
    tensors, floats = images.tensor_batches(size), images.float_batches(size)
    return [
        Peer("Pillow", peers.pillow(strength), images.pictures, "PIL image"),
        Peer("torchvision v2", torchvision, images.tensors, "tensor"),
        Peer("torchvision v2", torchvision, tensors, "batch of tensors", draws="batch"),
        Peer("AlbumentationsX", peers.albumentationsx(strength), images.arrays, "array"),
        Peer("augrs-py", one, images.arrays, "array"),
        Peer("augrs-py", many, images.batches(size), "batch of arrays"),
        Peer("kornia", kornia, floats, "batch of float tensors"),
    ]


def contestants(job: Job, images: Images, rivals: Sequence[Peer]) -> list[Contestant]:
    """Ours and every peer that has the operation."""
    return [*ours(job, images), *(peer.contestant(job) for peer in rivals if job.name in peer.ways)]
