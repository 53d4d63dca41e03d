"""RandAugment (2, 9) in every library, with the same fourteen operations at the same strengths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import albumentations
import kornia
from kornia.augmentation import AugmentationSequential, RandomCrop, RandomHorizontalFlip
from kornia.augmentation.auto import RandAugment as KorniaRandAugment
from kornia.augmentation.auto.operations import Invert
from kornia.augmentation.auto.operations.policy import PolicySequential
from PIL import Image
from timm.data.auto_augment import RandAugment as TimmRandAugment
from timm.data.auto_augment import rand_augment_ops
from torchvision.transforms import v2

from augsearch.policies import RANDAUGMENT, Policy
from augsearch.policies.backends.engine import Engine
from augsearch.policies.sampling import Interpolation
from augsearch.policies.tensor import TensorPolicy
from benchmarks.images import Images
from benchmarks.throughput.peers import (
    BILINEAR,
    NEAREST,
    THRESHOLD,
    Strengths,
    Way,
    albumentations_transforms,
    one_image,
)
from benchmarks.throughput.timing import Contestant, Form

OUR_PATHS: tuple[Engine, ...] = ("numba", "opencv")
ARRAY: Form = "array"
PICTURE: Form = "PIL image"
TENSOR: Form = "tensor"
ARRAYS: Form = "batch of arrays"


def peers_batch_size(side: int) -> int:
    """Images in the batches of torchvision and kornia: 64, and 16 at 224 px.

    There 64 float images are so large that each step of an operation gets its memory anew from the system,
    and kornia comes to a tenth of the rate that it reaches with 16.
    """
    return 64 if side < 200 else 16


def our_batch_size(side: int) -> int:
    """Images in our batches: what a training takes at this size."""
    return 256 if side < 200 else 64


def contestants(images: Images, *, cropped: bool = False) -> list[Contestant]:
    """Everyone who has RandAugment, with nearest and with bilinear sampling.

    ``cropped``: after a crop that was padded by an eighth of the side, and a flip with probability ½.
    """
    return [
        contestant
        for interpolation in (NEAREST, BILINEAR)
        for contestant in (*_ours(images, interpolation, cropped), *_peers(images, interpolation, cropped))
    ]


def _ours(images: Images, interpolation: Interpolation, cropped: bool) -> list[Contestant]:
    policy = _policy(interpolation, cropped)
    size = our_batch_size(images.side)
    ours = [
        Contestant("augsearch", transform, inputs, form, path=path)
        for path in OUR_PATHS
        for transform, inputs, form in (
            (policy.transform(seed=0), images.arrays, ARRAY),
            (policy.transform(seed=0), images.pictures, PICTURE),
            (policy.transform(seed=0), images.tensors, TENSOR),
            (policy.batch_transform(seed=0), images.batches(size), ARRAYS),
        )
    ]
    tensor_policy = our_tensor_policy(interpolation, cropped=cropped)
    ours.append(Contestant("augsearch", tensor_policy, images.tensor_batches(size), "batch of tensors"))
    return [replace(contestant, interpolation=interpolation) for contestant in ours]


def our_tensor_policy(interpolation: Interpolation, *, cropped: bool = False) -> Way:
    """Ours for batches of tensors on any device."""
    return TensorPolicy(_policy(interpolation, cropped), seed=0)


def _policy(interpolation: Interpolation, cropped: bool) -> Policy:
    crop, flip = (1.0, 0.5) if cropped else (0.0, 0.0)
    return Policy(num_ops=2, magnitude=9, interpolation=interpolation, crop=crop, flip_horizontal=flip)


def _peers(images: Images, interpolation: Interpolation, cropped: bool) -> list[Contestant]:
    side = images.side
    torchvision, timm = torchvision_randaugment(interpolation), timm_randaugment(interpolation)
    kornia: Any = kornia_randaugment(interpolation)
    if cropped:
        before = [v2.RandomCrop(side, padding=side // 8), v2.RandomHorizontalFlip()]
        torchvision, timm = v2.Compose([*before, torchvision]), v2.Compose([*before, timm])
        kornia = AugmentationSequential(
            RandomCrop((side, side), padding=side // 8), RandomHorizontalFlip(), kornia, data_keys=["input"]
        )
    albumentationsx = albumentations_randaugment(Strengths(side), interpolation, cropped=cropped)
    size = peers_batch_size(side)
    tensors, floats = images.tensor_batches(size), images.float_batches(size)
    peers = [
        Contestant("torchvision v2", torchvision, images.pictures, "PIL image"),
        Contestant("torchvision v2", torchvision, images.tensors, "tensor"),
        Contestant("torchvision v2", torchvision, tensors, "batch of tensors", draws="batch"),
        Contestant("timm", timm, images.pictures, "PIL image"),
        Contestant("AlbumentationsX", albumentationsx, images.arrays, "array"),
        Contestant("kornia", kornia, floats, "batch of float tensors", draws="batch"),
    ]
    return [replace(contestant, interpolation=interpolation) for contestant in peers]


def timm_randaugment(interpolation: Interpolation) -> Way:
    """timm's RandAugment with the work of torchvision's.

    As it comes, "rand-m9-n2-mstd0.5" is another thing: each operation is done half of the time, its
    magnitudes go to 10, so that 9 rotates by 27°, and it draws bilinear or bicubic sampling. Here every
    operation is done, 3 of 10 is 9 of 30, the sampling is said, and the operations are torchvision's.
    """
    sampling = {NEAREST: Image.Resampling.NEAREST, BILINEAR: Image.Resampling.BILINEAR}[interpolation]
    options = {"img_mean": (0, 0, 0), "interpolation": sampling}
    increasing = ("Solarize", "Color", "Contrast", "Brightness", "Sharpness")
    names = (
        *("AutoContrast", "Equalize", "Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"),
        *(f"{name}Increasing" for name in increasing),
    )
    operations = rand_augment_ops(3, prob=1.0, hparams=options, transforms=list(names))
    # Seven bits; its "increasing" scale would keep three.
    operations += rand_augment_ops(7.5, prob=1.0, hparams=options, transforms=["PosterizeOriginal"])
    randaugment: Any = TimmRandAugment  # it has no types
    way: Way = randaugment([*operations, lambda image: image], num_layers=2)
    return way


def albumentations_randaugment(
    strengths: Strengths, interpolation: Interpolation, *, cropped: bool = False
) -> Way:
    """AlbumentationsX has no RandAugment; the same fourteen operations, two of them for each image."""
    transforms = albumentations_transforms(strengths, least=-1, interpolation=interpolation)
    some = albumentations.SomeOf([transforms[name] for name in RANDAUGMENT], n=2, replace=True, p=1)
    side = strengths.side
    padded = side + 2 * (side // 8)
    before = [
        albumentations.PadIfNeeded(padded, padded, border_mode=0, p=1),
        albumentations.RandomCrop(side, side, p=1),
        albumentations.HorizontalFlip(p=0.5),
    ]
    return one_image(albumentations.Compose([*(before if cropped else ()), some], telemetry=False))


KORNIA_POLICY: list[tuple[str, float, float | None]] = [
    ("identity", 0, 1),
    ("auto_contrast", 0, 1),
    ("equalize", 0, 1),
    ("rotate", -30.0, 30.0),
    # The values below come out at 9 of 30 as torchvision's: 7 bits, 0.7 of 255, a factor of 1.27.
    ("posterize", 4.7, 8.0),
    ("solarize", THRESHOLD, THRESHOLD),
    ("color", 1.0, 1.9),
    ("contrast", 1.0, 1.9),
    ("brightness", 1.0, 1.9),
    ("sharpness", 1.0, 1.9),
    # It multiplies by 180 and takes degrees.
    ("shear_x", -0.0952, 0.0952),
    ("shear_y", -0.0952, 0.0952),
    ("translate_x", -150 / 331, 150 / 331),
    ("translate_y", -150 / 331, 150 / 331),
]


class _KorniaRandAugment(KorniaRandAugment):
    """kornia's, which knows no identity, with one."""

    def compose_subpolicy_sequential(self, subpolicy: Any) -> PolicySequential:
        if subpolicy[0][0] == "identity":
            return PolicySequential(Invert(0.0))
        return super().compose_subpolicy_sequential(subpolicy)


def kornia_randaugment(interpolation: Interpolation) -> KorniaRandAugment:
    """kornia's RandAugment with torchvision's operations and magnitudes.

    It draws two operations for the whole batch and only the signs for each image, which is less work for
    it and less variety for the network. Brightness, contrast and colour follow formulas of its own. Without
    the matrices that an inverse would need it is faster.
    """
    policy = [[entry] for entry in KORNIA_POLICY]
    augment = _KorniaRandAugment(2, 9, policy, transformation_matrix_mode="skip")
    for module in augment.modules():
        flags = getattr(module, "flags", {})
        if "resample" in flags:
            flags["resample"] = kornia.constants.Resample.get(interpolation)
    return augment


def torchvision_randaugment(interpolation: Interpolation) -> Way:
    """torchvision's, for PIL images, tensors and, with one draw for all, batches of tensors."""
    randaugment: Way = v2.RandAugment(2, 9, interpolation=v2.InterpolationMode(interpolation))
    return randaugment
