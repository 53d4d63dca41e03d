"""All that decides one training of a model that ships, and where its files lie."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import to_json
from torch import nn

from augsearch.policies import PolicyFile, UserError
from augsearch.trainers.data.dataset import Progress
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.unlabeled.dataset import Unlabeled
from augsearch.trainers.data.views import Pixels
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.evaluation.metrics import ACCURACY, METRICS, Metric, Scores, score
from augsearch.trainers.models.learned import Keys
from augsearch.trainers.models.names import files_among
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.labeler import Labeler, predictor
from augsearch.trainers.semi.pool import Pool, class_shares
from augsearch.trainers.semi.technique import Technique
from augsearch.trainers.semi.techniques import technique_of
from augsearch.trainers.system.hashing import content_of, hex_hash
from augsearch.trainers.tasks.inputs import spec_for
from augsearch.trainers.training.loader import batch_size_of
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.workspace.candidate import MetricName
from augsearch.trainers.workspace.folder import open_workspace


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
    """The network of the first teacher in self-training; None: that of its students, ``model``."""
    first_teacher_weights: str = Field(default="none", exclude=True)
    """``none``, ``hub`` or a file; no part of what others are told by, as plans of old have none."""
    average_flips: bool = Field(default=False, exclude_if=lambda value: value is False)
    """Whether the model that is kept averages what it says of an image and of its mirror image."""
    metric: MetricName = ACCURACY.name
    """What decides which epoch, and in self-training which round, is the best."""

    @property
    def files(self) -> dict[str, Path]:
        """The files among its fields, by field: models and weights that were given."""
        models = {"model": self.model, "first_teacher": self.first_teacher}
        weights = {"weights": self.weights, "first_teacher_weights": self.first_teacher_weights}
        return files_among(models, weights)


MOST_IN_MEMORY = 512 * 2**20
"""Bytes of decoded images that are kept from epoch to epoch."""


@dataclass(frozen=True, eq=False)
class SelectionSet:
    """Labeled images, none of them trained on, by which the best epoch is selected."""

    pixels: Pixels
    rows: NDArray[np.int64]
    """Which of ``pixels``, (N,)."""
    labels: NDArray[np.int64]
    """(len(rows),)."""

    def scores(
        self,
        model: nn.Module,
        device: torch.device,
        metric: Metric = ACCURACY,
        precision: torch.dtype = torch.float32,
    ) -> Scores:
        """How ``model`` does on them, with the values of ``metric``.

        On a GPU in the ``precision`` of its training, as folds are scored: in float32 it may take as long as
        the epoch did.
        """
        images = self._in_memory if self._is_small else self.pixels.clean(self.rows)
        scoring = torch.float32 if device.type == "cpu" else precision
        return score(predict(model, images, device, precision=scoring), self.labels, metric)

    def pixels_read(self) -> Iterator[tuple[Pixels, NDArray[np.int64]]]:
        """Its images."""
        yield self.pixels, self.rows

    @property
    def _is_small(self) -> bool:
        return len(self.rows) * self.pixels.channels * self.pixels.side**2 <= MOST_IN_MEMORY

    @cached_property
    def _in_memory(self) -> list[NDArray[np.uint8]]:
        """The images in batches: they are looked at after every epoch."""
        return list(self.pixels.clean(self.rows))


@dataclass(frozen=True, slots=True, eq=False)
class FinalJob:
    """All that decides a training of a model that ships, and where the model is left."""

    workspace: Path
    """Its folder."""
    file: PolicyFile
    plan: FinalPlan
    pixels: Pixels
    labeled: NDArray[np.int64]
    """The images with labels that are trained on, see ``final_training_part``; rows of ``pixels``."""
    path: Path
    """The model (``.safetensors``); its card and, until the end, a checkpoint lie beside it."""
    card: dict[str, JsonValue] = field(default_factory=dict)
    """What the model's card says beside what is known here."""
    unlabeled: Unlabeled | None = None
    """Images without labels, of the side and channels of ``pixels``."""
    selection: SelectionSet | None = None
    """What selects the best epoch; None: the confirmation part."""
    learned: Keys | None = None
    """The images that it learns from and is selected by, for the model's file to say; None: not known."""
    round: int = 0
    """In self-training: 0 trains the first teacher, or there is nothing but one training."""
    labeled_by: str = ""
    """In self-training, a hash of the teacher that labeled for this student."""
    seed: int | None = None
    """What the weights and the training follow from; None: the workspace's seed."""
    named: str = ""
    """The workspace's name where the job is from, which its key has; empty: its folder's."""

    @property
    def technique(self) -> Technique | None:
        """How it learns from unlabeled images; None where there are none."""
        semi = self.file.training.semi
        if semi is None or self.unlabeled is None or not len(self.unlabeled.chosen):
            return None
        return technique_of(semi)

    @property
    def metric(self) -> Metric:
        """What decides which epoch is the best."""
        return METRICS[self.plan.metric]

    def check_processes(self) -> None:
        """Check that each process has an image of every step.

        Raises:
            UserError: there are more processes than that.
        """
        processes = self.plan.processes
        if processes > (size := batch_size_of(len(self.labeled), self.plan.recipe.batch_size)):
            raise UserError(f"--processes {processes}: a step has {size} images; give no more than that")

    @property
    def asks_teacher(self) -> bool:
        """Whether there must be a teacher."""
        return self.file.training.model_copy(update={"semi": self.technique}).asks_teacher

    @property
    def checkpoint(self) -> Path:
        """The last epoch, until the training ends."""
        return self.hidden("checkpoint")

    @property
    def label_file(self) -> Path:
        """Models' predictions of unlabeled images, until the training ends."""
        return self.hidden("labels.db")

    def hidden(self, suffix: str) -> Path:
        """A file beside the model."""
        return self.path.with_name(f".{self.path.stem.removeprefix('.')}.{suffix}")

    def pixels_read(self) -> Iterator[tuple[Pixels, NDArray[np.int64]]]:
        """The images that are trained on, and those that select the best epoch."""
        yield self.pixels, self.labeled
        yield from self.selection_set().pixels_read()
        if self.unlabeled is not None:
            yield self.unlabeled.pixels, self.unlabeled.chosen

    def files_read(self) -> dict[str, Path]:
        """Models and weights that were given, by field of the plan."""
        return self.plan.files

    def moved(self, workspace: Path, files: Mapping[str, Path]) -> FinalJob:
        """The same on a machine that has the workspace, and the files of each field, elsewhere."""
        plan = self.plan.model_copy(update={field: str(file) for field, file in files.items()})
        unlabeled = self.unlabeled and self.unlabeled.without_names()
        path = workspace / self.path.parent.name / self.path.name
        named = self.named or self.workspace.name
        return replace(self, workspace=workspace, plan=plan, path=path, unlabeled=unlabeled, named=named)

    def selection_set(self) -> SelectionSet:
        """The images that select the best epoch."""
        workspace = open_workspace(self.workspace)
        rows = workspace.confirmation
        return self.selection or SelectionSet(self.pixels, rows, workspace.data.labels[rows])

    def spec(self) -> ModelSpec:
        """The network to train."""
        plan = self.plan
        workspace = open_workspace(self.workspace)
        return spec_for(workspace, plan.model, plan.weights, plan.input_size, self.pixels.side)

    def kept_spec(self, trained: ModelSpec) -> ModelSpec:
        """The network that is kept of the one that was ``trained``; its epoch was chosen without mirrors."""
        return trained.model_copy(update={"average_flips": self.plan.average_flips})

    def seeds(self) -> list[int]:
        """The seeds of the weights and of the training."""
        seed = open_workspace(self.workspace).proxy.seed if self.seed is None else self.seed
        # A 0 at the end changes nothing: the first round has the seeds of a training without rounds.
        return [int(part) for part in np.random.SeedSequence([seed, 99, self.round]).generate_state(2)]

    def key(self) -> str:
        """A hash of all that decides it."""
        workspace, technique = open_workspace(self.workspace), self.technique
        hashed = [
            workspace.data.fingerprint,
            self.named or workspace.folder.name,
            workspace.proxy.model_dump_json(exclude={"device"}),
            self.file.policy.model_dump_json(),
            self.file.training.model_dump_json(exclude={"semi"}),
            # The metric came later: with the usual one a checkpoint of before is of use.
            self.plan.model_dump_json(
                exclude={"first_teacher", *({"metric"} if self.metric is ACCURACY else ())}
            ),
            content_of(self.plan.weights),
            self.pixels.made_by,
            self.spec().model_dump_json(),
        ]
        if self.seed is not None:
            hashed += [f"seed {self.seed}"]
        images = self.labeled.tobytes() + workspace.confirmation.tobytes()
        if technique is not None and self.unlabeled is not None:
            semi = to_json(technique.hashed()).decode()
            hashed += [semi, self.unlabeled.fingerprint, self.unlabeled.pixels.made_by]
            hashed += [str(self.round), self.labeled_by]
            images += self.unlabeled.chosen.tobytes()
        return hex_hash(json.dumps(hashed).encode(), images)

    def pool(self) -> Pool:
        """The unlabeled images to learn from; there are some."""
        technique = self.technique
        assert technique is not None
        assert self.unlabeled is not None
        classes = len(open_workspace(self.workspace).data.classes)
        unknown = np.zeros(len(self.unlabeled.truth), dtype=np.int64)
        images = self.unlabeled.pixels.training(self.unlabeled.chosen, unknown, classes, None)
        return Pool(images, technique, technique.policy or self.file.policy)

    def labeler(
        self, device: torch.device, store: LabelStore, prefix: str, progress: Progress | None
    ) -> Labeler:
        """Has models label the unlabeled images; ``store`` knows them by their names after ``prefix``."""
        assert self.unlabeled is not None
        data = open_workspace(self.workspace).data
        return Labeler(
            predictor(self.unlabeled, device, store=store, prefix=prefix, progress=progress),
            class_shares(data.labels[self.labeled], len(data.classes)),
            self.unlabeled.truth[self.unlabeled.chosen],
        )


def final_training_part(splits: Splits, limit: int | None) -> NDArray[np.int64]:
    """The images that a final model is trained on: train and validation.

    With a ``limit`` of training images, train alone, which has no more.
    """
    return splits.train if limit is not None else np.sort(np.concatenate((splits.train, splits.validation)))


def check_one_process(plan: FinalPlan) -> None:
    """Refuse to learn from unlabeled images in several processes.

    Raises:
        UserError: there are several.
    """
    if plan.processes > 1:
        raise UserError(
            f"--processes {plan.processes}: learning from unlabeled images runs in one process; "
            "leave --processes out, or give --semi none"
        )
