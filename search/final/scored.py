"""Final models that are compared before one ships: trained on less, scored on held-out images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from augsearch.policies import PolicyFile
from augsearch.search.console import Display
from augsearch.search.final.plan import final_pixels, images_of_target, plan_of, with_crops, with_transfer
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.unlabeled import open_for_final
from augsearch.search.settings.settings import Settings
from augsearch.trainers.data.unlabeled.dataset import HowOpened, Unlabeled
from augsearch.trainers.data.views import Pixels
from augsearch.trainers.system.hashing import digest
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Stage

if TYPE_CHECKING:  # they import torch, which the driver of a search does without
    from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan, SelectionSet

A_WEEK = 7 * 24 * 3600.0
"""Seconds that a training may take: a final one takes longer than a fold, and goes on where it stopped."""


@dataclass(frozen=True, eq=False)
class ScoredFinals:
    """How candidates are trained as final models: on the training part alone.

    The validation images pick a model's epoch and the confirmation images score it, which neither it nor any
    short training of the search has seen; or the target's, where there is one.
    """

    data: Data
    settings: Settings
    pixels: Pixels
    unlabeled: Unlabeled | None
    folder: Path
    """Where models lie while they are trained."""

    @classmethod
    def of(
        cls, data: Data, settings: Settings, candidates: Iterable[Candidate], display: Display
    ) -> ScoredFinals:
        """For ``candidates``: images without labels are opened where one of them learns from those."""
        folder = data.workspace.folder / "final models"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = final_pixels(settings, data)
        how = HowOpened(seed=settings.seed, side=pixels.side)
        semi = next((one for one in candidates if one.semi is not None), None)
        unlabeled = None
        if semi is not None:
            file = PolicyFile(policy=semi.policy, training=semi.training)
            unlabeled = open_for_final(settings.data, settings.unlabeled.folder, data, file, how, display)
        return cls(data, settings, pixels, unlabeled, folder)

    def plan(self, candidate: Candidate) -> FinalPlan:
        """The network and the schedule, in one process."""
        plan = plan_of(self.settings, self._file(candidate), len(self.data.splits.train))
        return plan.model_copy(update={"processes": 1})

    def job(self, candidate: Candidate, seed: int) -> FinalJob:
        """The final training of ``candidate``; 0 is the seed of the settings, the others follow from it."""
        from augsearch.trainers.tasks.final_job import FinalJob

        file, plan = self._file(candidate), self.plan(candidate)
        parts = (file.model_dump_json(), plan.model_dump_json(), self.pixels.made_by, seed)
        return FinalJob(
            self.data.workspace.folder,
            file,
            plan,
            self.pixels,
            self.data.splits.train,
            self.folder / f"{digest(parts)[:16]}.safetensors",
            unlabeled=self.unlabeled if candidate.semi is not None else None,
            selection=self.images(Stage.SEARCH),
            seed=self.settings.seed + 1000 * seed,
        )

    def images(self, stage: Stage) -> SelectionSet:
        """The labeled images that ``stage`` scores on, as the final network sees them."""
        from augsearch.trainers.tasks.final_job import SelectionSet

        target, splits = self.data.target, self.data.splits
        if target is not None:
            rows = target.validation if stage is Stage.SEARCH else target.confirmation
            return images_of_target(self.settings, target, rows, self.pixels.side)
        rows = splits.validation if stage is Stage.SEARCH else splits.confirmation
        return SelectionSet(self.pixels, rows, self.data.images.labels[rows])

    def _file(self, candidate: Candidate) -> PolicyFile:
        file = PolicyFile(policy=candidate.policy, training=candidate.training)
        return with_crops(with_transfer(file, self.settings), self.settings, self.pixels)
