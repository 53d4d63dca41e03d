"""Every peer's fastest fair way to do one operation.

Fair means: the same work at the same strength, a finished image that shares no memory with its input, in
the form that the library takes. What is not fair to ask is left out: reading files, normalising, the way
from PIL image to tensor. Where a library has several ways, the comment says which one is the fastest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import albumentations
import augrs
import cv2
import kornia
import numpy as np
import torch
from kornia import augmentation as kornia_augmentation
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from augsearch.policies.sampling import Interpolation

Way = Callable[[Any], Any]
Ways = dict[str, Way]
"""Ways by operation. A library that has no way to do one leaves it out."""

NEAREST: Interpolation = "nearest"
BILINEAR: Interpolation = "bilinear"

SLOPE = 0.3 * 9 / 30
DEGREES = 30 * 9 / 30
SHIFT = 150 / 331 * 9 / 30
CHANGE = 0.9 * 9 / 30
BITS = 7
THRESHOLD = 1 - 9 / 30
CUT = 0.5 * 9 / 30
REACH = 0.25 * 9 / 30
"""What magnitude 9 of 30 means in torchvision's RandAugment and, where that lacks the operation, in ours."""


@dataclass(frozen=True)
class Strengths:
    """What depends on the size of the image or on an operation of augsearch that may not exist yet."""

    side: int
    gamma: float = 1.5
    taps: int = 5
    sigma: float = 1.0

    @property
    def shift(self) -> int:
        """The translation in whole pixels, cut off as torchvision does."""
        return int(SHIFT * self.side)

    @property
    def cut(self) -> int:
        """The side of the filled square in pixels."""
        return round(CUT * self.side)

    @property
    def corner(self) -> int:
        """Where the filled square begins: in the middle, so that all of it is inside."""
        return (self.side - self.cut) // 2

    @property
    def perspective(self) -> NDArray[np.float64]:
        """Output pixel to input pixel (3, 3): every corner moved inwards or outwards by the full reach."""
        last, move = self.side - 1, REACH * self.side
        corners = np.array([[0, 0], [last, 0], [last, last], [0, last]], dtype=np.float32)
        moves = np.array([[move, move], [move, -move], [-move, move], [move, -move]], dtype=np.float32)
        return np.asarray(cv2.getPerspectiveTransform(corners, corners + moves), dtype=np.float64)


def pillow(strengths: Strengths) -> Ways:
    """Pillow itself, one PIL image. timm and torchvision's PIL transforms call it, never faster than so."""
    side, factor = strengths.side, 1 + CHANGE
    size = (side, side)
    nearest = Image.Resampling.NEAREST
    coefficients = _eight(strengths.perspective)
    # Faster than ImageEnhance.Color, which makes a grey image first and blends.
    saturation = tuple(np.column_stack((_saturation(factor), np.zeros(3))).ravel().tolist())
    # Faster than ImageEnhance.Sharpness, which filters and blends; both leave the outermost pixels.
    sharpen = ImageFilter.Kernel((3, 3), _sharpening(factor).ravel().tolist(), scale=1)
    corner, cut, shift = strengths.corner, strengths.cut, strengths.shift
    box = (corner, corner, corner + cut, corner + cut)
    threshold = 255 * THRESHOLD

    def look_up(entry: Callable[[int], int]) -> Way:
        # Faster than ImageOps, which writes the table anew for every image.
        table = [entry(value) for value in range(256)] * 3
        return lambda image: image.point(table)

    def affine(x: tuple[float, float, float]) -> Way:
        return lambda image: image.transform(
            size, Image.Transform.AFFINE, (*x, 0, 1, 0), Image.Resampling.NEAREST
        )

    def cutout(image: Image.Image) -> Image.Image:
        patched = image.copy()
        patched.paste((0, 0, 0), box)
        return patched

    # ImageEnhance blends two images; a table beats that only where pixels outweigh its 768 entries.
    brightness = (
        (lambda image: ImageEnhance.Brightness(image).enhance(factor))
        if side < 128
        else look_up(lambda value: min(int(value * factor), 255))
    )
    return {
        "rotate": lambda image: image.rotate(DEGREES, nearest),
        "rotate, bilinear": lambda image: image.rotate(DEGREES, Image.Resampling.BILINEAR),
        "shear_x": affine((1, SLOPE, 0)),
        # Faster than a transform: what lies outside of the crop is black too.
        "translate_x": lambda image: image.crop((-shift, 0, side - shift, side)),
        "brightness": brightness,
        "contrast": lambda image: ImageEnhance.Contrast(image).enhance(factor),
        "brightness + contrast": lambda image: ImageEnhance.Contrast(brightness(image)).enhance(factor),
        "color": lambda image: image.convert("RGB", saturation),
        "posterize": look_up(lambda value: value & ~(2 ** (8 - BITS) - 1)),
        "solarize": look_up(lambda value: value if value < threshold else 255 - value),
        "auto_contrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "sharpness": lambda image: image.filter(sharpen),
        "invert": ImageChops.invert,
        "gamma": look_up(lambda value: int((value / 255) ** strengths.gamma * 255)),
        "gaussian_blur": lambda image: image.filter(ImageFilter.GaussianBlur(strengths.sigma)),
        "flip_horizontal": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "grey": lambda image: image.convert("L").convert("RGB"),
        "cutout": cutout,
        "perspective": lambda image: image.transform(
            size, Image.Transform.PERSPECTIVE, coefficients, nearest
        ),
    }


