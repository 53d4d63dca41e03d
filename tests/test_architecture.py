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
TORCH_BACKEND = {"tensor", "torch_batches", "torch_steps", "torch_tables"}
"""The modules of ``policies`` that run a policy on a torch device."""

FILES = [(folder, path) for folder in FORBIDDEN for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize(("folder", "path"), FILES, ids=[str(path.relative_to(ROOT)) for _, path in FILES])
def test_imports_point_one_way(folder: str, path: Path) -> None:
    backend = folder == "policies" and path.stem in TORCH_BACKEND
    for name in imported(path):
        banned = FORBIDDEN[folder] - ({"torch"} if backend else set())
        assert not any(name == other or name.startswith(f"{other}.") for other in banned), name
    if "mlflow" in {name.split(".")[0] for name in imported(path)}:
        assert path == ROOT / "search" / "tracking.py"


@pytest.mark.parametrize("path", sorted((ROOT / "policies").glob("*.py")), ids=lambda path: path.stem)
def test_policies_need_torch_for_tensors_only(path: Path) -> None:
    names = imported(path)
    if path.stem in TORCH_BACKEND:
        assert any(name.split(".")[0] == "torch" for name in names)
    else:
        assert not {f"augsearch.policies.{module}" for module in TORCH_BACKEND} & names


def test_every_module_is_looked_at() -> None:
    assert len(FILES) > 30
