"""Searches that take seconds."""

from __future__ import annotations

from typing import Any

import pytest

from augsearch.search.settings.addresses import sqlite_address


@pytest.fixture(scope="session")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow's database of all of these: to make one takes longer than a search."""
    return sqlite_address(tmp_path_factory.mktemp("tracked") / "mlflow.db")


@pytest.fixture
def quick(tracked: str) -> dict[str, Any]:
    """Settings of the smallest search that comes to a verdict and a model."""
    sizes = {"trials": 7, "folds": 1, "epochs": 1, "confirm_folds": 2, "final_epochs": 1}
    networks = {"proxy_model": "tiny", "final_model": "tiny", "teacher": "none"}
    return {**sizes, **networks, "engine": "inline", "tracking_uri": tracked}