def torchvision_tensor(strengths: Strengths) -> Ways:
    """torchvision's functions on a uint8 tensor (3, H, W), or on a batch, all of which gets the same."""
    factor, sigma, taps = 1 + CHANGE, strengths.sigma, strengths.taps
    corner, cut, shift = strengths.corner, strengths.cut, strengths.shift
    nearest, bilinear = v2.InterpolationMode.NEAREST, v2.InterpolationMode.BILINEAR
    black = torch.zeros((3, 1, 1), dtype=torch.uint8)
    coefficients = _eight(strengths.perspective)
    degrees = math.degrees(math.atan(SLOPE))
    return {
        "rotate": lambda image: functional.rotate(image, DEGREES, nearest),
        "rotate, bilinear": lambda image: functional.rotate(image, DEGREES, bilinear),
        "shear_x": lambda image: functional.affine(
            image, 0.0, [0, 0], 1.0, [degrees, 0.0], nearest, center=[0, 0]
        ),
        "translate_x": lambda image: functional.affine(image, 0.0, [shift, 0], 1.0, [0.0, 0.0], nearest),
        "brightness": lambda image: functional.adjust_brightness(image, factor),
        "contrast": lambda image: functional.adjust_contrast(image, factor),
        "brightness + contrast": lambda image: functional.adjust_contrast(
            functional.adjust_brightness(image, factor), factor
        ),
        "color": lambda image: functional.adjust_saturation(image, factor),
        "posterize": lambda image: functional.posterize(image, BITS),
        "solarize": lambda image: functional.solarize(image, 255 * THRESHOLD),
        "auto_contrast": functional.autocontrast,
        "equalize": functional.equalize,
        "sharpness": lambda image: functional.adjust_sharpness(image, factor),
        "invert": functional.invert,
        "gamma": lambda image: functional.adjust_gamma(image, strengths.gamma),
        "gaussian_blur": lambda image: functional.gaussian_blur(image, [taps, taps], [sigma, sigma]),
        "flip_horizontal": functional.horizontal_flip,
        # Its three channels are one in memory until something writes them.
        "grey": lambda image: functional.rgb_to_grayscale(image, 3).contiguous(),
        "cutout": lambda image: functional.erase(image, corner, corner, cut, cut, black),
        # With the coefficients at hand; from the corners it solves for them at every call.
        "perspective": lambda image: functional.perspective(
            image, None, None, nearest, coefficients=coefficients
        ),
    }


def albumentationsx(strengths: Strengths) -> Ways:
    """AlbumentationsX, one array."""
    pipelines = {
        # Compose is faster than the bare transform: it has a short cut for pipelines without boxes and masks.
        name: albumentations.Compose([transform], telemetry=False)
        for name, transform in albumentations_transforms(strengths, least=1).items()
    }
    ways: Ways = {name: one_image(pipeline) for name, pipeline in pipelines.items()}
    # It gives back a view of its input; whoever reads it next would pay.
    flip = ways["flip_horizontal"]
    ways["flip_horizontal"] = lambda image: np.ascontiguousarray(flip(image))
    return ways


