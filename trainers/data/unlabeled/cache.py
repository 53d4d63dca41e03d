"""What the cache holds of unlabeled files: their pixels, or only their names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.trainers.data.cache import PROGRESS_EVERY, PixelFile
from augsearch.trainers.data.dataset import Indices, Progress
from augsearch.trainers.data.decode import BadImageError, decode_file, pillow_without_warnings, with_channels
from augsearch.trainers.data.form import Reading
from augsearch.trainers.data.sources.folders import Listing
from augsearch.trainers.data.unlabeled.files import Names
from augsearch.trainers.system.hashing import KEY_BYTES, content_key
from augsearch.trainers.system.names import printable
from augsearch.trainers.system.threads import in_order


class DecodedFiles:
    """What the cache holds of decoded files; made by ``decode_files``."""

    def __init__(self, folder: Path) -> None:
        try:
            index = json.loads((folder / "index.json").read_text("utf-8"))
            self.files: list[str] = index["files"]
            self.unreadable = tuple(index["unreadable"])
            self.fingerprint: str = index["fingerprint"]
            self.images: NDArray[np.uint8] = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
            self.keys: NDArray[np.uint8] = np.load(folder / "keys.npy", allow_pickle=False)
            if not len(self.files) == len(self.images) == len(self.keys):
                raise ValueError("its files do not belong together")
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UserError(f"{folder} holds no decoded images ({error})") from error


class ListedFiles:
    """What the cache holds of files that are read when they are wanted."""

    def __init__(self, folder: Path) -> None:
        try:
            self.names = Names(folder)
            self.refused: Indices = np.load(folder / "refused.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{folder} holds no list of files ({error})") from error


def decode_files(
    listing: Listing, shape: tuple[int, int], reading: Reading, folder: Path, progress: Progress | None
) -> None:
    """Decode all files that can be read into ``folder``; ``shape``: side in pixels and channels."""
    side, channels = shape

    def decoded(file: str) -> tuple[NDArray[np.uint8], bytes] | str:
        try:
            content = (listing.root / file).read_bytes()
            return with_channels(decode_file(content, side, reading=reading), channels), content_key(content)
        except BadImageError as error:
            return str(error)
        except OSError as error:
            return error.strerror or str(error)

    files, keys, unreadable = [], [], []
    with pillow_without_warnings(), PixelFile(folder / "images.npy", side, channels) as images:
        results = in_order(decoded, listing.files)
        for done, (file, result) in enumerate(zip(listing.files, results, strict=True), 1):
            if isinstance(result, str):
                unreadable.append(f"{printable(file)}: {result}")
            else:
                images.append(result[0])
                keys.append(result[1])
                files.append(file)
            if progress is not None and (done % PROGRESS_EVERY == 0 or done == len(listing)):
                progress(done, len(listing))
    if not files:
        raise UserError(
            f"{listing.root} has no image that can be read, the first is {unreadable[0]}: "
            "give a folder of images"
        )
    np.save(folder / "keys.npy", np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES))
    content = {"files": files, "unreadable": unreadable, "fingerprint": images.digest.hex()[:32]}
    (folder / "index.json").write_text(json.dumps(content), "utf-8")
