"""Folds and their results: what the driver asks of workers and what they answer."""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsearch.trainers.evaluation.metrics import ACCURACY, METRICS


class Stage(StrEnum):
    """The times when candidates are scored, on different validation images and seeds."""

    SEARCH = "search"
    CONFIRMATION = "confirmation"
    """On a part of the images that no fold learns from."""
    CROSS_FITTING = "cross-fitting"
    """The confirmation where the images to learn from and those to confirm on are divided anew in each fold:
    it learns from some of both together and is scored on the others."""


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
    """What training and scoring took."""
    images: int
    """Image passes of the training."""
    correct: NDArray[np.bool_]
    """(N,): which of the images that were scored were classified rightly."""
    macro_f1: float = math.nan
    """This and the next are missing from results that older versions stored."""
    balanced_accuracy: float = math.nan
    metric: str = ACCURACY.name
    """What the search optimises: the name of one of ``METRICS``."""
    values: NDArray[np.float16] | None = None
    """(N,): what each validation image adds to the score, see ``Metric.per_image``; None: ``correct``."""
    beside: float | None = None
    """The score on the data's own images, where the target's images are what counts."""
    teacher_images: int = 0
    """This and the next: what training the fold's teacher took. All who ask it share it, so of all results
    on a fold it counts once."""
    teacher_seconds: float = 0.0
    pool_share: float = 0.0
    """The share of the images that folds learn from which this one learned from: the larger it is, the more
    of them do any two have in common. This and the next are missing from results that older versions stored.
    """
    rows: NDArray[np.bool_] | None = None
    """(M,): which of the images that folds are divided from anew were scored here; None: the same ones in
    every fold."""
    groups: NDArray[np.int64] | None = None
    """(M,), or (N,) where ``rows`` is None: images of one number belong together, so what is luck with one is
    with all; None: each stands alone, or the result was stored before there were groups."""
    hardware: str | None = None
    """What computed it, and in which precision; None: not known, as of a training of the user's own."""

    @property
    def score(self) -> float:
        """By the metric of the search: higher is better, so of log-loss the negative."""
        return METRICS[self.metric].score(self)

    @property
    def by_image(self) -> NDArray[np.float64]:
        """(N,): what each validation image adds to the score, which is their mean."""
        return (self.correct if self.values is None else self.values).astype(float)

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``correct`` and ``rows`` as one bit an image."""
        groups = None if self.groups is None else self.groups.tolist()
        values = None if self.values is None else base64.b64encode(self.values.tobytes()).decode()
        document = {
            **asdict(self),
            "correct": _bits(self.correct),
            "scored": len(self.correct),
            "values": values,
            "groups": groups,
        }
        if self.rows is not None:
            document |= {"rows": _bits(self.rows), "pool": len(self.rows)}
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> FoldResult:
        """What ``to_json`` made."""
        values = dict(document)
        values["correct"] = _unpacked(values["correct"], values.pop("scored"))
        if values.get("rows") is not None:
            values["rows"] = _unpacked(values["rows"], values.pop("pool"))
        if values.get("values") is not None:
            values["values"] = np.frombuffer(base64.b64decode(values["values"]), dtype=np.float16)
        if values.get("groups") is not None:
            values["groups"] = np.array(values["groups"], np.int64)
        return cls(**values)


def _bits(mask: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(mask).tobytes()).decode()


def _unpacked(bits: str, count: int) -> NDArray[np.bool_]:
    packed = np.frombuffer(base64.b64decode(bits), dtype=np.uint8)
    return np.unpackbits(packed, count=count).astype(bool)


FORWARD_PASSES = 3
"""What training on an image costs, in images scored: a forward pass, and a backward one that is two."""


def most_scored(fold_size: int, epochs: int) -> int:
    """How many images may be scored after a fold of this size, so that it costs no more than the training."""
    return FORWARD_PASSES * fold_size * epochs


USUAL_FOLD, USUAL_OF_A_CLASS = 1000, 20
"""Training images of a fold, and of a class in it where the classes are many."""


def default_fold_size(train: int, classes: int) -> int:
    """1,000 images, or 20 of a class on average if that is more, and at most four fifths of ``train``.

    So folds differ; but one of every class there must be.
    """
    size = min(max(USUAL_FOLD, USUAL_OF_A_CLASS * classes), math.ceil(0.8 * train))
    return max(1, min(max(size, classes), train))
