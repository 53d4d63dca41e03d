"""The images of a run: opened, divided, and written down for the workers; and what identifies a study."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from augsearch.policies import UserError
from augsearch.policies.bands import COLOURS
from augsearch.policies.errors import some
from augsearch.policies.registry import OPERATIONS
from augsearch.search.console import Display
from augsearch.search.inputs.identity import by_content
from augsearch.search.inputs.learned_from import GivenModel, honest_parts
from augsearch.search.inputs.picked import pick
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.stand_in import FinalNetwork, fine_tuned_side, is_fine_tuned
from augsearch.search.inputs.target_domain import find_target
from augsearch.search.inputs.unlabeled import (
    decoded_file,
    has_unlabeled_folder,
    sample_unlabeled,
    unlabeled_in_words,
)
from augsearch.search.inputs.weights import have_weights
from augsearch.search.inputs.workplace import AT_WORK, check_writable, use
from augsearch.search.settings.data import DataSettings
from augsearch.search.settings.sections import AUTO, HOME, TRACKED
from augsearch.search.settings.settings import Settings
from augsearch.trainers.data.dataset import SMALL_SIDE, ImageData
from augsearch.trainers.data.groups import groups_in_words, with_groups
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.rare_classes import OTHER, without_rare_classes
from augsearch.trainers.data.splits import Splits, split
from augsearch.trainers.data.target_domain import Target
from augsearch.trainers.models.names import WITH_WEIGHTS, is_built_in, is_model_file
from augsearch.trainers.system.hashing import digest
from augsearch.trainers.training.recipe import default_epochs, default_fine_tuning_epochs
from augsearch.trainers.workspace.candidate import SELF, ProxySettings
from augsearch.trainers.workspace.folder import write_workspace
from augsearch.trainers.workspace.folds import default_fold_size

if TYPE_CHECKING:
    from augsearch.trainers.data.unlabeled.dataset import Unlabeled


CLASSES_NAMED = 10
"""Classes that the line on the data names."""

MOST_NAMED = 20
"""Rare classes that a line names."""


def open_data(settings: Settings, display: Display, *, searched: bool = True) -> Data:
    """Decode or map the images, divide them, and write down what workers may see.

    ``searched``: whether there is a search, and not the final training alone.

    Raises:
        UserError: the data is bad, weights can't be had, a model that was given has learned from what it is
            scored on, or nothing may be written here.
    """
    check_writable()
    use(AT_WORK)
    have_weights(trained_networks(settings, searched=searched), display)
    images = _opened(settings, display)
    splits = split(
        images.labels,
        images.given,
        classes=images.classes,
        seed=settings.seed,
        limit=settings.data.limit,
        groups=images.groups,
    )
    teacher = _teacher(settings)
    target, about_target = find_target(settings.data, images, splits, settings.seed, display) or (None, "")
    given = given_models(settings, teacher, searched=searched)
    splits, target = honest_parts(given, settings.data.source, images, splits, target, display)
    proxy = _proxy_of(settings, splits, len(images.classes), teacher)
    unlabeled = None
    if settings.unlabeled.wanted:
        unlabeled = sample_unlabeled(
            settings.data, settings.unlabeled.folder, images, splits, target, settings.seed, display
        )
    data = _with_workspace(images, splits, proxy, unlabeled, target)
    display.line(_counted(data))
    if target is not None:
        display.line(about_target)
    if unlabeled is not None:
        display.line(unlabeled_in_words(unlabeled))
    elif settings.unlabeled.semi is None and (len(splits.unlabeled) or has_unlabeled_folder(settings.data)):
        display.line("images without labels are not used; --semi search finds out whether they help")
    return data


def _opened(settings: Settings, display: Display) -> ImageData:
    """All images, decoded or mapped."""
    with display.bar("decoding images", total=1) as bar:
        images = open_images(
            settings.data.source,
            image_size=settings.data.image_size,
            cache=HOME / "cache",
            largest=_largest_side(settings),
            skip_bad_images=settings.data.skip_bad_images,
            form=settings.data.form,
            progress=bar.reach,
        )
    for line in (*images.notes, *(f"skipped {skipped}" for skipped in images.skipped)):
        display.line(line)
    grouped = with_groups(images, settings.data.group_by)
    if grouped.groups is not None:
        display.line(groups_in_words(grouped))
    return _without_rare(grouped, settings.data, display)


def _without_rare(images: ImageData, data: DataSettings, display: Display) -> ImageData:
    """``images`` as they are, or without the classes that are too rare, which are named."""
    if data.min_per_class is None:
        return images
    merge = data.rare_classes == "merge"
    kept, rare = without_rare_classes(images, data.min_per_class, merge=merge)
    if rare:
        done = f"merged into '{OTHER}'" if merge else "left out"
        of = f"{len(rare):,} of {len(images.classes):,} classes"
        named = some(rare, MOST_NAMED)
        display.line(f"{done} {of}, with fewer than {data.min_per_class} images to train on: {named}")
    return kept


def _proxy_of(settings: Settings, splits: Splits, classes: int, teacher: str | None) -> ProxySettings:
    """How every proxy is trained."""
    usual = default_fold_size(len(splits.train), classes)
    fold_size = min(settings.proxy.fold_size or usual, len(splits.train))
    if fold_size < classes:
        raise UserError(
            f"--fold-size {fold_size}: a fold must have an image of each of the {classes:,} classes; "
            f"give {classes} or more, or leave it out"
        )
    return ProxySettings(
        model=settings.proxy.model,
        weights=settings.weights_of(settings.proxy.model),
        input_size=_own_side(settings) or settings.transfer.input_size,
        epochs=settings.proxy.epochs or _usual_epochs(settings, fold_size),
        fold_size=fold_size,
        seed=settings.seed,
        device=settings.engine.device,
        teacher=teacher,
        teacher_weights=settings.teacher_weights,
        metric=settings.search.metric,
        own=settings.proxy.own,
    )


def _usual_epochs(settings: Settings, fold_size: int) -> int:
    """The epochs of a fold, where they aren't given."""
    if settings.proxy.own is not None:
        return 1
    if _own_side(settings) is None:
        return default_epochs(fold_size)
    return default_fine_tuning_epochs(fold_size)


