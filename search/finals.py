"""The final training, shown and logged as it goes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augsearch.policies import Distillation, PolicyFile, UserError, read_policy, write_policy
from augsearch.search.data import Data, digest, make_folder, open_data
from augsearch.search.display import Display
from augsearch.search.final_plans import (
    final_pixels,
    final_yardstick,
    overridden,
    plan_of,
    with_transfer,
    with_weights,
)
from augsearch.search.following import Follower
from augsearch.search.sealed import record_test_read
from augsearch.search.semi import draw_labels, open_for_final
from augsearch.search.settings import Settings, available_cores
from augsearch.search.tracking import Tracker
from augsearch.trainers.folds import SELF

if TYPE_CHECKING:
    import optuna

    from augsearch.search.following import Following
    from augsearch.trainers.final import FinalModel, Tested
    from augsearch.trainers.pixels import Pixels
    from augsearch.trainers.unlabeled import Unlabeled

SOFTENED_AT = (1.0, 2.0, 4.0, 10.0)
"""The temperatures at which the figure shows what the teacher knows."""


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
    file = with_transfer(read_policy(policy_file), settings)
    pixels = final_pixels(settings, data)
    unlabeled = open_for_final(settings, data, file, pixels, display)
    final = _train(data, settings, file, policy_file, pixels, unlabeled, output, display, tracker)
    # On record before it happens: a read that was cut short was a read too.
    before = record_test_read(settings.data, data, by, study)
    from augsearch.trainers.final import test_final

    tested = test_final(data.workspace, data.splits, final, pixels)
    test = tested.scores
    seen = f"; this test part had been read {before} times before" if before else ""
    display.line(
        f"final model: test accuracy {100 * test.accuracy:.1f} % on {len(data.splits.test)} images "
        f"(macro-F1 {100 * test.macro_f1:.1f} %, log-loss {test.log_loss:.3f}, ECE {test.ece:.3f}){seen}"
    )
    display.line(f"saved as {final.path} (best epoch {final.best_epoch}, {final.seconds:.0f} s)")
    drawn = _draw(data, pixels, tested, output)
    if final.teacher is not None and file.training.distillation is not None:
        drawn.append(_draw_teacher(data, final.teacher, file.training.distillation, output))
    if unlabeled is not None and file.training.semi is not None:
        drawn += draw_labels(unlabeled, final, file.training.semi, data, output)
    figures = {
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
    result = {
        "model": str(final.path),
        "network": settings.network,
        "figures": figures,
        "drawn": [str(path) for path in drawn],
    }
    if tracker is not None:
        log_final(tracker, data, result)
    return result


def log_final(tracker: Tracker, data: Data, final: dict[str, Any]) -> None:
    """Log the final model, its figures and its scores on the parent run."""
    tracker.parent(metrics=final["figures"])
    for path in final.get("drawn", []):
        if Path(path).exists():
            tracker.artifact(Path(path), "figures")
    tracker.model(Path(final["model"]), data.images.images[int(data.splits.train[0])])


def _draw(data: Data, pixels: Pixels, tested: Tested, output: Path) -> list[Path]:
    """The final model's figures: what it confuses, how sure it is, where it errs."""
    from augsearch.search import model_figures

    images, classes = data.images, data.images.classes
    test = data.splits.test
    labels = images.labels[test]
    paths = {name: output / f"{name}.png" for name in ("confusion", "reliability", "mistakes")}
    model_figures.confusion(labels, tested.logits.argmax(axis=1), classes, paths["confusion"])
    model_figures.reliability(tested.logits, labels, paths["reliability"])

    def shown(index: int) -> Any:
        return next(iter(pixels.clean(test[index : index + 1])))[0]

    model_figures.worst_mistakes(shown, labels, tested.logits, classes, paths["mistakes"])
    return list(paths.values())


def _draw_teacher(data: Data, teacher: Path, distillation: Distillation, output: Path) -> Path:
    """Draw what the teacher says, softened, of images that it has not learned from."""
    from augsearch.search import model_figures
    from augsearch.trainers.devices import resolve_device
    from augsearch.trainers.scores import predict
    from augsearch.trainers.teachers import load_teacher

    images, chosen = data.images.images, data.splits.confirmation
    device = resolve_device(data.workspace.proxy.device)
    network = load_teacher(teacher, data.images.classes).to(device)
    path = output / "teacher.png"
    model_figures.softened(
        lambda index: images[chosen[index]],
        data.images.labels[chosen],
        predict(network, images[chosen], device),
        data.images.classes,
        sorted({*SOFTENED_AT, round(distillation.temperature, 1)}),
        path,
    )
    return path


