"""What ``optuna-dashboard`` shows of a study beside its trials, where it is installed."""

from __future__ import annotations

import optuna


def keep_note(study: optuna.Study, verdict: str, recommended: str) -> None:
    """Have the dashboard say what the ``verdict`` on ``study`` is; nothing where it isn't installed."""
    try:
        from optuna_dashboard import save_note
    except ImportError:
        return
    save_note(study, f"**{verdict}**\n\nRecommended: {recommended}.\n\n{_ABOUT}")


_ABOUT = (
    "Trials that have `baseline` among their attributes are what candidates are measured against. "
    "Intermediate values are the scores of their folds. The verdict is from fresh folds and other images, so "
    "it is no trial's value."
)
