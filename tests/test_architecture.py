"""Imports point one way: policies ← trainers ← search; each folder keeps to its dependencies."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "policies": {
        "augsearch.trainers",
        "augsearch.search",
        "torch",
        "torchvision",
        "optuna",
        "mlflow",
        "click",
        "rich",
    },
    "trainers": {"augsearch.search", "optuna", "mlflow", "click", "rich"},
    "search": set(),
}
FILES = [(folder, path) for folder in FORBIDDEN for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module}
    return names


@pytest.mark.parametrize(("folder", "path"), FILES, ids=[str(path.relative_to(ROOT)) for _, path in FILES])
def test_imports_point_one_way(folder: str, path: Path) -> None:
    for name in imported(path):
        assert not any(name == banned or name.startswith(f"{banned}.") for banned in FORBIDDEN[folder]), name
    if "mlflow" in {name.split(".")[0] for name in imported(path)}:
        assert path == ROOT / "search" / "tracking.py"


def test_every_module_is_looked_at() -> None:
    assert len(FILES) > 30
