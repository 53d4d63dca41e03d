"""The images of a run: opened, divided, and written down for the workers; and what identifies a study."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augsearch.policies import Transfer, UserError
from augsearch.search.display import Display
from augsearch.search.settings import HOME, TRACKED, Settings
from augsearch.search.targets import find_target
from augsearch.trainers.folds import (
    SELF,
    ProxySettings,
    Workspace,
    content_of,
    default_epochs,
    default_fold_size,
    write_workspace,
)
from augsearch.trainers.images import SMALL_SIDE, ImageData, open_images
from augsearch.trainers.networks import is_built_in, is_model_file
from augsearch.trainers.splits import Splits, split
from augsearch.trainers.targets import Target

if TYPE_CHECKING:
    from augsearch.trainers.unlabeled import Unlabeled

MOST_UNLABELED = 20_000
"""Unlabeled images that a search learns from: a sample, because no fold comes to see more."""


@dataclass(frozen=True, slots=True)
class Data:
    """The images of a run, divided, and the folder that its workers see."""

    images: ImageData
    splits: Splits
    workspace: Workspace
    unlabeled: Unlabeled | None = None
    """What the search learns from beside them."""
    target: Target | None = None
    """What it scores on instead of their own validation and confirmation part."""

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
            largest=_largest_side(settings),
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
        weights=settings.weights_of(settings.proxy_model),
        input_size=settings.input_size,
        epochs=settings.epochs or default_epochs(fold_size),
        fold_size=fold_size,
        seed=settings.seed,
        device=settings.device,
        teacher=_teacher(settings),
        teacher_weights=_teacher_weights(settings),
        metric=settings.metric,
    )
    target, about_target = find_target(settings, images, splits, display) or (None, "")
    unlabeled = None
    if settings.with_unlabeled:
        unlabeled = _sample_of_unlabeled(settings, images, splits, target, display)
    key = _workspace_key(images, splits, proxy, unlabeled, target)
    beside = (_decoded_file(unlabeled), unlabeled.chosen) if unlabeled else None
    workspace = write_workspace(HOME / "work" / key, images, splits, proxy, beside, target)
    _, side, _, channels = images.images.shape
    parts = {
        name: len(getattr(splits, name))
        for name in ("train", "validation", "confirmation", "test", "unlabeled")
    }
    counts = ", ".join(f"{count} {name}" for name, count in parts.items() if count)
    counts = counts.replace(" test", " test (sealed)")
    colour = "grey" if channels == 1 else "RGB"
    display.line(f"{images.name}: {len(images.classes)} classes, {side} px {colour}; {counts}")
    if target is not None:
        display.line(about_target)
    if unlabeled is not None:
        display.line(_unlabeled_in_words(unlabeled))
    elif settings.semi is None and (len(splits.unlabeled) or _has_unlabeled_folder(settings)):
        display.line("images without labels are not used; --semi search finds out whether they help")
    return Data(images, splits, workspace, unlabeled, target)


def _workspace_key(
    images: ImageData,
    splits: Splits,
    proxy: ProxySettings,
    unlabeled: Unlabeled | None,
    target: Target | None,
) -> str:
    # The metric came later: with the usual one the folder stays where it was, and a final model up to date.
    left_out = {"device", "metric"} if proxy.metric == "accuracy" else {"device"}
    return digest(
        [
            *(images.fingerprint, splits.digests(), _content(proxy.model_dump(exclude=left_out))),
            *([unlabeled.fingerprint] if unlabeled else []),
            *([target.fingerprint] if target else []),
        ]
    )


def find_unlabeled(
    settings: Settings, images: ImageData, splits: Splits, display: Display, **how: Any
) -> Unlabeled | None:
    """The unlabeled images that the settings name or the data brings, opened as ``how`` says; None: none."""
    from augsearch.trainers.unlabeled import open_unlabeled

    with display.bar("opening unlabeled images", total=1) as bar:
        return open_unlabeled(
            settings.data,
            images,
            splits,
            folder=settings.unlabeled,
            cache=HOME / "cache",
            seed=settings.seed,
            progress=bar.reach,
            **how,
        )


def _sample_of_unlabeled(
    settings: Settings, images: ImageData, splits: Splits, target: Target | None, display: Display
) -> Unlabeled:
    found = find_unlabeled(settings, images, splits, display, target=target, most=MOST_UNLABELED)
    if found is None:
        raise UserError(
            f"{settings.data or 'the embedded data set'} has no unlabeled images: give --unlabeled FOLDER, "
            "make a folder unlabeled/ in it, or leave --semi out"
        )
    return found


def _decoded_file(unlabeled: Unlabeled) -> Path:
    """The ``.npy`` file of a sample's pixels."""
    from augsearch.trainers.pixels import Decoded

    assert isinstance(unlabeled.pixels, Decoded)
    assert isinstance(unlabeled.pixels.images, np.memmap)
    return Path(str(unlabeled.pixels.images.filename))


