"""The final training, shown and logged as it goes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augsearch.policies import Distillation, Mixing, PolicyFile, UserError, read_policy, write_policy
from augsearch.search.data import Data, digest, make_folder, open_data
from augsearch.search.display import Display
from augsearch.search.semi import (
    draw_labels,
    labeled_in_words,
    log_labeling,
    log_round,
    open_for_final,
    round_in_words,
    wanted_semi,
)
from augsearch.search.settings import HOME, Settings, available_cores
from augsearch.search.tracking import Tracker
from augsearch.trainers.folds import content_of, default_final_epochs
from augsearch.trainers.images import SMALL_SIDE, image_paths, open_images

if TYPE_CHECKING:
    from augsearch.trainers.final import FinalEpoch, FinalModel, FinalPlan, Tested
    from augsearch.trainers.pixels import Pixels
    from augsearch.trainers.rounds import Labeling
    from augsearch.trainers.students import RoundDone
    from augsearch.trainers.unlabeled import Unlabeled

    Following = Generator[FinalEpoch | Labeling | RoundDone, None, FinalModel]

SOFTENED_AT = (1.0, 2.0, 4.0, 10.0)
"""The temperatures at which the figure shows what the teacher knows."""


def final_epochs(settings: Settings, trained_on: int, transferred: bool) -> int:
    """The length of the final training's schedule; weights that are good already want a third of it."""
    epochs = default_final_epochs(trained_on)
    return settings.final_epochs or (max(10, epochs // 3) if transferred else epochs)


def final_key(policy_file: Path, settings: Settings, data: Data) -> str:
    """A hash of all that decides the final model."""
    file = with_transfer(read_policy(policy_file), settings)
    decisive = settings.model_dump(
        mode="json",
        include={
            *("input_size", "final_size", "final_epochs", "patience", "batch_size", "accumulation"),
            *("learning_rate", "label_smoothing", "warm_up", "ema", "precision", "crop_scale"),
            *("processes", "teacher", "teacher_weights", "limit", "first_teacher"),
        },
    )
    parts = (
        file.policy.model_dump_json(),
        file.training.model_dump_json(),
        settings.network,
        content_of(settings.weights_of(settings.network)),
        decisive,
        data.workspace.folder.name,
        data.unlabeled.fingerprint if data.unlabeled else "",
    )
    return digest(parts)


def with_transfer(file: PolicyFile, settings: Settings) -> PolicyFile:
    """``file`` with the transfer that the final network can do.

    A network without weights has nothing to transfer; one with weights whose proxies had none follows the
    settings.
    """
    possible = settings.transfer_of(settings.network)
    transfer = possible and (file.training.transfer or possible)
    return file.model_copy(update={"training": file.training.model_copy(update={"transfer": transfer})})


def with_weights(settings: Settings, file: PolicyFile) -> Settings:
    """``settings`` with the weights that the file's transfer needs: the hub's where nothing else is said.

    Raises:
        UserError: the network has none.
    """
    transfer = file.training.transfer
    if transfer is None or settings.transfer == "none":
        return settings
    if settings.weights is None:
        settings = settings.model_copy(update={"weights": "hub"})
    if settings.weights_of(settings.network) == "none":
        raise UserError(
            f"the policy asks for transfer {transfer.mode}, and network {settings.network} has no weights; "
            "give --final-model torchvision:NAME, timm:NAME or a .safetensors file, or --transfer none"
        )
    return settings


def plan_of(settings: Settings, file: PolicyFile, trained_on: int) -> FinalPlan:
    """What the settings say of the final training."""
    from augsearch.trainers.final import FinalPlan
    from augsearch.trainers.recipe import Recipe, usual_label_smoothing

    recipe = Recipe(
        epochs=final_epochs(settings, trained_on, file.training.transfer is not None),
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        label_smoothing=usual_label_smoothing(file.training.semi)
        if settings.label_smoothing is None
        else settings.label_smoothing,
        warm_up=settings.warm_up,
        accumulation=settings.accumulation,
        ema=settings.ema,
        precision=settings.precision,
    )
    return FinalPlan(
        model=settings.network,
        weights=settings.weights_of(settings.network),
        input_size=settings.input_size,
        recipe=recipe,
        patience=settings.patience,
        processes=settings.processes,
        first_teacher=settings.first_teacher,
    )


def final_pixels(settings: Settings, data: Data) -> Pixels:
    """The final training's images: above 64 pixels from the files themselves, else decoded."""
    from augsearch.trainers.pixels import Decoded, OnDisk

    _, cached, _, channels = data.images.images.shape
    wanted = settings.final_size or _native_side(settings) or cached
    paths = image_paths(settings.data, data.images)
    if paths is not None and wanted > SMALL_SIDE:
        return OnDisk(paths, wanted, channels, settings.crop_scale)
    if wanted == cached:
        return Decoded(data.images.images)
    images = open_images(
        settings.data, image_size=wanted, cache=HOME / "cache", skip_bad_images=settings.skip_bad_images
    )
    return Decoded(images.images)


def _native_side(settings: Settings) -> int | None:
    """The side at which the final network's weights were trained, if it has any."""
    if settings.weights_of(settings.network) == "none":
        return None
    if settings.input_size is not None:
        return settings.input_size
    from augsearch.trainers.models import native_side

    return native_side(settings.network)


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
    file = with_transfer(read_policy(policy_file), settings)
    pixels = final_pixels(settings, data)
    unlabeled = open_for_final(settings, data, file, pixels, display)
    final = _train(data, settings, file, policy_file, pixels, unlabeled, output, display, tracker)
    # On record before it happens: a read that was cut short was a read too.
    before = record_test_read(data, by)
    from augsearch.trainers.final import test_final

    tested = test_final(data.workspace, data.splits, final, pixels)
    test = tested.scores
    seen = f"; this test part had been read {before} times before" if before else ""
    display.line(
        f"final model: test accuracy {100 * test.accuracy:.1f} % on {len(data.splits.test)} images "
        f"(macro-F1 {100 * test.macro_f1:.1f} %, log-loss {test.log_loss:.3f}, ECE {test.ece:.3f}){seen}"
    )
    display.line(f"saved as {final.path} (best epoch {final.best_epoch}, {final.seconds:.0f} s)")
    drawn = _draw(data, pixels, tested, file, output)
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


def _draw(data: Data, pixels: Pixels, tested: Tested, file: PolicyFile, output: Path) -> list[Path]:
    """The final model's figures: what it confuses, how sure it is, where it errs, what its teacher knows."""
    from augsearch.search import model_figures

    images, classes = data.images, data.images.classes
    test = data.splits.test
    labels = images.labels[test]
    paths = {name: output / f"{name}.png" for name in ("confusion", "reliability", "mistakes", "teacher")}
    model_figures.confusion(labels, tested.logits.argmax(axis=1), classes, paths["confusion"])
    model_figures.reliability(tested.logits, labels, paths["reliability"])

    def shown(index: int) -> Any:
        return next(iter(pixels.clean(test[index : index + 1])))[0]

    model_figures.worst_mistakes(shown, labels, tested.logits, classes, paths["mistakes"])
    if file.training.distillation is None or not draw_teacher(
        data, paths["teacher"], file.training.distillation.temperature
    ):
        del paths["teacher"]
    return list(paths.values())


def draw_teacher(data: Data, path: Path, temperature: float | None) -> bool:
    """Draw what the teacher says of some validation images, softened; False where no teacher has spoken."""
    import numpy as np

    from augsearch.search import model_figures

    known = data.workspace.teacher_logits
    if not known.exists():
        return False
    chosen = data.splits.validation
    logits = np.load(known, mmap_mode="r")[chosen]
    temperatures = sorted({*SOFTENED_AT, *([round(temperature, 1)] if temperature else [])})
    images = data.images.images
    model_figures.softened(
        lambda index: images[chosen[index]],
        data.images.labels[chosen],
        logits,
        data.images.classes,
        temperatures,
        path,
    )
    return True


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
    )
    transfer = file.training.transfer
    how = f", {transfer.mode} transfer" if transfer else ""
    display.line(
        f"final training: {plan.model}{how}, {trained_on} images of {pixels.side} px, "
        f"{plan.recipe.epochs} epochs, from {policy_file}"
    )
    seen: list[FinalEpoch] = []
    key = digest([file.policy.model_dump_json(), file.training.model_dump_json(), plan.model_dump_json()])
    try:
        return _shown(training, plan, seen, display, tracker, key, data.images.classes)
    except TrainingDivergedError as error:
        rate = plan.recipe.top_rate(transfer)
        kept = f"; the best model until then is kept as {path}" if seen else ""
        raise UserError(
            f"the final training stopped: {error} (--learning-rate is {rate:g}; try {rate / 4:g}){kept}"
        ) from None


def _shown(
    training: Following,
    plan: FinalPlan,
    seen: list[FinalEpoch],
    display: Display,
    tracker: Tracker | None,
    key: str,
    classes: Sequence[str],
) -> FinalModel:
    """Follow the training to its end; ``seen`` gets every epoch, ``key`` tells it from others in MLflow."""
    from augsearch.trainers.rounds import Labeling
    from augsearch.trainers.students import RoundDone

    parts = plan.recipe.accumulation
    in_rounds = False
    with display.bar("final training", plan.recipe.epochs) as bar:
        while True:
            try:
                epoch = next(training)
            except StopIteration as stop:
                final: FinalModel = stop.value
                break
            if isinstance(epoch, RoundDone):
                in_rounds = True
                display.line(round_in_words(epoch))
                if tracker is not None:
                    log_round(tracker, key, epoch, classes)
                continue
            if isinstance(epoch, Labeling):
                display.line(labeled_in_words(epoch))
                if tracker is not None and not in_rounds:
                    log_labeling(tracker, key, epoch, classes)
                continue
            done = epoch.training.epoch
            if not seen and epoch.loaded is not None:
                display.line(f"weights: {epoch.loaded.describe()}")
            if not seen and done > 1:
                display.line(f"taken up after epoch {done - 1}")
            seen.append(epoch)
            if epoch.training.accumulation > parts:
                parts = epoch.training.accumulation
                display.line(
                    f"memory ran out: batches of {plan.recipe.batch_size} go through in {parts} parts now; "
                    "the gradients are the same"
                )
            bar.reach(done, plan.recipe.epochs)
            bar.advance(0, f"held-out accuracy {100 * epoch.validation.accuracy:.1f} %")
            if tracker is not None:
                # The steps of students follow those of the rounds before them.
                tracker.epoch(epoch.round * plan.recipe.epochs + done, _epoch_metrics(epoch))
    if final.epochs < plan.recipe.epochs:
        display.line(f"stopped early, after {final.epochs} epochs: no better one for {plan.patience}")
    return final


def _epoch_metrics(epoch: FinalEpoch) -> dict[str, float]:
    training, validation = epoch.training, epoch.validation
    metrics = {
        "final_train_loss": training.loss,
        "final_learning_rate": training.learning_rate,
        "final_images_per_second": training.images / training.seconds,
        "final_held_out_accuracy": validation.accuracy,
        "final_held_out_macro_f1": validation.macro_f1,
        "final_held_out_log_loss": validation.log_loss,
        "final_held_out_ece": validation.ece,
    }
    if training.unlabeled:
        metrics |= {
            "final_unlabeled_share": training.unlabeled / training.images,
            "final_unlabeled_used": training.used,
        }
    if len(training.rates) > 1:
        metrics |= {f"learning_rate/{name}": rate for name, rate in training.rates.items()}
    return metrics


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


def overridden(file: PolicyFile, settings: Settings, flags: dict[str, Any]) -> PolicyFile:
    """``file`` with what the command's flags say instead; a flag that was not given is None.

    Raises:
        UserError: a value breaks its rule.
    """
    from pydantic import ValidationError

    from augsearch.policies.errors import explain

    policy, training = file.policy, file.training
    try:
        if flags["mixing"] is not None:
            fields = policy.mixing.model_dump() if policy.mixing else {}
            fields |= {"kind": flags["mixing"]}
            mixing = None if flags["mixing"] == "none" else Mixing(**fields)
            policy = policy.model_copy(update={"mixing": mixing})
        said = {
            name: flags[name] for name in ("temperature", "alpha", "teacher_view") if flags[name] is not None
        }
        distillation = training.distillation
        if said or ("teacher" in settings.model_fields_set and distillation is None):
            usual = {"temperature": 4.0, "alpha": 0.5}
            distillation = Distillation(**(distillation.model_dump() if distillation else usual) | said)
        if not settings.with_teacher:
            distillation = None
    except ValidationError as error:
        raise UserError(explain(error, separator="-")) from None
    transfer = training.transfer
    rates = {"backbone_lr_scale", "layer_decay"} & settings.model_fields_set
    if settings.transfer in ("head", "full"):
        transfer = settings.transfer_of(settings.network)
    elif transfer is not None and rates:
        transfer = transfer.model_copy(update={name: getattr(settings, name) for name in rates})
    semi = wanted_semi(file, settings)
    training = training.model_copy(update={"distillation": distillation, "transfer": transfer, "semi": semi})
    return file.model_copy(update={"policy": policy, "training": training})


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
