"""Images from where the model will be used (``--validation``): opened and told of."""

from __future__ import annotations

from augsearch.policies.errors import some
from augsearch.search.console import Display
from augsearch.search.settings.data import DataSettings
from augsearch.search.settings.sections import HOME
from augsearch.trainers.data.dataset import ImageData
from augsearch.trainers.data.sources.base import find_source
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.target_domain import Handling, LeftOut, Target, open_target

MOST_NUMBERS = 10_000
"""Classes that have no names may have the numbers below this one."""


def find_target(
    source: DataSettings, images: ImageData, splits: Splits, seed: int, display: Display
) -> tuple[Target, str] | None:
    """The target that the settings name, and what to say of it; None: they name none.

    Raises:
        UserError: it is bad, or its classes don't fit.
    """
    if source.validation is None:
        return None
    with display.bar("decoding validation images", total=1) as bar:
        target, left_out = open_target(
            str(source.validation),
            images,
            splits,
            cache=HOME / "cache",
            seed=seed,
            handling=Handling(
                source.skip_bad_images,
                source.group_by,
                _rare_classes(source, images),
                merged=source.rare_classes == "merge",
            ),
            progress=bar.reach,
        )
    for skipped in target.data.skipped:
        display.line(f"skipped {skipped}")
    return target, _in_words(target, left_out)


def _rare_classes(source: DataSettings, images: ImageData) -> tuple[str, ...]:
    """Classes of the data that ``images`` have no more; what has no names is called by its number."""
    if source.min_per_class is None:
        return ()
    names = find_source(source.source, images.form).open().classes or tuple(map(str, range(MOST_NUMBERS)))
    return tuple(name for name in names if name not in images.classes)


def _in_words(target: Target, left_out: LeftOut) -> str:
    words = (
        f"optimising for {target.source}: {len(target.validation):,} images for the search, "
        f"{len(target.confirmation):,} for the confirmation"
    )
    if left_out.copies:
        words += f"; {left_out.copies:,} left out that are also in train, validation or test"
    if left_out.grouped:
        words += f"; {left_out.grouped:,} left out that are of one group with some of those"
    if left_out.rare:
        words += f"; {left_out.rare:,} left out of classes that are too rare in the data"
    if left_out.repeats:
        words += f"; {left_out.repeats:,} left out that repeat others"
    if target.absent:
        words += f"; of some classes there are none ({some(target.absent, 5)})"
    return words
