"""What the search's driver and its workers exchange: candidates, folds, results, and a shared folder.

Nothing here imports torch, so that the driver is at work while its workers still load it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from augsearch.policies import Distillation, Policy, Semi, Training, Transfer
from augsearch.trainers.images import ImageData, load_cache
from augsearch.trainers.networks import is_model_file
from augsearch.trainers.sources import stamp
from augsearch.trainers.splits import Splits, fold_subset
from augsearch.trainers.targets import Target, load_target


class Candidate(BaseModel):
    """What is compared: a policy; with a teacher, how much to listen to it; with weights, how to use them;
    with unlabeled images, how to learn from those."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Policy
    distillation: Distillation | None = None
    transfer: Transfer | None = None
    semi: Semi | None = None

    @property
    def training(self) -> Training:
        """What a policy file says of how to train."""
        return Training(distillation=self.distillation, transfer=self.transfer, semi=self.semi)


Metric = Literal["accuracy", "macro-f1", "log-loss", "balanced-accuracy"]
"""What a search optimises."""


class Stage(StrEnum):
    """The two times when candidates are scored, on different validation images and seeds."""

    SEARCH = "search"
    CONFIRMATION = "confirmation"


@dataclass(frozen=True, slots=True)
class Fold:
    """A training subset and a seed: the same for every candidate that is scored on it."""

    stage: Stage
    index: int

    def seeds(self, seed: int) -> tuple[int, int]:
        """Seeds of the weights and of the training."""
        stage = list(Stage).index(self.stage)
        weights, training = np.random.SeedSequence([seed, stage, self.index]).generate_state(2)
        return int(weights), int(training)


@dataclass(frozen=True, slots=True, eq=False)
class FoldResult:
    """How a candidate did on a fold."""

    accuracy: float
    log_loss: float
    ece: float
    seconds: float
    """Of training and scoring."""
    images: int
    """Image passes of the training."""
    correct: NDArray[np.bool_]
    """(N,): which validation images were classified rightly."""
    macro_f1: float = math.nan
    """This and the next are missing from results of old."""
    balanced_accuracy: float = math.nan
    metric: Metric = "accuracy"
    """What the search optimises."""
    values: NDArray[np.float16] | None = None
    """(N,): what each validation image adds to the score, see ``scores.values_by``; None: ``correct``."""
    beside: float | None = None
    """The score on the data's own images, where the target's images are what counts."""
    teacher_images: int = 0
    """This and the next: what training the fold's teacher took. All who ask it share it, so of all results
    on a fold it counts once."""
    teacher_seconds: float = 0.0

    @property
    def score(self) -> float:
        """By the metric of the search: higher is better, so of log-loss the negative."""
        if self.metric == "log-loss":
            return -self.log_loss
        return float(getattr(self, self.metric.replace("-", "_")))

    @property
    def by_image(self) -> NDArray[np.float64]:
        """(N,): what each validation image adds to the score, which is their mean."""
        return (self.correct if self.values is None else self.values).astype(float)

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``correct`` as one bit an image."""
        bits = base64.b64encode(np.packbits(self.correct).tobytes()).decode()
        values = None if self.values is None else base64.b64encode(self.values.tobytes()).decode()
        return {**asdict(self), "correct": bits, "scored": len(self.correct), "values": values}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> FoldResult:
        """What ``to_json`` made."""
        values = dict(document)
        scored = values.pop("scored")
        packed = np.frombuffer(base64.b64decode(values["correct"]), dtype=np.uint8)
        values["correct"] = np.unpackbits(packed, count=scored).astype(bool)
        if values.get("values") is not None:
            values["values"] = np.frombuffer(base64.b64decode(values["values"]), dtype=np.float16)
        return cls(**values)


SELF = "self"
"""A teacher that is the student's network, trained before it: self-distillation (Furlanello et al. 2018)."""


class ProxySettings(BaseModel):
    """How every proxy of a study is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    weights: str = "none"
    """``none``, ``hub`` or a file."""
    input_size: int | None = None
    """Side to which the network resizes the images; None: what suits it."""
    epochs: int
    fold_size: int
    """Training images of a fold."""
    seed: int
    device: str
    teacher: str | None = None
    """A network to train as the teacher, or a model file; ``SELF``: the student's own network."""
    teacher_weights: str = "none"
    """What that network starts from: ``none``, ``hub`` or a file."""
    metric: Metric = "accuracy"
    """What candidates are scored by."""


def default_fold_size(train: int) -> int:
    """Four fifths of the training part, so that folds differ, but at most 1,000 images."""
    return max(1, min(1000, math.ceil(0.8 * train)))


def default_epochs(images: int) -> int:
    """30, and more where there are so few images that 30 would be too few steps to learn anything."""
    return min(max(30, math.ceil(12_000 / images)), 120)


