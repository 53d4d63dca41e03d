"""Whether MLflow has all of a study: what its last run was told, and whether that came to its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from augsearch.search.race.lost import lost
from augsearch.search.settings.sections import EngineSettings
from augsearch.search.studies.study import counted

TRACKED = "tracked"
"""The attribute of a study that holds the settings of the last run of which all was tracked."""
BEHIND = "behind"
"""The attribute that says whether a run was begun since then of which not all was."""


def all_is_tracked(study: optuna.Study, told: Mapping[str, Any], engine: EngineSettings) -> bool:
    """Whether a run that is ``told`` these settings, flat, has nothing to log."""
    behind = study.user_attrs.get(BEHIND, False) or more_to_come(study, engine)
    return study.user_attrs.get(TRACKED) == told and not behind


def begin(study: optuna.Study) -> None:
    """Write down that a run has something to log."""
    study.set_user_attr(BEHIND, True)


def keep(study: optuna.Study, told: Mapping[str, Any]) -> None:
    """Write down that all of a run is logged."""
    study.set_user_attr(TRACKED, told)
    study.set_user_attr(BEHIND, False)


def more_to_come(study: optuna.Study, engine: EngineSettings) -> bool:
    """Whether the same command trains something, though it came to its end before."""
    waits = any(not trial.state.is_finished() for trial in counted(study))
    again = any(one.may_do_better(engine) for one in lost(study).values())
    final = study.user_attrs.get("final")
    return waits or again or (final is not None and not Path(final["model"]).exists())
