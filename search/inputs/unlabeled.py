"""The images without labels of a run: found, sampled for the search, opened for the final training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augsearch.policies import PolicyFile, UserError
from augsearch.search.console import Display
from augsearch.search.inputs.run_data import Data
from augsearch.search.settings.sections import HOME
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import TECHNIQUES
from augsearch.trainers.data.dataset import ImageData
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.target_domain import Target

if TYPE_CHECKING:
    from augsearch.trainers.data.unlabeled.dataset import Unlabeled
    from augsearch.trainers.data.views import Pixels


MOST_UNLABELED = 20_000
"""Unlabeled images that a search learns from: a sample, because no fold comes to see more."""


def find_unlabeled(
    settings: Settings, images: ImageData, splits: Splits, target: Target | None, display: Display, **how: Any
) -> Unlabeled | None:
    """The unlabeled images that the settings name or the data brings, opened as ``how`` says; None: none."""
    from augsearch.trainers.data.unlabeled.dataset import HowOpened, open_unlabeled

    with display.bar("opening unlabeled images", total=1) as bar:
        return open_unlabeled(
            settings.data.source,
            images,
            splits,
            folder=settings.unlabeled.folder,
            cache=HOME / "cache",
            how=HowOpened(seed=settings.seed, **how),
            target=target,
            progress=bar.reach,
        )


def sample_unlabeled(
    settings: Settings, images: ImageData, splits: Splits, target: Target | None, display: Display
) -> Unlabeled:
    """The unlabeled images that a search learns from: a sample where there are many."""
    found = find_unlabeled(settings, images, splits, target, display, most=MOST_UNLABELED)
    if found is None:
        where = settings.data.source or "the embedded data set"
        raise UserError(
            f"{where} has no unlabeled images: give --unlabeled FOLDER, "
            "make a folder unlabeled/ in it, or leave --semi out"
        )
    return found


def decoded_file(unlabeled: Unlabeled) -> Path:
    """The ``.npy`` file of a sample's pixels."""
    from augsearch.trainers.data.views import Decoded

    assert isinstance(unlabeled.pixels, Decoded)
    assert isinstance(unlabeled.pixels.images, np.memmap)
    return Path(str(unlabeled.pixels.images.filename))


def unlabeled_in_words(unlabeled: Unlabeled) -> str:
    """One line: how many there are, and what was left out."""
    words = f"unlabeled: {unlabeled.found:,} images ({unlabeled.name})"
    if unlabeled.refused:
        words += f"; {unlabeled.refused:,} left out that are also in validation, confirmation or test"
    if unlabeled.unreadable:
        words += f"; {len(unlabeled.unreadable):,} can't be read, the first is {unlabeled.unreadable[0]}"
    if len(unlabeled.chosen) < unlabeled.found - unlabeled.refused - len(unlabeled.unreadable):
        words += f"; the search learns from {len(unlabeled.chosen):,}"
    return words


def has_unlabeled_folder(settings: Settings) -> bool:
    """Whether the data brings a folder of images without labels."""
    from augsearch.trainers.data.sources.base import find_source

    return find_source(settings.data.source).unlabeled_folder() is not None


def open_for_final(
    settings: Settings, data: Data, file: PolicyFile, pixels: Pixels, display: Display
) -> Unlabeled | None:
    """The unlabeled images as the final training takes them; None where it takes none.

    Raises:
        UserError: there are none, and the policy file wants some.
    """
    semi = file.training.semi
    if semi is None:
        return None
    how = {"side": pixels.side, "crop_scale": settings.final.crop_scale}
    found = find_unlabeled(settings, data.images, data.splits, data.target, display, **how)
    if found is None:
        where = settings.data.source or "the embedded data set"
        raise UserError(
            f"the policy learns from unlabeled images ({TECHNIQUES[semi.technique]}), and {where} has none: "
            "give --unlabeled FOLDER, or --semi none"
        )
    left_out = f", {found.refused:,} left out as above" if found.refused and data.unlabeled else ""
    if found.refused and not data.unlabeled:
        left_out = f", {found.refused:,} left out that are also in validation, confirmation or test"
    display.line(
        f"unlabeled images: {len(found.chosen):,} ({found.name}){left_out}, by {TECHNIQUES[semi.technique]}"
    )
    return found