def _own_side(settings: Settings) -> int | None:
    """The side at which the search fine-tunes weights; None: theirs, or there are none."""
    return None if settings.weights_of(settings.proxy.model) == "none" else settings.proxy.size


def _counted(data: Data) -> str:
    """One line: what the images are, and how many each part has."""
    images, splits = data.images, data.splits
    _, side, _, channels = images.images.shape
    parts = {
        name: len(getattr(splits, name))
        for name in ("train", "validation", "confirmation", "test", "unlabeled")
    }
    counts = ", ".join(f"{count} {name}" for name, count in parts.items() if count)
    counts = counts.replace(" test", " test (sealed)")
    colour = {1: "grey", 3: "RGB"}.get(channels, f"of {channels} bands")
    classes = f"{len(images.classes)} classes ({some(images.classes, CLASSES_NAMED)})"
    return f"{images.name}: {classes}, {side} px {colour}; {counts}"


def given_models(settings: Settings, teacher: str | None, *, searched: bool) -> list[GivenModel]:
    """The model files that ``settings`` name, each once.

    ``teacher``: the teacher's file or network; None: there is none. ``searched``: whether there is a search,
    and not the final training alone.
    """
    found: dict[Path, GivenModel] = {}
    for flag, name, file, instead, scores in _named(settings, teacher, searched=searched):
        path = Path(file)
        if path not in found and (searched or not scores or flag.startswith("--teacher")):
            found[path] = GivenModel(flag, name, path, instead, searched and scores)
    return list(found.values())


def _named(
    settings: Settings, teacher: str | None, *, searched: bool
) -> Iterator[tuple[str, str, str, str, bool]]:
    """Flag, what was given with it, its file, what else to give, whether candidates are scored with it."""
    if teacher is not None and is_model_file(teacher):
        yield "--teacher", settings.teacher.network, teacher, "another teacher, or --teacher self", True
    elif teacher is not None and teacher != SELF and not is_built_in(teacher):
        weights = settings.teacher_weights
        if weights not in ("hub", "none"):
            yield "--teacher-weights", weights, weights, "other --teacher-weights, or auto or none", True
    compared = searched and (settings.compares_on_final or settings.final.refine)
    for flag, network, scores, or_else in (
        ("--proxy-model", settings.proxy.model, True, ""),
        ("--final-model", settings.network, compared, ", or --final-seeds 0" if compared else ""),
    ):
        weights = settings.weights_of(network)
        if weights == network:
            yield flag, network, network, f"another {flag}{or_else}", scores
        elif weights not in ("hub", "none"):
            yield "--weights", weights, weights, f"other --weights, or auto or none{or_else}", scores
    first = settings.unlabeled.first_teacher
    if first is not None and is_model_file(first):
        yield "--first-teacher", first, first, "another --first-teacher", False


def with_picked_network(settings: Settings, display: Display) -> Settings:
    """``settings`` with a final network that suits the images, where none is named; says which and why.

    Raises:
        UserError: there are no such images, or weights are asked for that such a network has not.
    """
    transfer = settings.transfer
    if settings.data.source is None or not settings.final.train or settings.names_network:
        return settings
    scratch = "--weights" if transfer.weights == "none" else "--transfer" if transfer.mode == "none" else None
    if scratch is not None:
        display.line(
            f"final network: {settings.network}, from scratch, because of {scratch} none; --final-model NAME "
            "picks another"
        )
        return settings
    if transfer.weights not in (AUTO, "hub"):
        raise UserError(
            f"--weights {transfer.weights}: of which network? Name it with --final-model (lite0, "
            "torchvision:NAME or timm:NAME), or leave --weights out"
        )
    picked = pick(settings.data.source, settings.engine.device, settings.network, settings.data.form)
    display.line(picked.why)
    if picked.network is None:
        if transfer.mode in ("head", "full"):
            raise UserError(
                f"--transfer {transfer.mode} needs a network with weights; name one with --final-model "
                f"({WITH_WEIGHTS})"
            )
        return settings
    sized = settings.final.size is not None or settings.seconds is not None  # then the budget decides
    size = settings.final.size if sized else transfer.input_size or picked.size
    return settings.changed(final_model=picked.network, final_size=size)