def albumentations_transforms(
    strengths: Strengths, least: float, interpolation: Interpolation = NEAREST
) -> dict[str, albumentations.BasicTransform]:
    """Its transforms; signed values lie between ``least`` and 1 of the full strength."""
    sampling: Literal[0, 1] = 0 if interpolation == NEAREST else 1  # cv2.INTER_NEAREST, cv2.INTER_LINEAR
    none, one = (0.0, 0.0), (1.0, 1.0)
    degrees = math.degrees(math.atan(SLOPE))

    def signed(value: float) -> tuple[float, float]:
        return (least * value, value)

    def affine(**options: Any) -> albumentations.Affine:
        return albumentations.Affine(**options, interpolation=sampling, p=1)

    # Brightness and contrast through its one look-up table; ColorJitter goes through four adjustments.
    return {
        "identity": albumentations.NoOp(p=1),
        "rotate": albumentations.Rotate(signed(DEGREES), interpolation=sampling, p=1),
        "rotate, bilinear": albumentations.Rotate(signed(DEGREES), p=1),
        "shear_x": affine(shear={"x": signed(degrees), "y": none}),
        "shear_y": affine(shear={"x": none, "y": signed(degrees)}),
        "translate_x": affine(translate_percent={"x": signed(SHIFT), "y": none}),
        "translate_y": affine(translate_percent={"x": none, "y": signed(SHIFT)}),
        "brightness": albumentations.RandomBrightnessContrast(signed(CHANGE), none, p=1),
        "contrast": albumentations.RandomBrightnessContrast(none, signed(CHANGE), p=1),
        "brightness + contrast": albumentations.RandomBrightnessContrast(signed(CHANGE), signed(CHANGE), p=1),
        "color": albumentations.ColorJitter(one, one, (1 + least * CHANGE, 1 + CHANGE), none, p=1),
        "posterize": albumentations.Posterize((BITS, BITS), p=1),
        "solarize": albumentations.Solarize((THRESHOLD, THRESHOLD), p=1),
        # The faster of its two methods, and the one that does what Pillow does.
        "auto_contrast": albumentations.AutoContrast(method="pil", p=1),
        # OpenCV's histogram equalisation, twice as fast as its port of Pillow's.
        "equalize": albumentations.Equalize(p=1),
        # Its kernel with these values is PIL's sharpness; it can't soften, so this one has no sign.
        "sharpness": albumentations.Sharpen((CHANGE / 13, CHANGE / 13), one, p=1),
        "invert": albumentations.InvertImg(p=1),
        "gamma": albumentations.RandomGamma((100 * strengths.gamma, 100 * strengths.gamma), p=1),
        "gaussian_blur": albumentations.GaussianBlur(
            (strengths.taps, strengths.taps), (strengths.sigma, strengths.sigma), p=1
        ),
        "flip_horizontal": albumentations.HorizontalFlip(p=1),
        "grey": albumentations.ToGray(p=1),
        "cutout": albumentations.CoarseDropout((1, 1), (CUT, CUT), (CUT, CUT), p=1),
        "perspective": albumentations.Perspective((REACH, REACH), interpolation=0, p=1),
    }


def augrs_py(strengths: Strengths) -> dict[str, augrs.Compose]:
    """augrs-py's pipelines, for ``one_image`` or ``one_batch``. It has no RandAugment."""
    factor, none, one = (1 + CHANGE, 1 + CHANGE), (0, 0), (1, 1)
    degrees = math.degrees(math.atan(SLOPE))
    transforms = {
        "rotate": augrs.Rotate((DEGREES, DEGREES), interpolation="nearest", p=1),
        "rotate, bilinear": augrs.Rotate((DEGREES, DEGREES), p=1),
        "shear_x": augrs.Affine(shear={"x": (degrees, degrees), "y": none}, interpolation="nearest", p=1),
        "translate_x": augrs.Affine(
            translate_px={"x": (strengths.shift, strengths.shift), "y": none}, interpolation="nearest", p=1
        ),
        "brightness": augrs.ColorJitter(factor, one, one, none, p=1),
        "contrast": augrs.ColorJitter(one, factor, one, none, p=1),
        # Its RandomBrightnessContrast is faster, but does not turn about the image's mean grey.
        "brightness + contrast": augrs.ColorJitter(factor, factor, one, none, p=1),
        "color": augrs.ColorJitter(one, one, factor, none, p=1),
        "gamma": augrs.RandomGamma((100 * strengths.gamma, 100 * strengths.gamma), p=1),
        "gaussian_blur": augrs.GaussianBlur(
            (strengths.taps, strengths.taps), (strengths.sigma, strengths.sigma), p=1
        ),
        "flip_horizontal": augrs.HorizontalFlip(p=1),
        "grey": augrs.ToGray(p=1),
        "cutout": augrs.CoarseDropout((1, 1), (CUT, CUT), (CUT, CUT), p=1),
        "perspective": augrs.Perspective((REACH, REACH), interpolation="nearest", p=1),
    }
    return {name: augrs.Compose([transform]) for name, transform in transforms.items()}


