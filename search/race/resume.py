"""The study of a run, made now or taken up where it stands, and what it changes of the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna

from augsearch.policies import UserError
from augsearch.search.console import Display
from augsearch.search.engines.registry import check_device
from augsearch.search.inputs.identity import PLANNED_BY_BUDGET, identity_of, study_name
from augsearch.search.inputs.picked import are_photos
from augsearch.search.inputs.prepare import open_data, with_picked_network, with_stand_in, without_colours
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.sealed_test import seal_test
from augsearch.search.inputs.stand_in import no_candidates_in_words
from augsearch.search.settings.networks import ProxySettings
from augsearch.search.settings.sections import AUTO
from augsearch.search.settings.settings import DEFAULTS, Settings
from augsearch.search.space.space import BASELINE_POLICIES, PHOTO_POLICIES, Space
from augsearch.search.studies.driver_storage import driver_storage
from augsearch.search.studies.pruner import pruner_of
from augsearch.search.studies.study import (
    find_study,
    load_study,
    open_storage,
    open_study,
    space_of,
    study_names,
)
from augsearch.trainers.models.names import is_built_in

_OF_A_SEARCH = ("operations", "space", "sampler", "pruner", "timeout", "finalists", "teacher")
"""What is as by default unless somebody wants candidates to be tried."""
TRIALS_OF_FIRST = 16
"""The default number of trials while there were four baselines."""


def open_begun(told: Settings, display: Display, *, searches: bool = False) -> tuple[Settings, Data]:
    """The images of a run, and its settings: as they were ``told``, and where they weren't as it was begun.

    ``searches``: it tries candidates, whether that is worth it or not.

    Raises:
        UserError: the data is bad, weights can't be had, there are fewer trials than baselines, or a GPU that
            is asked for isn't there.
    """
    check_device(told.engine, trains_final=told.final.train, processes=told.final.processes)
    settings = with_stand_in(with_picked_network(as_begun(told, told), display))
    settings, data = open_as_begun(settings, told, display)
    settings = without_colours(settings, data, display)
    settings = with_its_trials(with_usual_budget(settings, data), data)
    if not searches and without_candidates(settings, told):
        settings = settings.changed(trials=(known := len(space_for(settings, data).baselines)))
        display.line(no_candidates_in_words(known))
    picked, settings = settings.network, as_begun(settings, told, data)
    if settings.network != picked:
        display.line(f"final network: {settings.network}, as this study was begun with it")
    return settings, data


def open_as_begun(settings: Settings, told: Settings, display: Display) -> tuple[Settings, Data]:
    """``settings`` and their images; with a small network in the search, if they were begun with it.

    So were all, before the final network was fine-tuned in the search where they were ``told`` nothing of it.

    Raises:
        UserError: see ``open_data``.
    """
    data = open_data(settings, display)
    if is_built_in(settings.proxy.model) or _names_proxy(told):
        return settings, data
    small = ProxySettings().model
    scratch = settings.changed(proxy_model=small, proxy_size=None)
    if not _has_study_with(small, settings.tracking.storage, data):
        return settings, data
    alike = open_data(scratch, Display(amount="quiet", results=False))
    if known_study(scratch, alike) is None:
        return settings, data
    display.line(
        f"the search goes on with the network {small} from scratch, as it was begun; --proxy finetune begins "
        f"one that fine-tunes {settings.network}"
    )
    return scratch, alike


def without_candidates(settings: Settings, told: Settings) -> bool:
    """Whether the baselines are all that a run compares, which were ``told`` of no search.

    So it is where the final network is fine-tuned in the search; see ``docs/results/carry-over.md``.
    """
    searched = "search" in (settings.transfer.mode, settings.search.class_balance)
    unusual = any(told.value(name) != DEFAULTS[name] for name in _OF_A_SEARCH)
    asked = "trials" in told.given or unusual or searched or settings.unlabeled.wanted
    return not asked and not _names_proxy(told) and not is_built_in(settings.proxy.model)


def _names_proxy(told: Settings) -> bool:
    """Whether it is said what the search trains."""
    unusual = told.proxy.kind != AUTO or told.proxy.size is not None
    return unusual or "proxy_model" in told.given


def _has_study_with(network: str, address: str, data: Data) -> bool:
    """Whether there is a study of ``data``, named by it, whose search trains ``network``."""
    names = [name for name in study_names(address) if name.startswith(f"{data.images.name}-")]
    if not names:
        return False
    storage = open_storage(address)
    known = (load_study(storage, name).user_attrs.get("identity", {}) for name in names)
    return any(one.get("proxy model") == network and one.get("data") == data.label for one in known)


def study_of(
    settings: Settings,
    data: Data,
    name: str,
    *,
    warm_start: bool = True,
    renew: Callable[[], None] | None = None,
) -> optuna.Study:
    """The study ``name`` of these settings and data, made now or taken up where it stands; for its driver.

    ``warm_start``: it begins with the baselines. ``renew``: see ``studies.lock``.

    Raises:
        UserError: it was made from other data or settings.
    """
    pruner = pruner_of(settings.search.pruner, settings.search.folds)
    remote = open_storage(settings.tracking.storage, pre_ping=False)
    storage = driver_storage(remote, name, renew)
    identity = identity_of(settings, data)
    space = space_for(settings, data)
    study = open_study(storage, name, identity, space, pruner, warm_start=warm_start)
    seal_test(study, settings.data.source, data)
    return study


def space_for(settings: Settings, data: Data) -> Space:
    """What a new study of these settings and data may choose from."""
    photos = are_photos(settings.data, data.images)
    trained = (settings.proxy.model, *([settings.network] if settings.final.train else []))
    pretrained = any(settings.weights_of(network) != "none" for network in trained)
    return replace(settings.space, mean=data.mean_colour, photos=photos, resized=photos and pretrained)


def with_usual_budget(settings: Settings, data: Data) -> Settings:
    """``settings`` with the budget that runs have where none is given, but where their study had none.

    A study that was begun without one, as all once were, goes on without.
    """
    budgeted = settings.with_usual_budget()
    if settings.budget is not None or budgeted.seconds is None:
        return budgeted
    without = settings.changed(budget="none")
    study = known_study(without, data)
    known = study.user_attrs.get("identity") if study else None
    if known is not None and known.get("folds") != PLANNED_BY_BUDGET:
        return without
    return budgeted


def as_begun(settings: Settings, told: Settings, data: Data | None = None) -> Settings:
    """``settings`` with the networks that their study was begun with, where they were ``told`` none.

    And from scratch, where it was begun when no ``--weights`` meant that.

    ``data``: None: it is not open yet, and only a study that is named can be known.
    """
    if data is None and settings.tracking.study is None:
        return settings
    study = known_study(settings, data)
    said = study.user_attrs.get("settings") if study else None
    if said is None:
        return settings
    begun: dict[str, Any] = {}
    if not told.names_network:
        begun = {name: said.get(name) for name in ("final_model", "final_size") if name not in told.given}
    if "proxy_model" in said and not _names_proxy(told):
        begun |= {name: said.get(name) for name in ("proxy_model", "proxy_size")}
    if said.get("weights", AUTO) is None and not told.given & {"weights", "transfer"}:
        begun["weights"] = Settings.recorded(said).transfer.weights
    if said.get("layer_decay") is not None and "layer_decay" not in told.given:
        begun["layer_decay"] = said["layer_decay"]  # once it was 1 for every family
    if "clip" not in told.given and said.get("clip", 0.0) is not None:
        begun["clip"] = said.get("clip", 0.0)  # once no gradients were clipped
    if said.get("crop_scale") is not None and "crop_scale" not in told.given:
        begun["crop_scale"] = said["crop_scale"]  # once photos were always cropped
    return settings.changed(**begun)


def with_its_trials(settings: Settings, data: Data) -> Settings:
    """``settings`` with as many trials as their study has by default, if it was made before there were more.

    Raises:
        UserError: there are to be fewer trials than baselines.
    """
    study = known_study(settings, data)
    space = space_of(study, settings.space) if study else space_for(settings, data)
    more = len(settings.search.baselines)
    if space.resized:
        more += len(PHOTO_POLICIES) - len(BASELINE_POLICIES)
    if space.edition == 1 and settings.seconds is None and "trials" not in settings.given:
        settings = settings.changed(trials=TRIALS_OF_FIRST)
    elif more and settings.seconds is None and "trials" not in settings.given:
        # As many candidates as without these baselines.
        settings = settings.changed(trials=settings.search.trials + more)
    trials, needed = settings.search.trials, len(space.baselines)
    if trials < needed:
        raise UserError(f"trials must be at least {needed}, the baselines, got {trials}")
    return settings


def known_study(settings: Settings, data: Data | None) -> optuna.Study | None:
    """The study of these settings and data, where it was made before; without data, the one that is named."""
    name = settings.tracking.study if data is None else study_name(settings, data)
    return find_study(settings.tracking.storage, name)
