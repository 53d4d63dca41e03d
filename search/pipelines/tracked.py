"""Whether a run has anything to log that MLflow doesn't have: its study remembers what was tracked."""

from __future__ import annotations

from pathlib import Path

import optuna

from augsearch.search.inputs.identity import identity_of
from augsearch.search.inputs.run_data import Data, tracked_data
from augsearch.search.pipelines.sync import ABOUT
from augsearch.search.race.lost import lost
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.study import counted
from augsearch.search.tracking.runs import Tracker

TRACKED = "tracked"
"""The attribute of a study that holds the settings of the last run of which all was tracked."""
BEHIND = "behind"
"""The attribute that says whether a run was begun since then of which not all was."""


def tracker_of(settings: Settings, data: Data, study: optuna.Study) -> Tracker | None:
    """A tracker; None where everything was tracked already and nothing new is to come."""
    behind = study.user_attrs.get(BEHIND, False) or more_to_come(study, settings)
    if study.user_attrs.get(TRACKED) == settings.flat() and not behind:
        return None
    study.set_user_attr(BEHIND, True)
    key = study.user_attrs["key"]
    tracked = tracked_data(data, settings.data.source)
    description = ABOUT.format(study.study_name)
    tracker = Tracker(settings.tracking.uri, data.experiment, study.study_name, key, description, tracked)
    tracker.parent(params={**settings.flat(), **identity_of(settings, data)})
    return tracker


def keep(study: optuna.Study, settings: Settings) -> None:
    """Write down that all of a run with ``settings`` was tracked."""
    study.set_user_attr(TRACKED, settings.flat())
    study.set_user_attr(BEHIND, False)


def more_to_come(study: optuna.Study, settings: Settings) -> bool:
    """Whether the same command trains something, though it came to its end before."""
    waits = any(not trial.state.is_finished() for trial in counted(study))
    again = any(one.may_do_better(settings.engine) for one in lost(study).values())
    final = study.user_attrs.get("final")
    return waits or again or (final is not None and not Path(final["model"]).exists())
