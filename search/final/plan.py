"""What a final training is to be: from the policy file, the settings, and flags that overrule it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from augsearch.policies import Distillation, Mixing, PolicyFile, Semi, Training, UserError, read_policy
from augsearch.policies.errors import explain
from augsearch.policies.regions import ResizedCrop
from augsearch.search.budget.plan import LEAST_FINAL
from augsearch.search.inputs.run_data import Data
from augsearch.search.settings.sections import AUTO, HOME
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import CROPPED_BEFORE, TECHNIQUES
from augsearch.trainers.data.dataset import SMALL_SIDE, ImageData, Indices
from augsearch.trainers.data.images import image_paths, open_images
from augsearch.trainers.data.target_domain import Target
from augsearch.trainers.data.views import Decoded, OnDisk, Pixels
from augsearch.trainers.evaluation.metrics import METRICS
from augsearch.trainers.models.names import WITH_WEIGHTS, hub_of
from augsearch.trainers.models.spec import family_of
from augsearch.trainers.system.hashing import content_of, digest
from augsearch.trainers.training.recipe import Recipe, default_final_epochs, usual_clip, usual_label_smoothing

if TYPE_CHECKING:  # it imports torch, which the driver of a search does without
    from augsearch.trainers.tasks.final_job import FinalPlan, SelectionSet


SIDE = 96
"""Pixels at which a final network that takes any is measured, and trained for a short time."""
FINE_TUNED = 3000
"""Image passes below which a fine-tuned network would be a poor one: of 500 flowers, six epochs at 96 px."""

DECISIVE = (
    *("input_size", "final_size", "final_epochs", "patience", "batch_size", "accumulation"),
    *("learning_rate", "label_smoothing", "warm_up", "ema", "precision", "crop_scale"),
    *("processes", "teacher", "teacher_weights", "limit", "first_teacher"),
)
"""The settings that make a final model another one, beside its network, its weights and the policy file."""


def final_epochs(settings: Settings, trained_on: int, training: Training) -> int:
    """The length of the final training's schedule; weights that are good already want a third of it."""
    epochs = default_final_epochs(trained_on, beside=training.semi is not None)
    return settings.final.epochs or (max(10, epochs // 3) if training.transfer else epochs)


def least_epochs(trained_on: int, training: Training) -> int:
    """The epochs of the final network on so many images below which it would be a poor one."""
    return LEAST_FINAL if training.transfer is None else max(LEAST_FINAL, math.ceil(FINE_TUNED / trained_on))


def usual_training(settings: Settings) -> Training:
    """What the final network does with its weights."""
    return Training(transfer=settings.transfer_of(settings.network))


def short_epochs(settings: Settings, trained_on: int) -> int:
    """The epochs of a short training; from scratch, which would come to little, all of them."""
    training = usual_training(settings)
    usual = final_epochs(settings, trained_on, training)
    return usual if training.transfer is None else min(usual, least_epochs(trained_on, training))


def short_settings(told: Settings, settings: Settings, trained_on: int) -> Settings:
    """``settings`` of a short training; ``told``: as they were given, before a budget chose a side."""
    side = SIDE if takes_any_side(told) else settings.final.size
    return settings.changed(final_size=side, final_epochs=short_epochs(told, trained_on))


def final_key(policy_file: Path, settings: Settings, data: Data) -> str:
    """A hash of all that decides the final model."""
    file = with_transfer(read_policy(policy_file), settings)
    flat = settings.flat()
    decisive = {name: flat[name] for name in DECISIVE}
    if decisive["teacher_weights"] == AUTO:
        decisive["teacher_weights"] = "hub"  # as it was called when models of before were made
    # What came later decides where it is not as all were before.
    later = {"clip": _clip(settings, file.training), "average_flips": settings.final.average_flips}
    decisive |= {name: value for name, value in later.items() if value}
    parts = (
        file.policy.model_dump_json(),
        file.training.hashed(),
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


def with_crops(file: PolicyFile, settings: Settings, pixels: Pixels) -> PolicyFile:
    """``file`` with the resized crop that ``--crop-scale`` says, where photos are read from disk.

    That is how final trainings of old cropped them, whatever their policy said.
    """
    smallest = settings.final.crop_scale
    if smallest is None or not isinstance(pixels, OnDisk):
        return file
    crop = {"resized_crop": ResizedCrop(smallest=smallest)}
    training, semi = file.training, file.training.semi
    if semi is not None and semi.policy is not None:
        own = semi.model_copy(update={"policy": semi.policy.model_copy(update=crop)})
        training = training.model_copy(update={"semi": own})
    return file.model_copy(update={"policy": file.policy.model_copy(update=crop), "training": training})


def as_then(settings: Settings, file: PolicyFile) -> Settings:
    """``settings`` that crop photos as the study of ``file`` did, if that is from before policies said so."""
    said = file.provenance
    edition = said.get("edition", 1)
    older = "study" in said and isinstance(edition, int) and edition < 3 and file.version < 3
    if not older or settings.final.crop_scale is not None:
        return settings
    return settings.changed(crop_scale=CROPPED_BEFORE)


def check_weights(settings: Settings, file: PolicyFile) -> None:
    """Check that there are weights for the file's transfer, unless it is to be from scratch.

    Raises:
        UserError: the network has none.
    """
    transfer = file.training.transfer
    if transfer is None or "none" in (settings.transfer.mode, settings.transfer.weights):
        return
    if settings.weights_of(settings.network) == "none":
        raise UserError(
            f"the policy asks for transfer {transfer.mode}, and network {settings.network} has no weights; "
            f"give --final-model {WITH_WEIGHTS}, or --transfer none"
        )


def with_metric(settings: Settings, file: PolicyFile) -> Settings:
    """``settings`` with the metric that the file's search was by, where none was given."""
    identity = file.provenance.get("made_from")
    found = identity.get("metric") if isinstance(identity, dict) else None
    if "metric" in settings.given or not isinstance(found, str) or found not in METRICS:
        return settings
    return settings.changed(metric=found)


def plan_of(settings: Settings, file: PolicyFile, trained_on: int) -> FinalPlan:
    """What the settings say of the final training."""
    from augsearch.trainers.tasks.final_job import FinalPlan

    recipe = Recipe(
        epochs=final_epochs(settings, trained_on, file.training),
        batch_size=settings.final.batch_size,
        learning_rate=settings.final.learning_rate,
        label_smoothing=usual_label_smoothing(file.training.semi)
        if settings.final.label_smoothing is None
        else settings.final.label_smoothing,
        warm_up=settings.final.warm_up,
        accumulation=settings.final.accumulation,
        ema=settings.final.ema,
        precision=settings.final.precision,
        clip=_clip(settings, file.training),
    )
    return FinalPlan(
        model=settings.network,
        weights=settings.weights_of(settings.network),
        input_size=final_input_size(settings),
        recipe=recipe,
        patience=settings.final.patience,
        processes=settings.final.processes,
        average_flips=settings.final.average_flips,
        first_teacher=settings.unlabeled.first_teacher,
        first_teacher_weights=settings.first_teacher_weights,
        metric=settings.search.metric,
    )


def _clip(settings: Settings, training: Training) -> float | None:
    """The largest norm of the final training's gradients."""
    if settings.final.clip is not None:
        return settings.final.clip or None
    return usual_clip(family_of(settings.network)) if training.transfer else None


def takes_any_side(settings: Settings) -> bool:
    """Whether the final network has weights and works at any side, and none is given."""
    sized = settings.final.size is not None or settings.transfer.input_size is not None
    return settings.final.train and not sized and _has_free_side(settings)


def final_input_size(settings: Settings) -> int | None:
    """Side to which the final network resizes its images: that of the final training, where it takes any."""
    if settings.transfer.input_size is None and settings.final.size is not None and _has_free_side(settings):
        return settings.final.size
    return settings.transfer.input_size


def _has_free_side(settings: Settings) -> bool:
    network = settings.network
    if hub_of(network) is None or settings.weights_of(network) == "none":
        return False
    from augsearch.trainers.models.hubs import native

    return not native(network).fixed_side


def final_pixels(settings: Settings, data: Data) -> Pixels:
    """The final training's images: above 64 pixels from the files themselves, else decoded."""
    _, cached, _, channels = data.images.images.shape
    wanted = settings.final.size or native_side_of(settings) or cached
    paths = image_paths(settings.data.source, data.images)
    if paths is not None and wanted > SMALL_SIDE:
        return OnDisk(
            paths,
            wanted,
            channels,
            kept_in=HOME / "cache",
            reading=data.images.form.reading,
        )
    return Decoded(_at(wanted, settings.data.source, data.images, settings).images)


def final_selection_set(settings: Settings, data: Data, side: int) -> SelectionSet | None:
    """The target's images of ``side`` pixels, which select the best epoch; None: there is no target."""
    target = data.target
    return None if target is None else images_of_target(settings, target, target.confirmation, side)


def images_of_target(settings: Settings, target: Target, rows: Indices, side: int) -> SelectionSet:
    """The images ``rows`` of ``target``, of ``side`` pixels."""
    from augsearch.trainers.tasks.final_job import SelectionSet

    labels = target.labels(rows)
    paths = image_paths(target.source, target.data)
    if paths is not None and side > SMALL_SIDE:
        return SelectionSet(
            OnDisk(paths, side, target.channels, reading=target.data.form.reading), rows, labels
        )
    images = replace(target, data=_at(side, target.source, target.data, settings)).images(rows)
    return SelectionSet(Decoded(images), np.arange(len(rows)), labels)


def _at(side: int, source: str | None, images: ImageData, settings: Settings) -> ImageData:
    """``images``, which were opened from ``source``, of ``side`` pixels."""
    if side == images.images.shape[1]:
        return images
    return open_images(
        source,
        image_size=side,
        cache=HOME / "cache",
        skip_bad_images=settings.data.skip_bad_images,
        form=images.form,
    )


def native_side_of(settings: Settings) -> int | None:
    """The side at which the final network's weights were trained, if it has any."""
    if settings.weights_of(settings.network) == "none":
        return None
    if settings.transfer.input_size is not None:
        return settings.transfer.input_size
    from augsearch.trainers.models.build import native_side

    return native_side(settings.network)


def overridden(file: PolicyFile, settings: Settings, flags: dict[str, Any]) -> PolicyFile:
    """``file`` with what the command's flags say instead; a flag that was not given is None.

    Raises:
        UserError: a value breaks its rule.
    """
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
        if said or ("teacher" in settings.given and distillation is None):
            usual = {"temperature": 4.0, "alpha": 0.5}
            distillation = Distillation(**(distillation.model_dump() if distillation else usual) | said)
        if not settings.with_teacher:
            distillation = None
    except ValidationError as error:
        raise UserError(explain(error, separator="-")) from None
    transfer = training.transfer
    rates = {"backbone_lr_scale", "layer_decay"} & settings.given
    if settings.transfer.mode in ("head", "full"):
        transfer = settings.transfer_of(settings.network)
    elif transfer is not None and rates:
        transfer = transfer.model_copy(update={name: settings.value(name) for name in rates})
    semi = wanted_semi(file, settings)
    changed: dict[str, Any] = {"distillation": distillation, "transfer": transfer, "semi": semi}
    if (balance := flags.get("class_balance")) is not None:
        changed["class_balance"] = None if balance == "none" else balance
    training = training.model_copy(update=changed)
    return file.model_copy(update={"policy": policy, "training": training})


def wanted_semi(file: PolicyFile, settings: Settings) -> Semi | None:
    """How a final training uses unlabeled images: as the file says, but where a flag says otherwise.

    Raises:
        UserError: a value breaks its rule, or nothing says how.
    """
    semi, asked = file.training.semi, settings.unlabeled.semi
    if asked == "none":
        return None
    fields: dict[str, Any] = semi.model_dump() if semi else {}
    if asked is not None and (semi is None or semi.technique != asked):
        fields = {"technique": asked}
    if not fields:
        given = ["unlabeled"] if settings.unlabeled.folder else list(settings.unlabeled.fields)
        if given:
            raise UserError(
                f"--{given[0].replace('_', '-')}: the policy file says nothing of unlabeled images; "
                f"give --semi {', '.join(TECHNIQUES)}"
            )
        return None
    try:
        return Semi.model_validate(fields | settings.unlabeled.fields)
    except ValidationError as error:
        raise UserError(explain(error, separator="-")) from None