def _train(
    data: Data,
    settings: Settings,
    file: PolicyFile,
    policy_file: Path,
    pixels: Pixels,
    unlabeled: Unlabeled | None,
    output: Path,
    display: Display,
    tracker: Tracker | None,
) -> FinalModel:
    import torch

    from augsearch.trainers.final import final_training_part, train_final
    from augsearch.trainers.scores import TrainingDivergedError
    from augsearch.trainers.students import train_students

    torch.set_num_threads(max(1, available_cores() // settings.processes))
    trained_on = len(final_training_part(data.splits, settings.limit))
    plan = plan_of(settings, file, trained_on)
    key = digest([file.policy.model_dump_json(), file.training.model_dump_json(), plan.model_dump_json()])
    follower = Follower(plan, display, tracker, key, data.images.classes)
    path = output / "model.safetensors"
    semi = file.training.semi
    in_rounds = semi is not None and semi.technique == "self-training"
    train: Callable[..., Following] = train_students if in_rounds else train_final
    training = train(
        data.workspace,
        data.splits,
        file,
        plan,
        pixels=pixels,
        limit=settings.limit,
        path=path,
        card={"policy_file": policy_file.name, "data": data.label},
        unlabeled=unlabeled,
        target=final_yardstick(settings, data, pixels.side),
        progress=follower.labeled,
    )
    transfer = file.training.transfer
    how = f", {transfer.mode} transfer" if transfer else ""
    display.line(
        f"final training: {plan.model}{how}, {trained_on} images of {pixels.side} px, "
        f"{plan.recipe.epochs} epochs, from {policy_file}"
    )
    listens = file.training.model_copy(update={} if unlabeled is not None else {"semi": None}).asks_teacher
    if listens and data.workspace.given_teacher is None:
        teacher = plan.model if settings.teacher == SELF else settings.teacher
        display.line(f"its teacher, {teacher}, is trained before it")
    try:
        return follower.follow(training)
    except TrainingDivergedError as error:
        rate = plan.recipe.top_rate(transfer)
        kept = f"; the best model until then is kept as {path}" if follower.epochs else ""
        raise UserError(
            f"the final training stopped: {error} (--learning-rate is {rate:g}; try {rate / 4:g}){kept}"
        ) from None


def _beside(policy_file: Path) -> Path:
    """The folder of a policy file; one inside it where that is a study's, whose own model lies there."""
    folder = policy_file.parent
    return folder / "trained" if (folder / "settings.toml").exists() else folder


def train_from_file(
    settings: Settings, policy_file: Path, flags: dict[str, Any], display: Display
) -> dict[str, Any]:
    """``augsearch train``: the final training alone, in an MLflow run of its own; returns path and figures.

    What was trained from, flags included, stands as ``model.policy.json`` beside the model.

    Raises:
        UserError: a file or the data is bad.
    """
    file = overridden(read_policy(policy_file), settings, flags)
    settings = with_weights(settings, file)
    # The search's sample of unlabeled images is not wanted here: the final training takes all.
    data = open_data(settings.model_copy(update={"semi": "none"}), display)
    output = settings.output or _beside(policy_file)
    make_folder(output)
    effective = output / "model.policy.json"
    write_policy(with_transfer(file, settings), effective)
    by = f"augsearch train, policy {policy_file}"
    run = output / ".model.run"
    key = run.read_text(encoding="utf-8") if run.exists() else uuid.uuid4().hex
    run.write_text(key, encoding="utf-8")
    tracker = Tracker(settings.tracking_uri, data.experiment, f"train {policy_file.name}", key, by)
    status = "KILLED"
    try:
        tracker.parent(params=settings.model_dump(mode="json"))
        tracker.artifact(effective)
        final = train_and_test(data, settings, effective, output, display, tracker, by)
        status = "FINISHED"
        run.unlink()  # a training that was stopped goes on in the run that it began
    except UserError:
        status = "FAILED"
        raise
    finally:
        if (problem := tracker.close(status)) is not None:
            display.line(f"MLflow did not take everything: {problem}")
    return final
