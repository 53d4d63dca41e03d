"""Policies and mixing as torch modules, for batches of tensors on any device.

This is the one public module of ``augsearch.policies`` that imports torch.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from augsearch.policies.backends.torch.kernels import HostToDevice
from augsearch.policies.backends.torch.runner import augment
from augsearch.policies.bands import COLOURS, are_channels
from augsearch.policies.errors import UserError, shown
from augsearch.policies.mixing import Mix, Mixing, check_labels, checked_classes, draw_mix, probabilities
from augsearch.policies.planner import Draws
from augsearch.policies.policy import Policy
from augsearch.policies.streams import RandomStream
from augsearch.policies.transforms import PolicyLike

_DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)


class TensorPolicy(nn.Module):
    """A policy as a torch module: it augments a batch per call, each image by a draw of its own.

    Draws come from NumPy on the host, so that a seed means the same on every device and for
    ``Policy.batch_transform``. So do the pixels; on other devices than the CPU but for a grey level where
    images are sampled bilinearly or blurred, and for points right between two pixels, where nearest sampling
    may take the other one.

    After ``eval()`` images come back as they are, which is what torch's users expect of augmentation.
    A module has no parameters; it pickles with the state of its random stream, and has another stream in
    each worker of a ``DataLoader``. Processes that train together need a seed each. What the policy says
    of mixing is done by ``TensorMixing``, which also has the labels.
    """

    def __init__(self, policy: PolicyLike, seed: int) -> None:
        super().__init__()
        if not isinstance(policy, PolicyLike):
            raise UserError(
                f"policy must be a Policy, got {type(policy).__name__}; to read a file there is "
                'TensorPolicy.load("policy.json", seed=0)'
            )
        self.policy, self.seed = policy, seed
        self._stream = RandomStream(seed)
        self._checked_on_device = False

    @classmethod
    def load(cls, path: str | os.PathLike[str], seed: int) -> TensorPolicy:
        """The policy of a policy file, as ``augsearch export`` writes it.

        Raises:
            UserError: there is no such file, or it is no valid policy file; the message names the field.
        """
        return cls(Policy.load(path), seed)

    # A compiled model runs this as it is: what is drawn decides which kernels run.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """A new batch of the same shape, dtype, device and memory format.

        Floating images are rounded to whole 255ths, augmented as such, and stay such. On the CPU all of
        them are checked to lie in [0, 1]. Another device would have to be waited for, so there only the
        first batch is; later, what lies outside is clamped and NaN becomes 0.

        Args:
            images: (B, C, H, W), uint8 or floating in [0, 1], on any device. C = 1, 3 for RGB, or up to 16
                bands.

        Raises:
            UserError: they are something else.
        """
        if not self.training:
            return images
        _check_images(images)
        if not are_channels(images.shape[1]):
            raise UserError(f"images must have 1 to 16 channels, got {shown(images)}")
        plain = images.as_subclass(Tensor)
        if images.numel() == 0:
            return plain.clone().as_subclass(type(images))
        on_cpu = plain.device.type == "cpu"
        if plain.is_floating_point() and (on_cpu or not self._checked_on_device):
            _check_range(plain)
        self._checked_on_device |= not on_cpu
        with self._stream.turn():
            draws = self.policy.draw(len(plain), self._stream.rng)
        levels = plain if plain.dtype == torch.uint8 else _to_levels(plain, checked=on_cpu)
        result = self._augmented(levels, draws)
        if plain.is_floating_point():
            precise = torch.float64 if plain.dtype == torch.float64 else torch.float32
            result = result.to(precise).div_(255).to(plain.dtype)
        return result.to(memory_format=_memory_format(plain)).as_subclass(type(images))

    def _augmented(self, levels: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, C, H, W) after ``draws``: bands one by one, as ``bands.py`` says."""
        channels = levels.shape[1]
        parts = [levels] if channels in COLOURS else torch.split(levels, 1, dim=1)
        ranges, sampling = self.policy.ranges, self.policy.sampling
        augmented = [augment(draws, part, ranges, sampling) for part in parts]
        return augmented[0] if len(augmented) == 1 else torch.cat(augmented, dim=1)

    def extra_repr(self) -> str:
        """What ``repr`` shows between the brackets."""
        return f"{self.policy!r}, seed={self.seed}"


