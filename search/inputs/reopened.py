"""The images and settings of a run that was made before, for what is asked of its study afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

from augsearch.policies import UserError
from augsearch.search.budget.session import record_of
from augsearch.search.console import Display
from augsearch.search.inputs.identity import PLANNED_BY_BUDGET, identity_of
from augsearch.search.inputs.prepare import open_data, resized
from augsearch.search.inputs.run_data import Data
from augsearch.search.settings.settings import FLAT, Settings

_SEARCH_ALONE = {"folds", "sampler", "pruner", "operations", "space"}
"""What of a study's identity decides which candidates it tried, and not how one is scored."""


def settings_of(study: optuna.Study) -> Settings:
    """The settings of the study's last run, and the sizes that its budget planned.

    Raises:
        UserError: no run was recorded.
    """
    said = study.user_attrs.get("settings") or study.user_attrs.get("tracked")
    if said is None:
        raise UserError(
            f"study {study.study_name!r} does not say how it was run; the augsearch run that made it "
            "records that when it is called again"
        )
    settings = Settings.recorded(said)
    record = record_of(study)
    if record is None or record.sizes is None:
        return settings
    sizes: dict[str, Any] = {"fold_size": record.sizes.fold_size, "epochs": record.sizes.epochs}
    if epochs := record.final_epochs or record.sizes.final_epochs:
        sizes["final_epochs"] = epochs
    if record.final_size is not None:
        sizes["final_size"] = record.final_size
    return settings.changed(**sizes)


def as_its_run(study: optuna.Study, settings: Settings) -> Settings:
    """``settings`` with whatever is not given taken from the run that made ``study``."""
    run, given = settings_of(study), settings.given
    return run.changed(**{name: settings.value(name) for name in FLAT if name in given})


def reopen(study: optuna.Study, settings: Settings, display: Display, known: Data | None = None) -> Data:
    """The data of ``study``, whose run had ``settings``, opened and divided as then.

    ``known``: the same, opened before, perhaps with folds of another size.

    Raises:
        UserError: the images are others by now, or the settings are.
    """
    if known is None:
        data = open_data(settings, display)
    else:
        proxy = known.workspace.proxy
        data = resized(
            known, settings.proxy.fold_size or proxy.fold_size, settings.proxy.epochs or proxy.epochs
        )
    check_same_scores(study, identity_of(settings, data))
    return data


def scored_alike(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What of a study's ``identity`` decides how a candidate is scored."""
    return {name: value for name, value in identity.items() if name not in _SEARCH_ALONE}


def check_same_scores(study: optuna.Study, identity: Mapping[str, Any]) -> None:
    """Refuse to compare what another ``identity`` scores with what ``study`` has.

    Raises:
        UserError: images, their division or the short trainings are others; says which.
    """
    known = study.user_attrs["identity"]
    differ = [
        name
        for name in scored_alike({**identity, **known})
        if known.get(name) != PLANNED_BY_BUDGET and identity.get(name) != known.get(name)
    ]
    if differ:
        said = "; ".join(f"{name} was {known.get(name)}, is {identity.get(name)}" for name in differ)
        raise UserError(
            f"study {study.study_name!r} was made from other data or settings: {said}; "
            "give the same, or another --study"
        )
