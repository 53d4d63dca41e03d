"""The final training, shown and logged as it goes."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augsearch.policies import UserError, read_policy
from augsearch.search.data import Data, digest, make_folder, open_data
from augsearch.search.display import Display
from augsearch.search.settings import HOME, Settings, available_cores
from augsearch.search.tracking import Tracker
from augsearch.trainers.folds import default_final_epochs

if TYPE_CHECKING:
    from augsearch.trainers.final import FinalEpoch, FinalModel


def final_epochs(settings: Settings, data: Data) -> int:
    """The length of the final training's schedule."""
    trained_on = len(data.splits.train) + (0 if settings.limit else len(data.splits.validation))
    return settings.final_epochs or default_final_epochs(trained_on)


def final_key(policy_file: Path, settings: Settings, data: Data) -> str:
    """A hash of all that decides the final model."""
    file = read_policy(policy_file)
    parts = (
        file.policy.model_dump_json(),
        file.training.model_dump_json(),
        settings.final_model,
        str(final_epochs(settings, data)),
        data.workspace.folder.name,
    )
    return digest(parts)


def train_and_test(
    data: Data,
    settings: Settings,
    policy_file: Path,
    output: Path,
    display: Display,
    tracker: Tracker | None,
    by: str,
) -> dict[str, Any]:
    """Train the final model from ``policy_file``, test it once, log both; returns its path and figures."""
    final = _train(data, settings, policy_file, output, display, tracker)
    # On record before it happens: a read that was cut short was a read too.
    before = record_test_read(data, by)
    from augsearch.trainers.final import test_final

    test = test_final(data.workspace, data.splits, final)
    seen = f"; this test part had been read {before} times before" if before else ""
    display.line(
        f"final model: test accuracy {100 * test.accuracy:.1f} % on {len(data.splits.test)} images "
        f"(log-loss {test.log_loss:.3f}, ECE {test.ece:.3f}){seen}"
    )
    display.line(f"saved as {final.path} (best epoch {final.best_epoch}, {final.seconds:.0f} s)")
    figures = {
        "test_accuracy": test.accuracy,
        "test_log_loss": test.log_loss,
        "test_ece": test.ece,
        "final_best_epoch": final.best_epoch,
        "final_trained_on": final.trained_on,
        "final_images": final.images,
        "final_seconds": round(final.seconds, 1),
    }
    if tracker is not None:
        log_final(tracker, final.path, figures)
    return {"model": str(final.path), "network": settings.final_model, "figures": figures}


def log_final(tracker: Tracker, model: Path, figures: dict[str, float]) -> None:
    """Log the final model and its figures on the parent run."""
    tracker.parent(metrics=figures)
    tracker.artifact(model, "model")
    tracker.artifact(model.with_suffix(".json"), "model")


def _train(
    data: Data, settings: Settings, policy_file: Path, output: Path, display: Display, tracker: Tracker | None
) -> FinalModel:
    import torch

    from augsearch.trainers.final import train_final

    torch.set_num_threads(available_cores())
    epochs = final_epochs(settings, data)
    training = train_final(
        data.workspace,
        data.splits,
        read_policy(policy_file),
        model_name=settings.final_model,
        epochs=epochs,
        limit=settings.limit,
        path=output / "model.safetensors",
        card={
            "policy_file": policy_file.name,
            "data": data.label,
        },
    )
    display.line(f"final training: {settings.final_model} network, {epochs} epochs, from {policy_file}")
    with display.bar("final training", epochs) as bar:
        while True:
            try:
                epoch = next(training)
            except StopIteration as stop:
                final: FinalModel = stop.value
                return final
            bar.advance(1, f"held-out accuracy {100 * epoch.validation.accuracy:.1f} %")
            if tracker is not None:
                tracker.epoch(epoch.training.epoch, _epoch_metrics(epoch))


def _epoch_metrics(epoch: FinalEpoch) -> dict[str, float]:
    return {
        "final_train_loss": epoch.training.loss,
        "final_learning_rate": epoch.training.learning_rate,
        "final_held_out_accuracy": epoch.validation.accuracy,
        "final_held_out_log_loss": epoch.validation.log_loss,
        "final_held_out_ece": epoch.validation.ece,
    }


def record_test_read(data: Data, by: str) -> int:
    """Write down that the test part is about to be read; returns how often it had been before."""
    key = digest([data.images.fingerprint, data.splits.digests()["test"]])
    path = HOME / "test-reads" / f"{key}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    before = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
    read = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "by": by}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(read) + "\n")
    return before


def train_from_file(settings: Settings, policy_file: Path, display: Display) -> None:
    """``augsearch train``: the final training alone, in an MLflow run of its own.

    Raises:
        UserError: a file or the data is bad.
    """
    file = read_policy(policy_file)
    if file.training.distillation and not settings.with_teacher:
        raise UserError(f"{policy_file} distils from a teacher; give --teacher a network or a file")
    data = open_data(settings, display)
    output = settings.output or policy_file.parent
    make_folder(output)
    by = f"augsearch train, policy {policy_file}"
    tracker = Tracker(
        settings.tracking_uri, data.experiment, f"train {policy_file.name}", uuid.uuid4().hex, by
    )
    status = "KILLED"
    try:
        tracker.parent(params=settings.model_dump(mode="json"))
        tracker.artifact(policy_file)
        train_and_test(data, settings, policy_file, output, display, tracker, by)
        status = "FINISHED"
    finally:
        if (problem := tracker.close(status)) is not None:
            display.line(f"MLflow did not take everything: {problem}")