def default_final_epochs(images: int, beside: bool = False) -> int:
    """About 60,000 passes of images with labels, in no fewer than 30 epochs and no more than 150.

    ``beside``: images without labels are learned from too, which takes more steps than a few labels' 150
    epochs have, and forbids to learn those by heart; so at most 600.
    """
    return min(max(30, math.ceil(60_000 / images)), 600 if beside else 150)


@dataclass(frozen=True, eq=False)
class Workspace:
    """What workers may see of a study: its images and all parts but the test part."""

    folder: Path
    data: ImageData
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    confirmation: NDArray[np.int64]
    proxy: ProxySettings
    unlabeled: NDArray[np.uint8]
    """(U, S, S, C): images without labels, none of them in any other part but ``train``."""
    target: Target | None = None
    """What candidates are scored on instead of the data's own images."""

    def scored_on(self, stage: Stage) -> NDArray[np.int64]:
        """The data's own validation images of ``stage``."""
        return self.validation if stage is Stage.SEARCH else self.confirmation

    def judged_by(self, stage: Stage) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """What decides at ``stage``: images (N, S, S, C), the target's if there is one, and their labels."""
        if self.target is None:
            rows = self.scored_on(stage)
            return self.data.images[rows], self.data.labels[rows]
        half = self.target.validation if stage is Stage.SEARCH else self.target.confirmation
        return self.target.images(half), self.target.labels(half)

    def training_subset(self, fold: Fold) -> NDArray[np.int64]:
        """The training images of ``fold``."""
        seed = 2 * self.proxy.seed + list(Stage).index(fold.stage)
        return fold_subset(
            self.train, self.data.labels, fold=fold.index, size=self.proxy.fold_size, seed=seed
        )

    def sample(self, size: int) -> NDArray[np.int64]:
        """At most ``size`` training images of all classes, always the same."""
        return fold_subset(self.train, self.data.labels, fold=0, size=size, seed=self.proxy.seed)

    @property
    def given_teacher(self) -> Path | None:
        """The model file that is the teacher; None: one is trained, or there is none."""
        name = self.proxy.teacher
        return Path(name) if name is not None and name != SELF and is_model_file(name) else None

    @property
    def fold_teachers(self) -> Path:
        """Where the teachers of folds are kept, while they are of use."""
        return self.folder / "teachers"

    @property
    def final_teachers(self) -> Path:
        """Where the teachers of final trainings are kept, those of other studies of the data too."""
        return self.folder.parent / "teachers"


def content_of(name: str) -> str:
    """A short hash of the file that ``name`` is the path of, wherever it lies; any other name as it is."""
    return _hashed(name, stamp(name)) if Path(name).is_file() else name


@lru_cache
def _hashed(path: str, _: tuple[int, int]) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=6)).hexdigest()


def write_workspace(
    folder: Path,
    data: ImageData,
    splits: Splits,
    proxy: ProxySettings,
    unlabeled: tuple[Path, NDArray[np.int64]] | None = None,
    target: Target | None = None,
) -> Workspace:
    """Write what workers need into ``folder``; the test part's indices are not among it.

    ``unlabeled`` is an ``.npy`` file of images, uint8 (N, S, S, C), and the rows that may be learned from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".parts.part.npz"
    none = np.empty(0, dtype=np.int64)
    path, rows = unlabeled or (None, none)
    np.savez(
        temporary,
        train=splits.train,
        validation=splits.validation,
        confirmation=splits.confirmation,
        unlabeled=rows,
        target_validation=target.validation if target else none,
        target_confirmation=target.confirmation if target else none,
    )
    temporary.replace(folder / "parts.npz")
    document = {
        "cache": str(data.cache),
        "unlabeled": None if path is None else str(path),
        "target": None if target is None else {"source": target.source, "cache": str(target.data.cache)},
        "proxy": proxy.model_dump(),
    }
    (folder / "workspace.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    open_workspace.cache_clear()
    return open_workspace(folder)


@lru_cache(maxsize=4)
def open_workspace(folder: Path) -> Workspace:
    """Map a workspace's images into this process; fast, and shared between processes."""
    document = json.loads((folder / "workspace.json").read_text(encoding="utf-8"))
    data, target = load_cache(Path(document["cache"])), document["target"]
    with np.load(folder / "parts.npz") as parts:
        return Workspace(
            folder,
            data,
            parts["train"],
            parts["validation"],
            parts["confirmation"],
            ProxySettings(**document["proxy"]),
            _unlabeled(document["unlabeled"], parts["unlabeled"], data),
            target and load_target(data, parts["target_validation"], parts["target_confirmation"], **target),
        )


def _unlabeled(path: str | None, rows: NDArray[np.int64], data: ImageData) -> NDArray[np.uint8]:
    if path is None:
        return np.empty((0, *data.images.shape[1:]), dtype=np.uint8)
    images: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    # Where nearly all are wanted they stay on pages that all workers share.
    return images if len(rows) == len(images) else images[rows]
