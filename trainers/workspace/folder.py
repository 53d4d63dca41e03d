"""The folder that a search's driver and its workers share: images, splits, settings.

What it names lies where it is said from the folder itself, so it may be seen at another path elsewhere.
Nothing here imports torch, so that the driver is at work while its workers still load it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.policies.atomic import whole_file, write_text
from augsearch.trainers.data.dataset import ImageData, Indices, load_cache
from augsearch.trainers.data.splits import Splits, bounded, cross_fitted, fold_subset
from augsearch.trainers.data.target_domain import Target, load_target
from augsearch.trainers.models.names import MODEL_SUFFIX, is_model_file
from augsearch.trainers.workspace.candidate import SELF, ProxySettings
from augsearch.trainers.workspace.folds import Fold, Stage, most_scored
from augsearch.trainers.workspace.left import LeftFiles

DOCUMENT, PARTS = "workspace.json", "parts.npz"
"""What lies in the folder: what the workspace is made of; the rows of the images that are for each part."""


@dataclass(frozen=True, eq=False)
class Workspace:
    """What workers may see of a study: its images and all splits but the test split."""

    folder: Path
    data: ImageData
    train: Indices
    validation: Indices
    confirmation: Indices
    proxy: ProxySettings
    unlabeled: NDArray[np.uint8]
    """(U, S, S, C): images without labels, none of them in another split but ``train``."""
    target: Target | None = None
    """What candidates are scored on instead of the data's own images."""

    @property
    def pool(self) -> Indices:
        """What cross-fitting divides anew in each fold: all that neither scored the search nor is sealed."""
        return np.sort(np.concatenate([self.train, self.confirmation]))

    def scored_on(self, fold: Fold) -> Indices:
        """The data's own images that are scored in ``fold``: no more than the training costs, but where they
        are apart for the confirmation."""
        if fold.stage is Stage.CROSS_FITTING:
            return self._cross_fitted(fold)[1]
        if fold.stage is Stage.SEARCH:
            return self._no_more_than_training(self.validation, self.data.labels)
        return self.confirmation

    def scored_images(self, fold: Fold) -> tuple[NDArray[np.uint8], Indices]:
        """Images (N, S, S, C) and labels that candidates are scored on: the target's if there is one."""
        labels = self.scored_labels(fold)
        if self.target is None:
            return self.data.images[self.scored_on(fold)], labels
        return self.target.images(self._scored_on(self.target, fold)), labels

    def scored_labels(self, fold: Fold) -> Indices:
        """The labels of ``scored_images``."""
        if self.target is None:
            return self.data.labels[self.scored_on(fold)]
        return self.target.labels(self._scored_on(self.target, fold))

    def _scored_on(self, target: Target, fold: Fold) -> Indices:
        """The target's images that are scored in ``fold``."""
        if fold.stage is Stage.SEARCH:
            return self._no_more_than_training(target.validation, target.data.labels)
        return target.confirmation

    def _no_more_than_training(self, images: Indices, labels: Indices) -> Indices:
        """As many of ``images`` as may be scored after a fold, the same for all candidates."""
        most = most_scored(self.proxy.fold_size, self.proxy.epochs)
        return bounded(images, labels, most=most, seed=self.proxy.seed)

    def scored_rows(self, fold: Fold) -> NDArray[np.bool_] | None:
        """(M,): which images of ``pool`` are scored in ``fold``; None: the same images in every fold."""
        if fold.stage is not Stage.CROSS_FITTING:
            return None
        return np.isin(self.pool, self.scored_on(fold), assume_unique=True)

    def scored_groups(self, fold: Fold) -> Indices | None:
        """The groups of ``pool`` where folds divide it anew, else of the images that are scored in ``fold``;
        None: each stands alone."""
        if self.target is not None:
            groups, rows = self.target.groups, self._scored_on(self.target, fold)
        else:
            groups = self.data.groups
            rows = self.pool if fold.stage is Stage.CROSS_FITTING else self.scored_on(fold)
        if groups is None:
            return None
        numbers: Indices = np.unique(groups[rows], return_inverse=True)[1].astype(np.int64)
        return numbers

    def training_subset(self, fold: Fold) -> Indices:
        """The training images of ``fold``."""
        if fold.stage is Stage.CROSS_FITTING:
            return self._cross_fitted(fold)[0]
        seed = 2 * self.proxy.seed + list(Stage).index(fold.stage)
        return fold_subset(
            self.train, self.data.labels, fold=fold.index, size=self.proxy.fold_size, seed=seed
        )

    def pool_share(self, fold: Fold) -> float:
        """The share of the images that folds learn from which ``fold`` learns from; where a fold learns from
        some groups and no others, all images of these count, because who knows some of them knows the rest.
        """
        learned = self.training_subset(fold)
        if fold.stage is not Stage.CROSS_FITTING:
            return len(learned) / len(self.train)
        if self.data.groups is not None:
            groups = self.data.groups
            return float(np.isin(groups[self.pool], groups[learned]).mean())
        return len(learned) / len(self.pool)

    def _cross_fitted(self, fold: Fold) -> tuple[Indices, Indices]:
        size = min(self.proxy.fold_size, len(self.train))
        return cross_fitted(
            self.pool,
            self.data.labels,
            fold=fold.index,
            size=size,
            most=most_scored(size, self.proxy.epochs),
            seed=self.proxy.seed,
            groups=self.data.groups,
        )

    def sample(self, size: int) -> Indices:
        """At most ``size`` training images, always the same; one of each class at least."""
        size = max(size, len(self.data.classes))
        return fold_subset(self.train, self.data.labels, fold=0, size=size, seed=self.proxy.seed)

    @property
    def given_teacher(self) -> Path | None:
        """The model file that is the teacher; None: one is trained, or there is none."""
        name = self.proxy.teacher
        return Path(name) if name is not None and name != SELF and is_model_file(name) else None

    @property
    def trains_teachers(self) -> bool:
        """Whether folds that ask for a teacher have one that is trained for them."""
        return self.proxy.teacher is not None and self.given_teacher is None

    @property
    def fold_teachers(self) -> Path:
        """Where the teachers of folds are kept, while they are of use."""
        return self.folder / "teachers"

    def left_teacher(self, fold: Fold) -> LeftFiles | None:
        """The files of the teacher of ``fold``, if it was made before; asks for no torch."""
        for path in self.fold_teachers.glob(f"{teacher_prefix(fold)}*{MODEL_SUFFIX}"):
            card = path.with_suffix(".json")
            if card.exists():
                return LeftFiles(tuple(f"teachers/{file.name}" for file in (path, card)))
        return None

    @property
    def final_teachers(self) -> Path:
        """Where the teachers of final trainings are kept, those of other studies of the data too."""
        return self.folder.parent / "teachers"


