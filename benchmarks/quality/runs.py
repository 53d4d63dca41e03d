"""What ``benchmarks.quality`` trains: the library's own final training of a policy, and one test of it."""

from __future__ import annotations

import base64
import hashlib
import shutil
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from augsearch.policies import Policy, PolicyFile, Training
from augsearch.search.space.describe import describe as describe_candidate
from augsearch.trainers import Candidate, FinalPlan, ProxySettings, test_final, train_final
from augsearch.trainers.data.views import Decoded
from augsearch.trainers.tasks.final import model_of
from augsearch.trainers.tasks.final_job import FinalJob, final_training_part
from augsearch.trainers.workspace.folder import Workspace, write_workspace
from augsearch.trainers.workspace.folds import FoldResult
from benchmarks.comparisons import Outcome as Trained
from benchmarks.quality.data import DataSet


class Job(BaseModel):
    """One training, with all that decides its result; as JSON it is the result's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    """A name for people, and a hash of the content for everybody else."""
    division: str
    """A hash of the parts."""
    plan: FinalPlan
    """Its precision is never ``auto``, which depends on the processor."""
    policy: Policy
    training: Training = Training()
    teacher: str | None = None
    """As in ``ProxySettings``, trained with the same seed; None without distillation."""
    seed: int
    """Decides the weights, the order and the augmentation, the teacher's too."""

    @property
    def key(self) -> str:
        """Equal for two jobs that would give the same."""
        return self.model_dump_json(exclude_none=True)

    @property
    def digest(self) -> str:
        """Short enough for a folder."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:16]


class Outcome(Trained):
    """What came of a job; passes and seconds are with the teacher's training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ece: float
    macro_f1: float
    best_epoch: int
    chosen_by: float
    """The accuracy on the confirmation part that chose the epoch, 0 to 1."""
    correct: str
    """Which test images were classified rightly: a bit each, in base64."""

    @property
    def hits(self) -> NDArray[np.bool_]:
        """(N,): which test images were classified rightly."""
        packed = np.frombuffer(base64.b64decode(self.correct), dtype=np.uint8)
        return np.unpackbits(packed, count=self.tested).astype(bool)

    @property
    def as_fold(self) -> FoldResult:
        """What the statistics of a search's confirmation take: here a fold is a seed."""
        return FoldResult(
            accuracy=self.accuracy,
            log_loss=self.log_loss,
            ece=self.ece,
            seconds=self.seconds,
            images=self.passes,
            correct=self.hits,
        )


def train_job(job: Job, place: tuple[DataSet, Path]) -> Outcome:
    """Train as ``augsearch train`` does, then test once.

    ``place`` is the data set and the benchmark's folder. What is trained there goes on from its last epoch
    after a stop, and is removed when it has been tested.
    """
    data, work = place
    folder = work / "trainings" / job.digest
    workspace = _workspace(job, data, folder)
    pixels = Decoded(data.images.images)
    cpu_start = time.process_time()
    final = model_of(
        train_final(
            FinalJob(
                workspace.folder,
                PolicyFile(policy=job.policy, training=job.training),
                job.plan,
                pixels,
                final_training_part(data.splits, None),
                folder / "model.safetensors",
            )
        )
    )
    cpu_seconds = time.process_time() - cpu_start
    test = test_final(workspace, data.splits, final, pixels).scores
    outcome = Outcome(
        accuracy=test.accuracy,
        log_loss=round(test.log_loss, 5),
        tested=len(test.correct),
        passes=final.images + final.teacher_images,
        seconds=round(final.seconds, 2),
        cpu_seconds=round(cpu_seconds, 2),
        ece=round(test.ece, 5),
        macro_f1=round(test.macro_f1, 5),
        best_epoch=final.best_epoch,
        chosen_by=round(final.validation.accuracy, 5),
        correct=base64.b64encode(np.packbits(test.correct).tobytes()).decode(),
    )
    shutil.rmtree(folder)
    return outcome


def _workspace(job: Job, data: DataSet, folder: Path) -> Workspace:
    """The job's own: with the parts of all seeds, beside the teachers, which the jobs of a seed share."""
    proxy = ProxySettings(
        model=job.plan.model,
        epochs=job.plan.recipe.epochs,
        fold_size=len(data.splits.train),
        seed=job.seed,
        device="cpu",
        teacher=job.teacher,
    )
    return write_workspace(folder, data.images, data.splits, proxy)


def describe(job: Job, outcome: Outcome) -> str:
    """One line for a person."""
    words = describe_candidate(Candidate(policy=job.policy, distillation=job.training.distillation))
    return (
        f"{job.data.split()[0]}, seed {job.seed}: {words}: {100 * outcome.accuracy:.2f} %, "
        f"log-loss {outcome.log_loss:.3f}, {outcome.passes:,} passes, {outcome.seconds:.0f} s"
    )
