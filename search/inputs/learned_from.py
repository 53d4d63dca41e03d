"""Models that are given: whether they have learned from the images that others are scored on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.policies.errors import each
from augsearch.search.console import Display
from augsearch.search.inputs.run_data import Data
from augsearch.trainers.data.content import content_keys
from augsearch.trainers.data.dataset import ImageData, Indices
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.target_domain import Target
from augsearch.trainers.models.learned import Keys, learned_from, metadata_of

FEW = 0.2
"""The share of a part that may be left out; where a model has learned from more, it is refused."""


@dataclass(frozen=True, slots=True)
class GivenModel:
    """A model file that a training is to start from, or to learn from."""

    flag: str
    name: str
    """What was given with the flag."""
    path: Path
    instead: str
    """What else the flag takes."""
    searched: bool
    """Whether candidates are scored with it; else it serves the final training alone."""

    @property
    def words(self) -> str:
        """What messages call it."""
        return f"{self.flag} {self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Images on which models are scored."""

    name: str
    keys: Keys
    """(N,)."""
    labels: Indices
    """(N,)."""
    learned: Keys
    """Images that are trained on here: copies of them are no secret any more."""

    def seen(self, keys: Keys) -> NDArray[np.bool_]:
        """(N,): which of them a model has learned from that has learned from ``keys``."""
        seen: NDArray[np.bool_] = np.isin(self.keys, keys)
        if seen.any():
            seen &= ~np.isin(self.keys, self.learned)
        return seen

    def can_spare(self, seen: NDArray[np.bool_]) -> bool:
        """Whether enough remain without ``seen``: most of them, and some of each class."""
        remaining = np.unique(self.labels[~seen])
        return seen.mean() <= FEW and len(remaining) == len(np.unique(self.labels))


def honest_parts(
    given: list[GivenModel],
    source: str | None,
    images: ImageData,
    splits: Splits,
    target: Target | None,
    display: Display,
) -> tuple[Splits, Target | None]:
    """``splits`` and ``target`` without what a model that candidates are scored with has learned from.

    What is left out is said, and which models don't say what they have learned from.

    Raises:
        UserError: a model has learned from test images, or from so many others that too few remain.
    """
    for model in given:
        keys = learned_from(model.path)
        if keys is None:
            if model.path.with_suffix(".json").exists() or "image_size" in metadata_of(model.path):
                display.line(
                    f"{model.words} does not say which images it has learned from (older versions and "
                    "export-model leave that out): whether validation or test images are among them can't be "
                    "checked"
                )
            continue
        parts = _parts(model, source, images, splits, target)
        seen = {part.name: part.seen(keys) for part in parts}
        _refuse(model, parts, seen)
        for part in parts:
            if (count := int(seen[part.name].sum())) > 0:
                of = f"{count:,} of {len(part.keys):,} {part.name} images"
                display.line(f"left out {of}: {model.words} has learned from them")
        if model.searched:
            splits, target = _without(seen, splits, target)
    return splits, target


def _parts(
    model: GivenModel, source: str | None, images: ImageData, splits: Splits, target: Target | None
) -> list[_Part]:
    keys, labels = content_keys(source, images), images.labels
    own = keys[splits.train]
    parts = []
    if model.searched and target is None:
        for name in ("validation", "confirmation"):
            rows = getattr(splits, name)
            parts.append(_Part(name, keys[rows], labels[rows], own))
    elif model.searched and target is not None:
        of_target = content_keys(target.source, target.data)
        for name in ("validation", "confirmation"):
            rows = getattr(target, name)
            parts.append(_Part(name, of_target[rows], target.labels(rows), own))
    final = np.concatenate([own, keys[splits.validation]])
    return [*parts, _Part("test", keys[splits.test], labels[splits.test], final)]


def _refuse(model: GivenModel, parts: list[_Part], seen: dict[str, NDArray[np.bool_]]) -> None:
    """Refuse a model that has learned from too much."""
    too_much = [
        (part.name == "test" and seen[part.name].any()) or not part.can_spare(seen[part.name])
        for part in parts
    ]
    if not any(too_much):
        return
    counts = [
        f"{int(seen[part.name].sum()):,} of {len(part.keys):,} {part.name} images"
        for part in parts
        if seen[part.name].any()
    ]
    raise UserError(
        f"{model.words} has learned from {each(counts)}: scores on those would flatter; give {model.instead}"
    )


def _without(
    seen: dict[str, NDArray[np.bool_]], splits: Splits, target: Target | None
) -> tuple[Splits, Target | None]:
    validation, confirmation = ~seen["validation"], ~seen["confirmation"]
    if validation.all() and confirmation.all():
        return splits, target
    if target is None:
        return replace(
            splits,
            validation=splits.validation[validation],
            confirmation=splits.confirmation[confirmation],
        ), None
    return splits, replace(
        target, validation=target.validation[validation], confirmation=target.confirmation[confirmation]
    )


def learned_by_final(source: str | None, data: Data, labeled: Indices, given: list[GivenModel]) -> Keys:
    """What a final model learns from: ``labeled``, what selects its epoch, and what models knew before.

    ``data`` was opened from ``source``; ``given`` are the models that it starts or learns from.
    """
    keys_of_all, target = content_keys(source, data.images), data.target
    if target is None:
        selection = keys_of_all[data.splits.confirmation]
    else:
        selection = content_keys(target.source, target.data)[target.confirmation]
    known = [keys for model in given if (keys := learned_from(model.path)) is not None]
    return np.unique(np.concatenate([keys_of_all[labeled], selection, *known]))