def teacher_prefix(fold: Fold) -> str:
    """What the file of the teacher of ``fold`` begins with."""
    return f"{fold.stage.value}-{fold.index}-"


def write_workspace(
    folder: Path,
    data: ImageData,
    splits: Splits,
    proxy: ProxySettings,
    unlabeled: tuple[Path, Indices] | None = None,
    target: Target | None = None,
) -> Workspace:
    """Write what workers need into ``folder``; the test split's indices are not among it.

    ``unlabeled`` is an ``.npy`` file of images, uint8 (N, S, S, C), and the rows that may be learned from.
    """
    none = np.empty(0, dtype=np.int64)
    path, rows = unlabeled or (None, none)
    parts = {
        "train": splits.train,
        "validation": splits.validation,
        "confirmation": splits.confirmation,
        "unlabeled": rows,
        "target_validation": target.validation if target else none,
        "target_confirmation": target.confirmation if target else none,
    }
    if target is not None and target.groups is not None:
        parts["target_groups"] = target.groups
    with whole_file(folder / PARTS) as temporary:
        np.savez(temporary, allow_pickle=False, **parts)
    document = {
        "cache": _said_from(folder, data.cache),
        "unlabeled": None if path is None else _said_from(folder, path),
        "target": None
        if target is None
        else {"source": target.source, "cache": _said_from(folder, target.data.cache)},
        "proxy": proxy.model_dump(),
    }
    given = {
        name: file if file.is_absolute() else _said_from(folder, file) for name, file in proxy.files.items()
    }
    if given:
        document["given"] = {name: str(file) for name, file in given.items()}
    write_text(folder / DOCUMENT, json.dumps(document, indent=2))
    open_workspace.cache_clear()
    return open_workspace(folder)


def read_document(folder: Path) -> dict[str, Any]:
    """What the folder of a workspace says of it, with all paths as they are from here.

    Raises:
        OSError: there is no such folder.
        ValueError: it says nothing that can be read.
    """
    document: dict[str, Any] = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
    document["cache"] = _found_from(folder, document["cache"]).absolute()
    if document["unlabeled"] is not None:
        document["unlabeled"] = _found_from(folder, document["unlabeled"]).absolute()
    if document["target"] is not None:
        document["target"]["cache"] = _found_from(folder, document["target"]["cache"]).absolute()
    given = document.pop("given", {})
    document["proxy"] |= {name: str(_found_from(folder, file)) for name, file in given.items()}
    return document


@lru_cache(maxsize=4)
def open_workspace(folder: Path) -> Workspace:
    """Map a workspace's images into this process; fast, and shared between processes."""
    document = read_document(folder)
    data, target = load_cache(document["cache"]), document["target"]
    with np.load(folder / PARTS) as rows:
        halves = rows["target_validation"], rows["target_confirmation"]
        # Missing where there are none, and in workspaces of older versions.
        groups = rows.get("target_groups")
        return Workspace(
            folder,
            data,
            rows["train"],
            rows["validation"],
            rows["confirmation"],
            ProxySettings(**document["proxy"]),
            _unlabeled(document["unlabeled"], rows["unlabeled"], data),
            target and load_target(data, *halves, groups, **target),
        )


def _said_from(folder: Path, path: Path) -> str:
    """Where ``path`` lies from ``folder``; on another drive of Windows nothing but itself says it."""
    try:
        return PurePath(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return str(path.absolute())


def _found_from(folder: Path, said: str) -> Path:
    # Without asking the disk: where a folder on the way is a link, ".." leads back to where the link is.
    return Path(os.path.normpath(folder / said))


def _unlabeled(path: Path | None, rows: Indices, data: ImageData) -> NDArray[np.uint8]:
    if path is None:
        return np.empty((0, *data.images.shape[1:]), dtype=np.uint8)
    images: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    # Where nearly all are wanted they stay on pages that all workers share.
    return images if len(rows) == len(images) else images[rows]