def _unlabeled_in_words(unlabeled: Unlabeled) -> str:
    words = f"unlabeled: {unlabeled.found:,} images ({unlabeled.name})"
    if unlabeled.refused:
        words += f"; {unlabeled.refused:,} left out that are also in validation, confirmation or test"
    if unlabeled.unreadable:
        words += f"; {len(unlabeled.unreadable):,} can't be read, the first is {unlabeled.unreadable[0]}"
    if len(unlabeled.chosen) < unlabeled.found - unlabeled.refused - len(unlabeled.unreadable):
        words += f"; the search learns from {len(unlabeled.chosen):,}"
    return words


def _has_unlabeled_folder(settings: Settings) -> bool:
    if settings.data is None or not Path(settings.data).is_dir():
        return False
    from augsearch.trainers.folders import find_unlabeled_folder

    return find_unlabeled_folder(Path(settings.data)) is not None


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
        "epochs": proxy.epochs,
        "fold size": proxy.fold_size,
        "transfer": _transfer_in_words(settings),
        "teacher view": settings.teacher_view if settings.with_teacher else None,
        "semi": _semi_in_words(settings),
        "unlabeled": f"{data.unlabeled.name} {data.unlabeled.fingerprint[:12]}" if data.unlabeled else None,
        **_content(
            {
                "proxy model": proxy.model,
                "weights": proxy.weights,
                "input size": proxy.input_size,
                "teacher": proxy.teacher,
                "teacher weights": proxy.teacher_weights,
            }
        ),
        **_named_where_set(settings, data),
    }


def _named_where_set(settings: Settings, data: Data) -> dict[str, str]:
    """Fields that studies of old don't have: left out where they say nothing, or those got other names."""
    fields = {
        "metric": settings.metric if settings.metric != "accuracy" else None,
        "sampler": settings.sampler if settings.sampler != "tpe" else None,
        "pruner": settings.pruner if settings.pruner != "wilcoxon" else None,
        "validation": data.target.fingerprint[:12] if data.target else None,
        # Until there was one for each fold, it was trained once, on the whole training part.
        "trained teacher": "of each fold" if _trains_teacher(data.workspace) else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _trains_teacher(workspace: Workspace) -> bool:
    return workspace.proxy.teacher is not None and workspace.given_teacher is None


def study_name(settings: Settings, data: Data) -> str:
    """As it was given, or after the data and a hash of what must be the same."""
    return settings.study or f"{data.images.name}-{digest(identity_of(settings, data))[:6]}"


def _content(fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` with the content of a file in the place of its path."""
    return {name: content_of(value) if isinstance(value, str) else value for name, value in fields.items()}


def _transfer_in_words(settings: Settings) -> str | None:
    transfer = settings.space.transfer
    return transfer.model_dump_json() if isinstance(transfer, Transfer) else transfer


def _semi_in_words(settings: Settings) -> str | None:
    space = settings.space.semi
    if space is None:
        return None
    given = "".join(f", {name} {value}" for name, value in space.fixed)
    return f"{'search' if space.searched else space.techniques[0]}{given}"


def _largest_side(settings: Settings) -> int:
    """The largest side that is taken without being asked for: what the proxy's weights were trained at."""
    if settings.weights_of(settings.proxy_model) == "none" or is_model_file(settings.proxy_model):
        return SMALL_SIDE
    from augsearch.trainers.hubs import native

    return settings.input_size or native(settings.proxy_model).side


def _teacher_weights(settings: Settings) -> str:
    own = settings.teacher == SELF or is_built_in(settings.teacher)
    return "none" if own else settings.teacher_weights


def _teacher(settings: Settings) -> str | None:
    """The teacher's network or file; one in MLflow is fetched."""
    if not settings.with_teacher:
        return None
    if not settings.teacher.startswith(TRACKED):
        return settings.teacher
    from augsearch.search.tracking import fetch_model

    return str(fetch_model(settings.teacher, settings.tracking_uri))


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
