"""Images that look alike, if not pixel for pixel: frames of one scene, copies that were saved or edited anew.

Who may be alike is found by a perceptual hash (pHash, imagehash's), and looked at again: two images are
near-duplicates if their hashes differ in few bits and their thumbnails agree once what all images of the data
set have in common is taken out. So trousers on black are not taken for one another, as by the hash alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from augsearch.policies.bands import seen
from augsearch.trainers.data.dataset import Indices
from augsearch.trainers.system.threads import in_order

THUMB = 8
"""Side in pixels of the thumbnails that are compared."""
HASHED = 32
"""Side in pixels of the grey image whose lowest frequencies, 8 × 8, are the hash."""
LOOKED_AT = 32
"""Images that a thread looks at at a time."""
MOST_BITS = 8
"""Of 64 in which two hashes may differ. Saved anew, brighter, noisier or smaller images differ in 0 to 6;
of other images of CIFAR, flowers or Caltech 101 one pair in 50,000 does, or fewer."""
LEAST_ALIKE = 0.94
"""Of the cosine of two thumbnails: images saved anew, brighter or noisier have 0.97 and more, other images
0.6 and less. Clothes on black are nearer: at 0.93 one in 40 of 6,000 has a like one, at 0.95 one in 100."""
MOST_CHANCE = 0.02
"""Other images, of other classes, that an image may be taken for a near-duplicate of by chance; where there
would be more, as among clothes on black, it takes more than ``LEAST_ALIKE``."""
CROWD = 1000
"""Images below which chance hardly brings any, and contradicting labels would be taken for it."""
FACTORS = 48
"""Components of the thumbnails that are compared, each scaled by how much images differ in it."""
LEAST_SHARE = 0.003
"""Of all variance, or 1/N of N images if that is more: components that have less count for less."""
SAMPLED, PAIRED = 5000, 3000
"""Images from which those components, and what is chance, are found."""
MANY = 200_000
"""Hashes above which they are looked for in larger bands, and may differ in one bit less."""
AT_A_TIME = 4_000_000
"""Pairs that are held in memory at a time."""
MOST_PAIRS = 400_000_000
"""Pairs that are looked at; of millions of drawings that all look alike there may be more."""

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]
"""(P, 2): two images each."""


@dataclass(frozen=True, eq=False)
class Looks:
    """What images look like, in 200 bytes each."""

    hashes: Hashes
    """(N,)."""
    thumbs: NDArray[np.uint8]
    """(N, 192): 8 × 8 pixels in RGB."""


def looks_at(images: Sequence[NDArray[np.uint8]]) -> Looks:
    """What some images, (S, S, C), look like to people."""
    from scipy.fft import dct

    pixels = [np.ascontiguousarray(seen(image)) for image in images]
    # imagehash's phash, of many at once: one by one it is four times as much work.
    small = np.array([_small_grey(image) for image in pixels], np.float64).reshape(-1, HASHED, HASHED)
    low = dct(dct(small, axis=1)[:, :8], axis=2)[:, :, :8].reshape(-1, 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    thumbs = np.empty((len(pixels), THUMB, THUMB, 3), np.uint8)
    for thumb, image in zip(thumbs, pixels, strict=True):
        scaled = cv2.resize(image, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
        thumb[...] = scaled.reshape(THUMB, THUMB, -1)
    hashes = np.packbits(bits, axis=1).view(">u8").reshape(-1).astype(np.uint64)
    return Looks(hashes, thumbs.reshape(len(pixels), -1))


def _small_grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    grey = pixels[..., 0] if pixels.shape[-1] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if grey.shape == (HASHED, HASHED):
        return np.asarray(grey, np.uint8)
    return np.asarray(Image.fromarray(grey).resize((HASHED, HASHED), Image.Resampling.LANCZOS))


def looks_of(images: NDArray[np.uint8], rows: Indices) -> Looks:
    """What each of these rows of ``images`` (N, S, S, C) looks like."""
    portions = (rows[start : start + LOOKED_AT] for start in range(0, len(rows), LOOKED_AT))
    found = list(in_order(lambda some: looks_at(list(images[some])), portions))
    hashes = np.concatenate([np.zeros(0, np.uint64), *(one.hashes for one in found)])
    thumbs = np.concatenate([np.zeros((0, 3 * THUMB**2), np.uint8), *(one.thumbs for one in found)])
    return Looks(hashes, thumbs)


def groups_alike(looks: Looks, labels: Indices) -> Indices:
    """(N,): a number for each image, one for all that are near-duplicates, directly or through others."""
    pairs = pairs_alike(looks, labels)
    return connected(len(looks.hashes), pairs[:, 0], pairs[:, 1])


def connected(nodes: int, one: Indices, other: Indices) -> Indices:
    """(nodes,): one number for all nodes that edges, from ``one`` to ``other``, (E,) each, lead to."""
    edges = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(nodes, nodes))
    numbers: Indices = connected_components(edges, directed=False)[1].astype(np.int64)
    return numbers


def pairs_alike(looks: Looks, labels: Indices) -> Pairs:
    """Near-duplicates, each of a group paired with one of the others at least; always in the same order.

    Args:
        looks: of N images.
        labels: (N,): those of different classes tell what is alike by chance.
    """
    if len(labels) < 2:
        return np.zeros((0, 2), np.int64)
    factors = _factors(looks.thumbs)
    least = _least_alike(factors, looks.hashes, labels)
    found = []
    for pairs in _likely(looks.hashes):
        cosine = np.einsum("ij,ij->i", factors[pairs[:, 0]], factors[pairs[:, 1]])
        found.append(pairs[cosine >= least])
    return np.unique(np.concatenate([np.zeros((0, 2), np.int64), *found]), axis=0)


def _factors(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, F): the components of each thumbnail, of length 1: their product is a cosine."""
    from sklearn.decomposition import PCA

    def evened(some: NDArray[np.uint8]) -> NDArray[np.float32]:
        values = some.astype(np.float32)
        values -= values.mean(axis=1, keepdims=True)
        even: NDArray[np.float32] = values / (values.std(axis=1, keepdims=True) + 4)
        return even

    sample = evened(thumbs[_spread(len(thumbs), SAMPLED)])
    number = min(FACTORS, *sample.shape)
    if not np.ptp(sample, axis=0).any():
        return np.zeros((len(thumbs), number), np.float32)
    fitted = PCA(number, whiten=True, svd_solver="full").fit(sample)
    variance = fitted.explained_variance_
    # Of few images the last components are what sets near-duplicates apart: they are not to be made large.
    least = max(LEAST_SHARE, 1 / len(sample)) * variance.sum()
    scale = np.sqrt(np.maximum(variance, least) + 1e-6)
    made = np.zeros((len(thumbs), number), np.float32)
    for start in range(0, len(thumbs), 65536):
        part = (evened(thumbs[start : start + 65536]) - fitted.mean_) @ fitted.components_.T / scale
        made[start : start + 65536] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6)
    return made


