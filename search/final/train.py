"""The final training, shown and logged as it goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augsearch.policies import PolicyFile, UserError, read_policy
from augsearch.search.console import Display, how_often
from augsearch.search.engines.registry import final_trainer
from augsearch.search.final.drawings import draw_labels, draw_teacher, draw_test
from augsearch.search.final.follow import Follower
from augsearch.search.final.plan import (
    final_pixels,
    final_selection_set,
    plan_of,
    with_crops,
    with_transfer,
)
from augsearch.search.inputs.learned_from import learned_by_final
from augsearch.search.inputs.prepare import given_models
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.sealed_test import record_test_read
from augsearch.search.inputs.unlabeled import open_for_final
from augsearch.search.settings.settings import Settings
from augsearch.search.tracking.runs import Tracker
from augsearch.trainers.data.unlabeled.dataset import HowOpened, Unlabeled
from augsearch.trainers.data.views import Pixels
from augsearch.trainers.evaluation.metrics import Scores, TrainingDivergedError
from augsearch.trainers.system.hashing import digest
from augsearch.trainers.system.threads import available_cores
from augsearch.trainers.workspace.candidate import SELF

if TYPE_CHECKING:  # torch and optuna are imported where they are used, so that others start quickly
    import optuna

    from augsearch.search.engines.engine import FinalTrainer
    from augsearch.trainers.tasks.final import FinalModel
    from augsearch.trainers.tasks.final_job import FinalJob
    from augsearch.trainers.tasks.self_training import StudentTraining


def train_and_test(
    data: Data,
    settings: Settings,
    policy_file: Path,
    output: Path,
    display: Display,
    tracker: Tracker | None,
    by: str,
    study: optuna.Study | None = None,
) -> dict[str, Any]:
    """Train the final model from ``policy_file``, test it once, log both; returns its path and figures.

    That the test part is read ``by`` it is on record, in ``study`` too if there is one.
    """
    # Here and not above: it imports torch, which the driver of a search does without.
    from augsearch.trainers.tasks.final import test_final

    pixels = final_pixels(settings, data)
    file = with_crops(with_transfer(read_policy(policy_file), settings), settings, pixels)
    how = HowOpened(seed=settings.seed, side=pixels.side)
    unlabeled = open_for_final(settings.data, settings.unlabeled.folder, data, file, how, display)
    job = replace(
        _job(data, settings, file, pixels, unlabeled, output),
        card={"policy_file": policy_file.name, "data": data.label},
    )
    display.line(_announcement(job, policy_file))
    final = _train(job, data, settings, display, tracker)
    # On record before it happens: a read that was cut short was a read too.
    before = record_test_read(settings.data.source, data, by, study)
    tested = test_final(data.workspace, data.splits, final, pixels)
    test = tested.scores
    mirrored = ", mirror images averaged in" if settings.final.average_flips else ""
    seen = f"; this test part had been read {how_often(before)} before" if before else ""
    display.result(
        f"final model: test accuracy {100 * test.accuracy:.1f} % on {len(data.splits.test)} images "
        f"(macro-F1 {100 * test.macro_f1:.1f} %, log-loss {test.log_loss:.3f}, ECE {test.ece:.3f})"
        f"{mirrored}{seen}"
    )
    display.result(f"saved as {final.path} (best epoch {final.best_epoch}, {final.seconds:.0f} s)")
    drawn = draw_test(data, pixels, tested, output)
    if final.teacher is not None and file.training.distillation is not None:
        drawn.append(draw_teacher(data, pixels, final.teacher, file.training.distillation, output))
    if unlabeled is not None and file.training.semi is not None:
        drawn += draw_labels(unlabeled, final, file.training.semi, data, output)
    result = {
        "model": str(final.path),
        "network": settings.network,
        "figures": _figures(final, test),
        "drawn": [str(path) for path in drawn],
    }
    if tracker is not None:
        log_final(tracker, data, result, settings.tracking.registered)
    return result


def _figures(final: FinalModel, test: Scores) -> dict[str, float]:
    return {
        "test_accuracy": test.accuracy,
        "test_macro_f1": test.macro_f1,
        "test_log_loss": test.log_loss,
        "test_ece": test.ece,
        "final_best_epoch": final.best_epoch,
        "final_epochs": final.epochs,
        "final_trained_on": final.trained_on,
        "final_images": final.images,
        "final_teacher_images": final.teacher_images,
        "final_unlabeled_images": final.unlabeled,
        "final_seconds": round(final.seconds, 1),
    }


def log_final(tracker: Tracker, data: Data, final: dict[str, Any], register: str | None = None) -> None:
    """Log the final model, its figures and scores on the parent run; ``register``: see ``Tracker.model``."""
    tracker.parent(metrics=final["figures"])
    for path in final.get("drawn", []):
        if Path(path).exists():
            tracker.artifact(Path(path), "figures")
    tracker.model(Path(final["model"]), data.images.images[int(data.splits.train[0])], register)


def _job(
    data: Data,
    settings: Settings,
    file: PolicyFile,
    pixels: Pixels,
    unlabeled: Unlabeled | None,
    output: Path,
) -> FinalJob:
    """The final training that the settings and the policy file ask for."""
    from augsearch.trainers.tasks.final_job import FinalJob, final_training_part

    labeled = final_training_part(data.splits, settings.data.limit)
    teacher = data.workspace.proxy.teacher if file.training.asks_teacher else None
    given = given_models(settings, teacher, searched=False)
    return FinalJob(
        data.workspace.folder,
        file,
        plan_of(settings, file, len(labeled)),
        pixels,
        labeled,
        output / "model.safetensors",
        unlabeled=unlabeled,
        selection=final_selection_set(settings, data, pixels.side),
        learned=learned_by_final(settings.data.source, data, labeled, given),
    )


def _announcement(job: FinalJob, policy_file: Path) -> str:
    transfer = job.file.training.transfer
    how = f", {transfer.mode} transfer" if transfer else ""
    return (
        f"final training: {job.plan.model}{how}, {len(job.labeled)} images of {job.pixels.side} px, "
        f"{job.plan.recipe.epochs} epochs, from {policy_file}"
    )


def _train(
    job: FinalJob, data: Data, settings: Settings, display: Display, tracker: Tracker | None
) -> FinalModel:
    import torch

    from augsearch.trainers.tasks.final import train_final
    from augsearch.trainers.tasks.self_training import train_students

    torch.set_num_threads(max(1, available_cores() // settings.final.processes))
    plan, training, technique = job.plan, job.file.training, job.technique
    if job.asks_teacher and data.workspace.given_teacher is None:
        teacher = plan.model if settings.teacher.network == SELF else settings.teacher.network
        display.line(f"its teacher, {teacher}, is trained before it")
    key = digest([job.file.policy.model_dump_json(), training.hashed(), plan.model_dump_json()])
    follower = Follower(plan, display, tracker, key, data.images.classes)
    elsewhere = _elsewhere(job, settings, display)
    events: StudentTraining
    if elsewhere is not None:
        events = elsewhere(job, display.line)
    elif technique is not None and technique.most_students:
        events = train_students(job, follower.labeled)
    else:
        events = train_final(job, follower.labeled)
    try:
        return follower.follow(events)
    except TrainingDivergedError as error:
        rate = plan.recipe.top_rate(training.transfer)
        kept = f"; the best model until then is kept as {job.path}" if follower.epochs else ""
        raise UserError(
            f"the final training stopped: {error} (--learning-rate is {rate:g}; try {rate / 4:g}){kept}"
        ) from None


def _elsewhere(job: FinalJob, settings: Settings, display: Display) -> FinalTrainer | None:
    """What trains the final model where folds run; None: it is trained here."""
    trainer, engine = final_trainer(settings.engine), settings.engine.name
    if trainer is not None and job.technique is not None:
        display.line(f"--engine {engine}: what learns from images without labels is trained here")
        return None
    if trainer is None and engine == "slurm":
        display.line(
            "--engine slurm: the final model is trained here, and not as a job; --no-final leaves it to "
            "augsearch train under sbatch"
        )
    return trainer
