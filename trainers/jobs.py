"""All that decides one training of a model that ships, and where its files lie."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augsearch.policies import PolicyFile, Semi
from augsearch.trainers.cache import Progress
from augsearch.trainers.folds import content_of, open_workspace
from augsearch.trainers.inputs import spec_for
from augsearch.trainers.label_store import LabelStore
from augsearch.trainers.models import ModelSpec
from augsearch.trainers.pixels import Pixels
from augsearch.trainers.rounds import Labeler, asking
from augsearch.trainers.scores import Scores, predict, score
from augsearch.trainers.semi import Pool, class_shares
from augsearch.trainers.unlabeled import Unlabeled

if TYPE_CHECKING:
    from augsearch.trainers.final import FinalPlan


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """Labeled images by which the best epoch is known."""

    pixels: Pixels
    rows: NDArray[np.int64]
    """Of ``pixels``."""
    labels: NDArray[np.int64]
    """(len(rows),)."""

    def scores(self, model: nn.Module, device: torch.device) -> Scores:
        """How ``model`` does on them."""
        return score(predict(model, self.pixels.clean(self.rows), device), self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """All that decides one training."""

    workspace: Path
    file: PolicyFile
    plan: FinalPlan
    pixels: Pixels
    chosen: NDArray[np.int64]
    """The images with labels."""
    path: Path
    unlabeled: Unlabeled | None = None
    round: int = 0
    labeled_by: str = ""
    """A hash of the teacher that labeled for it, in ``self-training``."""
    target: Yardstick | None = None
    """What to know the best epoch by; None: the confirmation part."""

    @property
    def semi(self) -> Semi | None:
        """How it learns from unlabeled images; None where there are none."""
        return self.file.training.semi if self.unlabeled is not None and len(self.unlabeled.chosen) else None

    @property
    def checkpoint(self) -> Path:
        """The last epoch, until the training ends."""
        return self.hidden("checkpoint")

    @property
    def label_file(self) -> Path:
        """What was said of unlabeled images, until the training ends."""
        return self.hidden("labels.db")

    def hidden(self, suffix: str) -> Path:
        """A file beside the model."""
        return self.path.with_name(f".{self.path.stem.removeprefix('.')}.{suffix}")

    def yardstick(self) -> Yardstick:
        """By which the best epoch is known."""
        workspace = open_workspace(self.workspace)
        rows = workspace.confirmation
        return self.target or Yardstick(self.pixels, rows, workspace.data.labels[rows])

    def spec(self) -> ModelSpec:
        """Its network."""
        plan = self.plan
        workspace = open_workspace(self.workspace)
        return spec_for(workspace, plan.model, plan.weights, plan.input_size, self.pixels.side)

    def seeds(self) -> list[int]:
        """Of the weights and of the training."""
        seed = open_workspace(self.workspace).proxy.seed
        # A nought at the end changes nothing: the first round has the seeds of a training without rounds.
        return [int(part) for part in np.random.SeedSequence([seed, 99, self.round]).generate_state(2)]

    def key(self) -> str:
        """A hash of all that decides it."""
        workspace = open_workspace(self.workspace)
        parts = [
            workspace.data.fingerprint,
            workspace.folder.name,
            workspace.proxy.model_dump_json(exclude={"device"}),
            self.file.policy.model_dump_json(),
            self.file.training.model_dump_json(exclude={"semi"}),
            self.plan.model_dump_json(exclude={"first_teacher"}),
            content_of(self.plan.weights),
            self.pixels.made_by,
            self.spec().model_dump_json(),
        ]
        images = self.chosen.tobytes() + workspace.confirmation.tobytes()
        if self.semi is not None and self.unlabeled is not None:
            parts += [self.semi.model_dump_json(), self.unlabeled.fingerprint, self.unlabeled.pixels.made_by]
            parts += [str(self.round), self.labeled_by]
            images += self.unlabeled.chosen.tobytes()
        return hashlib.blake2b(json.dumps(parts).encode() + images, digest_size=16).hexdigest()

    def pool(self) -> Pool:
        """The unlabeled images to learn from; there are some."""
        assert self.semi is not None
        assert self.unlabeled is not None
        classes = len(open_workspace(self.workspace).data.classes)
        unknown = np.zeros(len(self.unlabeled.truth), dtype=np.int64)
        images = self.unlabeled.pixels.training(self.unlabeled.chosen, unknown, classes, None)
        return Pool(images, self.semi, self.semi.policy or self.file.policy)

    def labeler(
        self, device: torch.device, store: LabelStore, prefix: str, progress: Progress | None
    ) -> Labeler:
        """Has models label the unlabeled images; ``store`` knows them by their names after ``prefix``."""
        assert self.unlabeled is not None
        data = open_workspace(self.workspace).data
        return Labeler(
            asking(self.unlabeled, device, store=store, prefix=prefix, progress=progress),
            class_shares(data.labels[self.chosen], len(data.classes)),
            self.unlabeled.truth[self.unlabeled.chosen],
        )