def _least_alike(factors: NDArray[np.float32], hashes: Hashes, labels: Indices) -> float:
    """The cosine from which on two images are no longer alike by chance, as images of two classes may be."""
    if len(labels) < CROWD:
        return LEAST_ALIKE
    some = _spread(len(labels), PAIRED)
    cosine = factors[some] @ factors[some].T
    other = labels[some][:, np.newaxis] != labels[some]
    close = np.bitwise_count(hashes[some][:, np.newaxis] ^ hashes[some]) <= MOST_BITS
    by_chance = np.sort(cosine[other & close])[::-1]
    # As many of these pairs may be above it as let an image have ``MOST_CHANCE`` of them among all images.
    may_be = int(MOST_CHANCE * int(other.sum()) / len(labels))
    return max(LEAST_ALIKE, float(by_chance[may_be]) + 1e-4 if may_be < len(by_chance) else 0.0)


def _likely(hashes: Hashes) -> Iterator[Pairs]:
    """Pairs of images whose hashes differ in few bits: of one hash the others with the first."""
    known, first, number = np.unique(hashes, return_index=True, return_inverse=True)
    others = np.flatnonzero(first[number] != np.arange(len(hashes)))
    yield np.stack([first[number[others]], others], axis=1)
    seen = 0
    for pairs in near_hashes(known):
        yield np.sort(first[pairs], axis=1)
        seen += len(pairs)
        if seen > MOST_PAIRS:
            return


def near_hashes(hashes: Hashes) -> Iterator[Pairs]:
    """All pairs of different hashes that differ in ``MOST_BITS`` or fewer; some come more than once.

    Of 64 bits in 5 bands, two that differ in at most 9 differ in at most one within some band (of 4 bands 7):
    so only those are compared (Norouzi, Punjani and Fleet 2012, arXiv:1307.2982).
    """
    bands = 5 if len(hashes) <= MANY else 4
    most = min(MOST_BITS, 2 * bands - 1)
    for band in range(bands):
        places = range(band, 64, bands)
        keys = np.zeros(len(hashes), np.int64)
        for place, bit in enumerate(places):
            keys |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.int64) << place
        # Sorted by the band, those that are compared lie together, which a processor's caches like.
        order = np.argsort(keys, kind="stable")
        keys, ordered = keys[order], hashes[order]
        for one, low, high in _alike_in(keys, len(places)):
            for some in _portions(high - low):
                counts = (high - low)[some]
                left = np.repeat(one[some], counts)
                right = np.arange(len(left)) + np.repeat(low[some] - (np.cumsum(counts) - counts), counts)
                near = np.flatnonzero(np.bitwise_count(ordered[left] ^ ordered[right]) <= most)
                yield np.sort(np.stack([order[left[near]], order[right[near]]], axis=1), axis=1)


def _alike_in(keys: Indices, bits: int) -> Iterator[tuple[Indices, Indices, Indices]]:
    """For places in sorted ``keys`` from where on and up to where stands what differs in a bit or in none.

    Of two places one has the other, so each pair comes once.
    """
    known, begins, counts = np.unique(keys, return_index=True, return_counts=True)
    ends = begins + counts
    every = np.arange(len(keys))
    yield every, every + 1, np.repeat(ends, counts)
    for bit in (1 << place for place in range(bits)):
        without = np.flatnonzero(known & bit == 0)
        at = np.searchsorted(known, known[without] | bit)
        found = at < len(known)
        found[found] = known[at[found]] == known[without[found]] | bit
        own, other = without[found], at[found]
        one = np.concatenate([np.zeros(0, np.int64), *map(np.arange, begins[own], ends[own])])
        yield one, np.repeat(begins[other], counts[own]), np.repeat(ends[other], counts[own])


def _portions(counts: Indices) -> Iterator[Indices]:
    """Consecutive places that together have some ``AT_A_TIME`` of ``counts``."""
    filled = np.cumsum(counts) // AT_A_TIME
    yield from np.split(np.arange(len(counts)), np.flatnonzero(np.diff(filled)) + 1)


def _spread(total: int, most: int) -> Indices:
    return np.unique(np.linspace(0, total - 1, min(total, most)).astype(np.int64))