class TensorMixing(nn.Module):
    """CutMix or MixUp as a torch module: it mixes a batch of images and their labels per call.

    A seed means the same draws as for ``Mixing.batch_transform``, and so the same result, but for a grey
    level in MixUp of uint8 images. After ``eval()`` nothing is mixed. It pickles with the state of its
    random stream, and has another one in each worker of a ``DataLoader``.

    Raises:
        UserError: ``classes`` is no whole number above 0, or ``seed`` none from 0.
    """

    def __init__(self, mixing: Mixing, classes: int, seed: int) -> None:
        super().__init__()
        if not isinstance(mixing, Mixing):
            raise UserError(f"mixing must be a Mixing, got {type(mixing).__name__}")
        self.mixing, self.classes, self.seed = mixing, checked_classes(classes), seed
        self._stream = RandomStream(seed)
        self._checked_on_device = False

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed images, and the probabilities (B, K) of their classes, float32, on the images' device.

        A batch that is not mixed, by chance or because it has one image only, comes back as it is.

        Args:
            images: (B, C, H, W), uint8 or floating, of any range: normalised ones mix as well.
            labels: whole numbers (B,) from 0 to K − 1, or probabilities (B, K). On another device than the
                CPU only the first batch's values are checked, since looking at them means to wait.

        Raises:
            UserError: they are something else.
        """
        _check_images(images)
        targets = self._targets(labels, len(images)).to(images.device)
        if not self.training:
            return images, targets
        count, _, height, width = images.shape
        with self._stream.turn():
            mix = draw_mix(self.mixing, count, (height, width), self._stream.rng)
        if mix is None:
            return images, targets
        copies = HostToDevice()
        copies.add(mix.partners)
        (partners,) = copies.send(images.device)
        mixed = mix.kept * targets + (1 - mix.kept) * targets.index_select(0, partners)
        return _mixed(images, mix, partners), mixed

    def extra_repr(self) -> str:
        """What ``repr`` shows between the brackets."""
        return f"{self.mixing!r}, classes={self.classes}, seed={self.seed}"

    def _targets(self, labels: Tensor, count: int) -> Tensor:
        if not isinstance(labels, Tensor):
            raise UserError(f"labels must be a tensor, got {shown(labels)}")
        floating = labels.is_floating_point()
        whole = not (floating or labels.is_complex() or labels.dtype == torch.bool)
        check_labels(labels, whole=whole, floating=floating, count=count, classes=self.classes)
        on_cpu = labels.device.type == "cpu"
        if on_cpu or not self._checked_on_device:
            values = labels.detach().cpu()
            probabilities((values.float() if floating else values).numpy(), count, self.classes)
        self._checked_on_device |= not on_cpu
        return labels.float() if floating else one_hot(labels.long(), self.classes).float()


def _mixed(images: Tensor, mix: Mix, partners: Tensor) -> Tensor:
    if mix.box is not None:
        top, left, bottom, right = mix.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[:, :, top:bottom, left:right].index_select(0, partners)
        return mixed
    own = images.to(torch.float32) if images.dtype == torch.uint8 else images
    mixed = own * mix.kept + own.index_select(0, partners) * (1 - mix.kept)
    return mixed.round().to(torch.uint8) if images.dtype == torch.uint8 else mixed


def _check_images(images: Any) -> None:
    if not isinstance(images, Tensor):
        raise UserError(
            f"images must be a tensor (B, C, H, W), got {shown(images)}; for arrays there is batch_transform"
        )
    if images.dtype not in _DTYPES or images.ndim != 4:
        raise UserError(
            "images must be a tensor (B, C, H, W), uint8, float16, bfloat16, float32 or float64, "
            f"got {shown(images)}"
        )


def _check_range(images: Tensor) -> None:
    low, high = images.aminmax()
    if not (low >= 0 and high <= 1):
        raise UserError(
            f"floating images must lie in [0, 1], got {float(low):.3g} to {float(high):.3g}; "
            "augment before normalising"
        )


def _to_levels(images: Tensor, *, checked: bool) -> Tensor:
    """Floating images as grey levels, uint8."""
    levels = images.to(torch.float32) * 255
    if not checked:
        levels.nan_to_num_(nan=0).clamp_(0, 255)
    return levels.round_().to(torch.uint8)


def _memory_format(images: Tensor) -> torch.memory_format:
    channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format
