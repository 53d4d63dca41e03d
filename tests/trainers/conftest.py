"""One thread, so that tests repeat themselves and leave the other core to others; and a small data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import Splits, split
from augsearch.trainers.data.target_domain import open_target
from augsearch.trainers.workspace.candidate import ProxySettings
from augsearch.trainers.workspace.folder import Workspace, write_workspace

CLASSES = ("cat", "cow", "dog", "hen", "pig")
COLOURS = np.array([[130, 60, 60], [60, 130, 60], [60, 60, 130], [120, 110, 40], [90, 90, 90]])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Source(NamedTuple):
    """A data set in memory, and how it is divided."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: Splits

    @property
    def known(self) -> NDArray[np.int64]:
        """What a teacher may speak of."""
        return np.concatenate([self.splits.train, self.splits.validation, self.splits.confirmation])

    def scrambled(self, *parts: str) -> Source:
        """The same but for the parts, whose pixels become noise and whose labels become wrong."""
        images, rows = self.images.copy(), self._rows(parts)
        images[rows] = np.random.default_rng(1).integers(0, 256, images[rows].shape, dtype=np.uint8)
        return self.mislabeled(*parts)._replace(images=images)

    def mislabeled(self, *parts: str) -> Source:
        """The same but for the parts, whose labels become wrong."""
        labels, rows = self.labels.copy(), self._rows(parts)
        labels[rows] = (labels[rows] + 1) % 5
        return self._replace(labels=labels)

    def _rows(self, parts: tuple[str, ...]) -> NDArray[np.int64]:
        return np.concatenate([getattr(self.splits, part) for part in parts])

    def study(self, root: Path, **settings: int | str | None) -> Workspace:
        """What workers see of a study of it."""
        root.mkdir(parents=True, exist_ok=True)
        path = root / "colours.npz"
        np.savez(path, images=self.images, labels=self.labels, classes=np.array(CLASSES))
        data = open_images(str(path), image_size=None, cache=root / "cache")
        assert data.classes == CLASSES
        defaults = {"model": "tiny", "epochs": 2, "fold_size": 50, "seed": 3, "device": "cpu"}
        proxy = ProxySettings.model_validate({**defaults, **settings})
        return write_workspace(root / "work", data, self.splits, proxy)

    def aimed(self, root: Path, *, mislabeled: bool = False, **settings: int | str | None) -> Workspace:
        """The same study, but what counts are 60 darker images of three of the classes."""
        plain = self.study(root, **settings)
        rng, labels = np.random.default_rng(7), np.arange(60) % 3
        images = (0.8 * COLOURS[labels][:, None, None] + rng.normal(20, 20, (60, 8, 8, 3))).clip(0, 255)
        names = np.array(CLASSES)[(labels + 1) % 3 if mislabeled else labels]
        np.savez(root / "dusk.npz", images=images.astype(np.uint8), labels=names)
        path, cache = str(root / "dusk.npz"), root / "cache"
        target, _ = open_target(path, plain.data, self.splits, cache=cache, seed=3)
        return write_workspace(root / "aimed", plain.data, self.splits, plain.proxy, None, target)


@pytest.fixture(scope="session")
def source() -> Source:
    """300 images in 5 classes, which differ in colour, under noise; 20 more have no label."""
    rng = np.random.default_rng(0)
    labels = np.append(np.arange(300) % 5, [-1] * 20)
    images = (COLOURS[labels][:, None, None] + rng.normal(20, 45, (320, 8, 8, 3))).clip(0, 255)
    given = np.where(labels < 0, Split.UNLABELED, Split.ANY).astype(np.int8)
    return Source(images.astype(np.uint8), labels, split(labels, given, classes=CLASSES, seed=0))
