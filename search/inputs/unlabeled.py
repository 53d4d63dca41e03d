"""The images without labels of a run: found, sampled for the search, opened for the final training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from augsearch.policies import PolicyFile, UserError
from augsearch.search.console import Display
from augsearch.search.inputs.run_data import Data
from augsearch.search.settings.data import DataSettings
from augsearch.search.settings.sections import HOME
from augsearch.search.space.space import TECHNIQUES
from augsearch.trainers.data.dataset import ImageData
from augsearch.trainers.data.sources.base import find_source
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.target_domain import Target
from augsearch.trainers.data.unlabeled.dataset import HowOpened, Unlabeled, open_unlabeled
from augsearch.trainers.data.views import Decoded

MOST_UNLABELED = 20_000
"""Unlabeled images that a search learns from: a sample, because no fold comes to see more."""


def find_unlabeled(
    source: DataSettings,
    folder: Path | None,
    images: ImageData,
    splits: Splits,
    target: Target | None,
    how: HowOpened,
    display: Display,
) -> Unlabeled | None:
    """The unlabeled images in ``folder``, or those that the data brings, opened as ``how`` says."""
    with display.bar("opening unlabeled images", total=1) as bar:
        return open_unlabeled(
            source.source,
            images,
            splits,
            folder=folder,
            cache=HOME / "cache",
            how=how,
            target=target,
            progress=bar.reach,
        )


def sample_unlabeled(
    source: DataSettings,
    folder: Path | None,
    images: ImageData,
    splits: Splits,
    target: Target | None,
    seed: int,
    display: Display,
) -> Unlabeled:
    """The unlabeled images that a search learns from: a sample where there are many.

    Raises:
        UserError: there are none.
    """
    how = HowOpened(seed=seed, most=MOST_UNLABELED)
    found = find_unlabeled(source, folder, images, splits, target, how, display)
    if found is None:
        where = source.source or "the embedded data set"
        raise UserError(
            f"{where} has no unlabeled images: give --unlabeled FOLDER, "
            "make a folder unlabeled/ in it, or leave --semi out"
        )
    return found


def decoded_file(unlabeled: Unlabeled) -> Path:
    """The ``.npy`` file of a sample's pixels."""
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


def has_unlabeled_folder(source: DataSettings) -> bool:
    """Whether the data brings a folder of images without labels."""
    return find_source(source.source, source.form).unlabeled_folder() is not None


def open_for_final(
    source: DataSettings, folder: Path | None, data: Data, file: PolicyFile, how: HowOpened, display: Display
) -> Unlabeled | None:
    """The unlabeled images as the final training takes them; None where it takes none.

    Raises:
        UserError: there are none, and the policy file wants some.
    """
    semi = file.training.semi
    if semi is None:
        return None
    found = find_unlabeled(source, folder, data.images, data.splits, data.target, how, display)
    if found is None:
        where = source.source or "the embedded data set"
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
