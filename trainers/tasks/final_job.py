"""All that decides one training of a model that ships, and where its files lie."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from augsearch.policies import PolicyFile, Semi, UserError
from augsearch.trainers.data.dataset import Progress
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.unlabeled.dataset import Unlabeled
from augsearch.trainers.data.views import Pixels
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.evaluation.metrics import Scores, score
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.pool import Pool, class_shares
from augsearch.trainers.semi.pseudo_labels import Labeler, asking
from augsearch.trainers.system.hashing import content_of, hex_hash
from augsearch.trainers.tasks.inputs import spec_for
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.workspace.folder import open_workspace

if TYPE_CHECKING:
    pass


class FinalPlan(BaseModel):
    """How the final model is trained, beside what the policy file says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    weights: str = "none"
    """``none``, ``hub`` or a file."""
    input_size: int | None = None
    """Side to which the network resizes the images; None: what suits it."""
    recipe: Recipe = Recipe()
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better one after which it stops; None: it runs the whole schedule."""
    processes: int = Field(default=1, ge=1)
    """How many share the training, each with a GPU of its own (DDP)."""
    first_teacher: str | None = None
    """The network of the first teacher of ``self-training``; None: that of its students, ``model``."""


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
        return hex_hash(json.dumps(parts).encode(), images)

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


def final_training_part(splits: Splits, limit: int | None) -> NDArray[np.int64]:
    """Train and validation together; with ``limit``, at most that many training images, so train alone."""
    return splits.train if limit is not None else np.sort(np.concatenate((splits.train, splits.validation)))


def check_alone(plan: FinalPlan) -> None:
    """Refuse to learn from unlabeled images in several processes.

    Raises:
        UserError: there are several.
    """
    if plan.processes > 1:
        raise UserError(
            f"--processes {plan.processes}: learning from unlabeled images runs in one process; "
            "leave --processes out, or give --semi none"
        )
