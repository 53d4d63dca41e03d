"""The study of a run, made now or taken up where it stands."""

from __future__ import annotations

import optuna

from augsearch.search.inputs.identity import identity_of
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
