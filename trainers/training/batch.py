"""A batch of a training: images, targets, and images without labels beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from augsearch.policies import Mix


@dataclass(frozen=True, slots=True, eq=False)
class UnlabeledBatch:
    """A step's images without labels, and their targets."""

    images: Tensor
    """uint8 (U, C, H, W): as their policy leaves them."""
    targets: Tensor | None = None
    """float32 (U, K): probabilities, each row times the image's weight; None: still to be found."""
    weak: Tensor | None = None
    """uint8 (U, C, H, W): the views by which the targets are found."""
    rows: Tensor | None = None
    """int64 (U,): which of all unlabeled images they are."""
    mix: Mix | None = None
    """How ``images`` are mixed, where ``targets`` are not yet."""
    share: float = 1.0
    """U as a share of as many as there should be, μB: few images weigh no more than they would among many."""

    def parts(self, count: int) -> Iterator[UnlabeledBatch | None]:
        """A batch with targets in ``count`` parts whose sizes differ by at most one; None: an empty part."""
        assert self.targets is not None
        for images, targets in zip(
            self.images.tensor_split(count), self.targets.tensor_split(count), strict=True
        ):
            yield UnlabeledBatch(images, targets) if len(images) else None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A step's images and their targets."""

    images: Tensor
    """uint8 (B, C, H, W)."""
    targets: Tensor
    """float32 (B, K): the labels as probabilities times each image's weight, mixed as the images are."""
    teacher: Tensor | None = None
    """float32 (B, K): the teacher's probabilities at the temperature T, of the same images."""
    unlabeled: UnlabeledBatch | None = None

    def tensors(self) -> Iterator[Tensor]:
        """All that it holds."""
        for part in (self, self.unlabeled):
            if part is not None:
                held = (getattr(part, name) for name in part.__slots__)
                yield from (one for one in held if isinstance(one, Tensor))

    @property
    def all_images(self) -> Tensor:
        """Labeled, then unlabeled: uint8 (B + U, C, H, W)."""
        return self.images if self.unlabeled is None else torch.cat((self.images, self.unlabeled.images))

    def parts(self, count: int) -> Iterator[Batch]:
        """The batch in ``count`` parts whose sizes differ by one image at most; none lacks labeled images."""
        count = min(count, len(self.images))
        if count == 1:
            yield self
            return
        teachers = self.teacher.tensor_split(count) if self.teacher is not None else repeat(None)
        unlabeled = self.unlabeled.parts(count) if self.unlabeled is not None else repeat(None)
        for images, targets, teacher, others in zip(
            self.images.tensor_split(count),
            self.targets.tensor_split(count),
            teachers,
            unlabeled,
            strict=False,
        ):
            yield Batch(images, targets, teacher, others)
