"""What is said where a study is taken up with other settings than it had: which count, and which can't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

from augsearch.search.final.plan import DECISIVE
from augsearch.search.studies.study import confirmation_results, counted

_OF_FINAL = (*DECISIVE, "final_model", "clip", "average_flips")
"""What decides the final model; with another it is trained anew."""


def changes_in_words(study: optuna.Study, settings: Mapping[str, Any]) -> list[str]:
    """Lines on which of ``settings``, by flat name, are others than those of the study's last run.

    None where there was no run yet, or where all is as it was. A setting that one of the two doesn't have, as
    a budget plans it or it is new, is not compared.
    """
    known: dict[str, Any] | None = study.user_attrs.get("settings")
    if known is None:
        return []
    changed = {
        name: f"--{name.replace('_', '-')} {_shown(known[name])} → {_shown(settings[name])}"
        for name in settings
        if name in known and name != "study" and known[name] != settings[name]
    }
    useless = {name: why for name, why in _useless(study, settings).items() if name in changed}
    lines = [f"{changed.pop(name)}: without effect, {why}" for name, why in useless.items()]
    if "final" in study.user_attrs and settings.get("final"):
        anew = [changed.pop(name) for name in _OF_FINAL if name in changed]
        if anew:
            lines.append(f"{', '.join(anew)}: the final model is trained anew")
    if changed:
        lines.insert(
            0, f"taken up with other settings, which count from now on: {', '.join(changed.values())}"
        )
    return lines


def _useless(study: optuna.Study, settings: Mapping[str, Any]) -> dict[str, str]:
    """What can't be undone any more, by flat name, and why."""
    found = {}
    ended = sum(trial.state.is_finished() for trial in counted(study))
    if settings.get("trials", ended) < ended:
        found["trials"] = f"as {ended} trials have ended already"
    folds = max((len(one) for one in confirmation_results(study).values()), default=0)
    if settings.get("confirm_folds", folds) < folds:
        found["confirm_folds"] = f"as {folds} fresh folds were run already"
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "automatic"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return str(value)
