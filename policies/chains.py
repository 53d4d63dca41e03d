"""Chains of operations that are mixed with the image (AugMix, Hendrycks et al. 2020, arXiv:1912.02781)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from augsearch.policies.effects import TRUNCATING_OFFSET

OFFSET_BEFORE_TRUNCATION = 0.5 + TRUNCATING_OFFSET
"""What to add before a number is truncated, where OpenCV adds ``TRUNCATING_OFFSET`` and rounds."""

_BYTES_AT_ONCE = 2**15
"""Of images that are mixed: as float32, what is worked on stays in a processor's cache."""

Shares = NDArray[np.float32]
"""(..., 1 + W): the share of the image itself, then that of each of W chains; their sum is 1."""


class Chains(BaseModel):
    """How an image is mixed with W changed copies of itself, each after a chain of operations of its own.

    The image keeps a share from Beta(alpha, alpha); the rest is divided among the chains by
    Dirichlet(alpha, …, alpha). A chain has ``shortest`` to ``num_ops`` operations, each as likely.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[StrictInt, Field(ge=1, le=8)] = 3
    """W: the number of chains."""
    shortest: Annotated[StrictInt, Field(ge=1, le=8)] = 1
    """How many operations a chain has at least; at most the policy's ``num_ops``."""
    alpha: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = 1.0

    def draw_shares(self, count: int, rng: np.random.Generator) -> Shares:
        """What the image itself and each chain contribute to each of ``count`` images, (count, 1 + W)."""
        kept = rng.beta(self.alpha, self.alpha, size=(count, 1))
        divided = rng.dirichlet([self.alpha] * self.width, size=count)
        return np.concatenate((kept, (1 - kept) * divided), axis=1).astype(np.float32)

    def draw_lengths(self, longest: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """How many operations one chain of each of ``count`` images has, (count,)."""
        return rng.integers(min(self.shortest, longest), longest + 1, size=count)


def mixed(members: Iterable[NDArray[np.uint8]], shares: Shares) -> NDArray[np.uint8]:
    """The sum of images (..., H, W, C) by their ``shares``, truncated as in torchvision.

    ``members`` are the images themselves, then what each chain made of them.
    """
    first, *others = members
    if first.ndim == 3:
        return _sum((first, *others), shares)
    result = np.empty_like(first)
    at_once = max(1, _BYTES_AT_ONCE // max(1, first[0].size)) if len(first) else 1
    for begin in range(0, len(first), at_once):
        part = slice(begin, begin + at_once)
        result[part] = _sum([member[part] for member in (first, *others)], shares[part])
    return result


def _sum(members: Sequence[NDArray[np.uint8]], shares: Shares) -> NDArray[np.uint8]:
    weights = np.moveaxis(shares, -1, 0)[..., np.newaxis, np.newaxis, np.newaxis]
    total, part = members[0] * weights[0], np.empty(members[0].shape, dtype=np.float32)
    for member, weight in zip(members[1:], weights[1:], strict=True):
        total += np.multiply(member, weight, out=part)
    total += np.float32(OFFSET_BEFORE_TRUNCATION)
    result: NDArray[np.uint8] = total.astype(np.uint8)
    return result