def kornia_batch(strengths: Strengths, count: int) -> Ways:
    """kornia's functions on a float batch (B, 3, H, W) from 0 to 1, with one value for each image.

    The functions and not the modules around them, which draw, check and keep parameters for an inverse.
    The floats are not counted: a network that follows wants them anyway.
    """
    factor = torch.full((count,), 1 + CHANGE)
    gamma = torch.full((count,), strengths.gamma)
    bits = torch.full((count,), BITS)
    threshold = torch.full((count,), THRESHOLD)
    degrees = torch.full((count,), DEGREES)
    slope = torch.tensor([[SLOPE, 0.0]]).repeat(count, 1)
    shift = torch.tensor([[float(strengths.shift), 0.0]]).repeat(count, 1)
    # It wants the way from input to output, and inverts it itself.
    forwards = torch.from_numpy(np.linalg.inv(strengths.perspective)).float().repeat(count, 1, 1)
    side, taps, sigma = strengths.side, strengths.taps, strengths.sigma
    enhance, geometry = kornia.enhance, kornia.geometry
    cutout = kornia_augmentation.RandomErasing((CUT**2, CUT**2), (1.0, 1.0), p=1.0)

    def contrast(batch: torch.Tensor) -> torch.Tensor:
        return enhance.adjust_contrast_with_mean_subtraction(batch, factor)

    def brightness(batch: torch.Tensor) -> torch.Tensor:
        return enhance.adjust_brightness_accumulative(batch, factor)

    return {
        "rotate": lambda batch: geometry.rotate(batch, degrees, mode=NEAREST),
        "rotate, bilinear": lambda batch: geometry.rotate(batch, degrees),
        "shear_x": lambda batch: geometry.shear(batch, slope, mode=NEAREST),
        "translate_x": lambda batch: geometry.translate(batch, shift, mode=NEAREST),
        "brightness": brightness,
        "contrast": contrast,
        "brightness + contrast": lambda batch: contrast(brightness(batch)),
        # By the grey image, as the others do; adjust_saturation goes through HSV, at a third of the speed.
        "color": lambda batch: enhance.adjust_saturation_with_gray_subtraction(batch, factor),
        "posterize": lambda batch: enhance.posterize(batch, bits),
        "solarize": lambda batch: enhance.solarize(batch, threshold),
        "auto_contrast": enhance.normalize_min_max,
        "equalize": enhance.equalize,
        "sharpness": lambda batch: enhance.sharpness(batch, factor),
        "invert": enhance.invert,
        "gamma": lambda batch: enhance.adjust_gamma(batch, gamma),
        "gaussian_blur": lambda batch: kornia.filters.gaussian_blur2d(batch, (taps, taps), (sigma, sigma)),
        "flip_horizontal": geometry.hflip,
        "grey": lambda batch: kornia.color.rgb_to_grayscale(batch).repeat(1, 3, 1, 1),
        "cutout": cutout,
        "perspective": lambda batch: geometry.warp_perspective(batch, forwards, (side, side), mode=NEAREST),
    }


def one_image(pipeline: albumentations.Compose | augrs.Compose) -> Way:
    """A function of one image from a pipeline of AlbumentationsX or augrs-py."""
    return lambda image: pipeline(image=image)["image"]


def one_batch(pipeline: augrs.Compose) -> Way:
    """A batch through augrs-py's own loop over images, each with its own draw, on one thread."""
    return lambda batch: [sample["image"] for sample in pipeline.augment_batch(batch, num_threads=1)]


def _eight(matrix: NDArray[np.float64]) -> list[float]:
    """A map (3, 3) of pixel indices as eight coefficients for coordinates whose pixels have centres at ½."""
    centre = np.array(((1, 0, 0.5), (0, 1, 0.5), (0, 0, 1)))
    shifted = centre @ matrix @ np.linalg.inv(centre)
    eight: list[float] = (shifted / shifted[2, 2]).ravel()[:8].tolist()
    return eight


def _saturation(factor: float) -> NDArray[np.float64]:
    luma = np.array((0.299, 0.587, 0.114))
    return factor * np.eye(3) + (1 - factor) * np.tile(luma, (3, 1))


def _sharpening(factor: float) -> NDArray[np.float64]:
    """PIL's sharpness as one kernel: away from the mean of nine pixels, the middle one counted five times."""
    smooth = np.ones((3, 3)) / 13
    smooth[1, 1] = 5 / 13
    unchanged = np.zeros((3, 3))
    unchanged[1, 1] = 1
    return unchanged + (factor - 1) * (unchanged - smooth)