def with_stand_in(settings: Settings) -> Settings:
    """``settings``, which name the final network, with the one that the search trains, and its side.

    Raises:
        UserError: see ``is_fine_tuned``.
    """
    name, device = settings.network, settings.engine.device
    final = FinalNetwork(name, settings.weights_of(name), device, settings.final.train)
    if not is_fine_tuned(settings.proxy, final):
        return settings
    side = settings.proxy.size or fine_tuned_side(name, settings.data.image_size)
    return settings.changed(proxy=AUTO, proxy_model=name, proxy_size=side)


def without_colours(settings: Settings, data: Data, display: Display) -> Settings:
    """``settings`` without operations that move colours, which images of bands don't have; says so."""
    channels = data.images.images.shape[-1]
    useful = tuple(name for name in settings.search.operations if OPERATIONS[name].kind != "colour")
    left_out = [name for name in settings.search.operations if name not in useful]
    if channels in COLOURS or not left_out or not useful:
        return settings
    display.line(
        f"each of {channels} bands is augmented as a grey image by itself: {some(left_out, MOST_NAMED)} "
        "would do nothing and is not searched; --bands 4,3,2 makes colours of three bands"
    )
    return settings.changed(operations=useful)


def trained_networks(settings: Settings, *, searched: bool) -> Iterator[tuple[str, str, str]]:
    """All networks that may be trained: the flag of their weights, their name, their weights.

    ``searched``: whether there is a search, and not the final training alone.
    """
    if searched:
        yield "--weights", settings.proxy.model, settings.weights_of(settings.proxy.model)
    if settings.final.train:
        yield "--weights", settings.network, settings.weights_of(settings.network)
    if settings.with_teacher:
        yield "--teacher-weights", settings.teacher.network, settings.teacher_weights
    if settings.unlabeled.first_teacher is not None:
        yield "--weights", settings.unlabeled.first_teacher, settings.first_teacher_weights


def resized(data: Data, fold_size: int, epochs: int) -> Data:
    """``data`` with folds of another size, in a workspace of their own."""
    proxy = data.workspace.proxy.model_copy(update={"fold_size": fold_size, "epochs": epochs})
    return _with_workspace(data.images, data.splits, proxy, data.unlabeled, data.target)


def _with_workspace(
    images: ImageData,
    splits: Splits,
    proxy: ProxySettings,
    unlabeled: Unlabeled | None,
    target: Target | None,
) -> Data:
    key = _workspace_key(images, splits, proxy, unlabeled, target)
    beside = (decoded_file(unlabeled), unlabeled.chosen) if unlabeled else None
    folder = HOME / "work" / key
    use(folder)
    workspace = write_workspace(folder, images, splits, proxy, beside, target)
    return Data(images, splits, workspace, unlabeled, target)


def _workspace_key(
    images: ImageData,
    splits: Splits,
    proxy: ProxySettings,
    unlabeled: Unlabeled | None,
    target: Target | None,
) -> str:
    # The metric came later: with the usual one the folder stays where it was, and a final model up to date.
    left_out = {"device", "metric"} if proxy.metric == "accuracy" else {"device"}
    return digest(
        [
            *(images.fingerprint, splits.digests(), by_content(proxy.model_dump(exclude=left_out))),
            *([unlabeled.fingerprint] if unlabeled else []),
            *([target.fingerprint] if target else []),
            *([images.groups.tolist()] if images.groups is not None else []),
        ]
    )


def _largest_side(settings: Settings) -> int:
    """The largest side that is taken without being asked for: what the proxy's weights were trained at."""
    if settings.weights_of(settings.proxy.model) == "none" or is_model_file(settings.proxy.model):
        return SMALL_SIDE
    from augsearch.trainers.models.hubs import native

    return _own_side(settings) or settings.transfer.input_size or native(settings.proxy.model).side


def _teacher(settings: Settings) -> str | None:
    """The teacher's network or file; one in MLflow is fetched."""
    if not settings.with_teacher:
        return None
    if not settings.teacher.network.startswith(TRACKED):
        return settings.teacher.network
    from augsearch.search.tracking.models import fetch_model

    return str(fetch_model(settings.teacher.network, settings.tracking.uri))


def make_folder(folder: Path) -> None:
    """Have ``folder`` ready before hours of work are to be kept in it.

    Raises:
        UserError: it can't be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: can't be made ({error.strerror}); give another --output") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: can't be written (permission denied); give another --output")
