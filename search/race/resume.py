"""The study of a run, made now or taken up where it stands."""

from __future__ import annotations

import optuna

from augsearch.search.inputs.identity import PLANNED_BY_BUDGET, identity_of, study_name
from augsearch.search.inputs.run_data import Data
from augsearch.search.inputs.sealed_test import seal_test
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.pruner import pruner_of
from augsearch.search.studies.study import open_storage, open_study


def study_of(settings: Settings, data: Data, name: str, *, warm_start: bool = True) -> optuna.Study:
    """The study ``name`` of these settings and data, made now or taken up where it stands.

    ``warm_start``: it begins with the baselines.

    Raises:
        UserError: it was made from other data or settings.
    """
    pruner = pruner_of(settings.search.pruner, settings.search.folds)
    storage = open_storage(settings.tracking.storage)
    identity = identity_of(settings, data)
    study = open_study(storage, name, identity, settings.space, pruner, warm_start=warm_start)
    seal_test(study, settings.data.source, data)
    return study


def with_usual_budget(settings: Settings, data: Data) -> Settings:
    """``settings`` with the budget that runs have where none is given, but where their study had none.

    A study that was begun without one, as all once were, goes on without.
    """
    budgeted = settings.with_usual_budget()
    if settings.budget is not None or budgeted.seconds is None:
        return budgeted
    without = settings.changed(budget="none")
    storage, name = open_storage(settings.tracking.storage), study_name(without, data)
    if name in optuna.get_all_study_names(storage):
        known = optuna.load_study(storage=storage, study_name=name).user_attrs.get("identity")
        if known is not None and known.get("folds") != PLANNED_BY_BUDGET:
            return without
    return budgeted
