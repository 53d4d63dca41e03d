"""The search: Optuna, MLflow, engines, statistics and the commands.

Names are imported when they are first used, so that ``augsearch --help`` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augsearch.search.api.result import Result
    from augsearch.search.api.run import load, run
    from augsearch.search.console import Display
    from augsearch.search.pipelines.run import Outcome
    from augsearch.search.settings.settings import Settings

_HOME_OF = {
    "Display": "console",
    "Outcome": "pipelines.run",
    "Result": "api.result",
    "Settings": "settings.settings",
    "load": "api.run",
    "run": "api.run",
}

__all__ = ["Display", "Outcome", "Result", "Settings", "load", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
