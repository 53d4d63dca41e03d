"""The images of a run: opened, divided, and written down for the workers; and what identifies a study."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augsearch.policies import UserError
from augsearch.search.display import Display
from augsearch.search.settings import HOME, Settings
from augsearch.trainers.folds import (
    ProxySettings,
    Workspace,
    default_epochs,
    default_fold_size,
    write_workspace,
)
from augsearch.trainers.images import ImageData, open_images
from augsearch.trainers.splits import Splits, split


@dataclass(frozen=True, slots=True)
class Data:
    """The images of a run, divided, and the folder that its workers see."""

    images: ImageData
    splits: Splits
    workspace: Workspace

    @property
    def experiment(self) -> str:
        """The MLflow experiment of this data set."""
        return f"{self.images.name} {self.images.fingerprint[:8]}"

    @property
    def label(self) -> str:
        """The data set's name and content."""
        return f"{self.images.name} {self.images.fingerprint[:12]}"


def open_data(settings: Settings, display: Display) -> Data:
    """Decode or map the images, divide them, and write down what workers may see."""
    with display.bar("decoding images", total=1) as bar:
        images = open_images(
            settings.data,
            image_size=settings.image_size,
            cache=HOME / "cache",
            skip_bad_images=settings.skip_bad_images,
            progress=bar.reach,
        )
    for skipped in images.skipped:
        display.line(f"skipped {skipped}")
    splits = split(
        images.labels, images.given, classes=images.classes, seed=settings.seed, limit=settings.limit
    )
    fold_size = min(settings.fold_size or default_fold_size(len(splits.train)), len(splits.train))
    proxy = ProxySettings(
        model=settings.proxy_model,
        epochs=settings.epochs or default_epochs(fold_size),
        fold_size=fold_size,
        seed=settings.seed,
        device=settings.device,
        teacher=settings.teacher if settings.with_teacher else None,
    )
    key = digest(
        [images.fingerprint, splits.digests(), proxy.model_dump(exclude={"device"}), _teacher_stamp(proxy)]
    )
    workspace = write_workspace(HOME / "work" / key, images, splits, proxy)
    _, side, _, channels = images.images.shape
    parts = {
        name: len(getattr(splits, name))
        for name in ("train", "validation", "confirmation", "test", "unlabeled")
    }
    counts = ", ".join(f"{count} {name}" for name, count in parts.items() if count)
    counts = counts.replace(" test", " test (sealed)")
    colour = "grey" if channels == 1 else "RGB"
    display.line(f"{images.name}: {len(images.classes)} classes, {side} px {colour}; {counts}")
    return Data(images, splits, workspace)


def identity_of(settings: Settings, data: Data) -> dict[str, Any]:
    """What must be the same for a study to be taken up again."""
    proxy = data.workspace.proxy
    return {
        "data": data.label,
        "splits": digest(data.splits.digests())[:12],
        "image size": int(data.images.images.shape[1]),
        "seed": settings.seed,
        "folds": settings.folds,
        "limit": settings.limit,
        "operations": ", ".join(settings.operations),
        "proxy model": proxy.model,
        "epochs": proxy.epochs,
        "fold size": proxy.fold_size,
        "teacher": _teacher_stamp(proxy),
    }


def _teacher_stamp(proxy: ProxySettings) -> str | None:
    """The teacher's name, or its file's content."""
    if proxy.teacher is None or not proxy.teacher.endswith(".safetensors"):
        return proxy.teacher
    try:
        return hashlib.blake2b(Path(proxy.teacher).read_bytes(), digest_size=6).hexdigest()
    except OSError as error:
        raise UserError(f"teacher {proxy.teacher}: {(error.strerror or str(error)).lower()}") from None


def make_folder(folder: Path) -> None:
    """Have ``folder`` ready before hours of work are to be kept in it.

    Raises:
        UserError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: can't be made ({error.strerror}); give another --output") from None


def digest(value: Any) -> str:
    """A short hash of plain values."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()
