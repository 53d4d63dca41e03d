"""Opening any data set: which source knows it, and its memory-mapped cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import (
    CACHE_FORMAT,
    DECODING,
    LARGEST_SIDE,
    SMALL_SIDE,
    SMALLEST_SIDE,
    ImageData,
    Progress,
    in_cache,
    load_cache,
)
from augsearch.trainers.data.form import AS_FOUND, PLAIN, Form
from augsearch.trainers.data.sources.base import find_source
from augsearch.trainers.system.hashing import cache_key


def open_images(
    source: str | None,
    *,
    image_size: int | None,
    cache: Path,
    largest: int = SMALL_SIDE,
    skip_bad_images: bool = False,
    form: Form = PLAIN,
    progress: Progress | None = None,
) -> ImageData:
    """Open a data set, decoding it first if the cache does not hold it.

    Args:
        source: None for the embedded Fashion-MNIST; a folder of class folders; a folder with ``train/`` and
            perhaps ``val/`` and ``test/``, each of class folders; an ``.npz`` file with ``images``,
            ``labels`` and perhaps ``classes``; ``torchvision:NAME``; or what another file in ``sources/``
            finds. A folder's ``unlabeled/`` is left alone: see ``open_unlabeled``.
        image_size: side of the decoded images in pixels, 8 to 1024: the shorter side is scaled to it and the
            centre is kept. None takes the median shorter side, but at most ``largest``.
        cache: the folder that holds the decoded caches; made if need be.
        largest: side in pixels, if ``image_size`` says none.
        skip_bad_images: go on without the images that cannot be read, and list them in ``skipped``.
        form: what its folders or columns mean, and how its pixels are read.
        progress: called while decoding, and not at all on a cache hit.

    Raises:
        UserError: the source is missing, is laid out in a way that is not understood, or holds an image that
            cannot be read; or the cache cannot be written.
    """
    # Here and not above, because a worker that only maps a cache need not wait for Pillow to be imported.
    from augsearch.trainers.data.cache import Decoding, write_cache
    from augsearch.trainers.data.survey import as_its_pixels_want

    if image_size is not None and not SMALLEST_SIDE <= image_size <= LARGEST_SIDE:
        raise UserError(f"image_size must be from {SMALLEST_SIDE} to {LARGEST_SIDE} pixels, got {image_size}")
    found = find_source(source, form)
    # The embedded images are as they were in every version, and so found where an earlier one decoded them.
    more = [] if source is None and form == PLAIN else [DECODING, form.reading.model_dump(mode="json")]
    more += [] if form.layout == AS_FOUND else [form.layout.model_dump(mode="json", exclude_defaults=True)]

    def folder() -> Path:
        asked = [CACHE_FORMAT, found.signature(), image_size or f"up to {largest}", skip_bad_images]
        return cache.absolute() / cache_key(asked + more, size=12)

    held = in_cache(folder(), load_cache)
    if held is None:
        opened = found.open()
        # Asked again, because opening may have downloaded the files that the signature lists.
        target = folder()
        opened, seen, notes = as_its_pixels_want(opened, form)
        size = image_size or opened.side(largest)
        write_cache(opened, target, Decoding(found.name, size, skip_bad_images, progress, seen, notes))
        held = load_cache(target)
    about = getattr(found, "notes", None)
    return held if about is None else replace(held, notes=(*about(), *held.notes))


def image_paths(source: str | None, data: ImageData) -> list[Path] | None:
    """The files of ``data``, which was opened from ``source``, in its order; None where they are no files."""
    folder = find_source(source, data.form).folder
    return None if folder is None else [folder / file for file in data.files]
