"""Opening any data set: which source knows it, and its memory-mapped cache."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import (
    CACHE_FORMAT,
    LARGEST_SIDE,
    SMALL_SIDE,
    SMALLEST_SIDE,
    ImageData,
    in_cache,
    load_cache,
)
from augsearch.trainers.data.sources.base import Source


def open_images(
    source: str | None,
    *,
    image_size: int | None,
    cache: Path,
    largest: int = SMALL_SIDE,
    skip_bad_images: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImageData:
    """Open a data set, decoding it first if the cache does not hold it.

    Args:
        source: None for the embedded Fashion-MNIST; a folder of class folders; a folder with ``train/`` and
            perhaps ``val/`` and ``test/``, each of class folders; an ``.npz`` file with ``images``,
            ``labels`` and perhaps ``classes``; or ``torchvision:NAME``. A folder's ``unlabeled/`` is left
            alone: see ``open_unlabeled``.
        image_size: side of the decoded images in pixels, 8 to 1024: the shorter side is scaled to it and the
            centre is kept. None takes the median shorter side, but at most ``largest``.
        cache: the folder that holds the decoded caches; made if need be.
        largest: side in pixels, if ``image_size`` says none.
        skip_bad_images: go on without the images that cannot be read, and list them in ``skipped``.
        progress: called with (images done, images in all) while decoding, and not at all on a cache hit.

    Raises:
        UserError: the source is missing, is laid out in a way that is not understood, or holds an image that
            cannot be read; or the cache cannot be written.
    """
    # Here and not above, because a worker that only maps a cache need not wait for Pillow to be imported.
    from augsearch.trainers.data.cache import write_cache

    if image_size is not None and not SMALLEST_SIDE <= image_size <= LARGEST_SIDE:
        raise UserError(f"image_size must be from {SMALLEST_SIDE} to {LARGEST_SIDE} pixels, got {image_size}")
    found = find_source(source)

    def folder() -> Path:
        asked = [CACHE_FORMAT, found.signature(), image_size or f"up to {largest}", skip_bad_images]
        return cache.absolute() / hashlib.blake2b(json.dumps(asked).encode(), digest_size=12).hexdigest()

    held = in_cache(folder(), load_cache)
    if held is None:
        stream = found.open()
        # Asked again, because opening may have downloaded the files that the signature lists.
        target = folder()
        write_cache(stream, found.name, target, image_size, largest, skip_bad_images, progress)
        held = load_cache(target)
    return held


def find_source(source: str | None) -> Source:
    """Tell what kind of data set ``source`` is; see ``open_images``.

    Raises:
        UserError: it is missing, or is none of those kinds.
    """
    # One import each, because Pillow takes a tenth of a second and torchvision ten.
    if source is None:
        from augsearch.trainers.data.sources.arrays import embedded

        return embedded()
    if source.startswith("torchvision:"):
        from augsearch.trainers.data.sources.torchvision import TorchvisionSource

        return TorchvisionSource(source.removeprefix("torchvision:"))
    path = Path(source).expanduser()
    if path.is_dir():
        from augsearch.trainers.data.sources.folders import read_folder

        return read_folder(path)
    if not path.exists():
        raise UserError(
            f"there is no file or folder {source}: give a folder of class folders, an .npz file, "
            "or torchvision:NAME"
        )
    if path.suffix.lower() != ".npz":
        raise UserError(f"{source} is neither a folder nor an .npz file")
    from augsearch.trainers.data.sources.arrays import npz_file

    return npz_file(path)
