"""The house: imports point one way, between folders and between the rooms of each; no circle; sizes."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from augsearch.search.settings.sections import OF_ALL_STUDIES

ROOT = Path(__file__).parents[1]
FOLDERS = ("policies", "trainers", "search")

RULES: dict[str, tuple[tuple[str, ...], ...]] = {
    "trainers": (
        ("system", "models"),
        ("data",),
        ("evaluation",),
        ("workspace", "training"),
        ("semi",),
        ("tasks",),
    ),
    "search": (
        ("statistics", "space", "console"),
        ("settings",),
        ("studies", "engines", "command_lines"),
        ("tracking", "figures", "budget"),
        ("inputs",),
        ("race", "final", "report", "options"),
        ("pipelines",),
        ("api",),
        ("commands",),
        ("cli",),
    ),
}
"""The rooms of a folder, from left to right: a room imports what stands to its left, and nothing beside it
but in the first group, where rooms may build on one another as long as no circle comes of it."""

WITHOUT_TORCH = (
    *("trainers/system", "trainers/data", "trainers/workspace"),
    *("trainers/models/names.py", "trainers/models/spec.py", "trainers/models/learned.py"),
    "trainers/evaluation/metrics.py",
    *("trainers/training/recipe.py", "policies"),
)
WITH_TORCH = ("trainers/system/devices.py", "policies/tensor.py", "policies/backends/torch")
"""What of those does import torch."""

FORBIDDEN = {
    "policies": {"torchvision", "optuna", "mlflow", "click", "rich"},
    "trainers": {"optuna", "mlflow", "click", "rich"},
    "search": set(),
}

MODULES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
IDS = [str(path.relative_to(ROOT)) for path in MODULES]
SIZED = [*MODULES, *sorted((ROOT / "benchmarks").rglob("*.py"))]

LONGEST_MODULE, LONGEST_FUNCTION, MOST_PARAMETERS = 400, 60, 8


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("augsearch", *(parts[:-1] if parts[-1] == "__init__" else parts)))


NAMES = {_module(path): path for path in MODULES}


def _imports(path: Path, *, everywhere: bool = True) -> set[str]:
    """The names of the modules that ``path`` imports, for type checking too.

    ``everywhere``: also those in functions and for type checking alone.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = names & set(NAMES)
            found |= submodules | ({node.module} if len(submodules) < len(names) else set())
    return found


GRAPH = {name: _imports(path) & set(NAMES) for name, path in NAMES.items()}


def _room(name: str) -> tuple[str, str]:
    """The folder and the room in it that a module stands in; its own name where it stands in none."""
    parts = name.split(".")[1:]
    return parts[0], parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_imports_point_one_way_between_folders_and_to_their_own_libraries(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    later = FOLDERS[FOLDERS.index(folder) + 1 :]
    for name in _imports(path):
        parts = name.split(".")
        assert parts[0] not in FORBIDDEN[folder], name
        assert not (parts[0] == "augsearch" and len(parts) > 1 and parts[1] in later), name
        if parts[0] == "mlflow":
            assert path.relative_to(ROOT).parts[:2] == ("search", "tracking"), name


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_rooms_import_only_what_stands_to_their_left(name: str) -> None:
    folder, room = _room(name)
    if folder not in RULES or not room:
        return
    floor = {one: number for number, rooms in enumerate(RULES[folder]) for one in rooms}
    for other in GRAPH[name]:
        their_folder, theirs = _room(other)
        if their_folder != folder or theirs in (room, "") or room == "serving":
            continue
        below = floor[theirs] < floor[room] or (floor[theirs] == floor[room] == 0)
        assert below, f"{name} imports {other}"


def test_every_room_has_its_place() -> None:
    for folder, rule in RULES.items():
        placed = {room for rooms in rule for room in rooms} | {"", "serving"}
        assert {_room(name)[1] for name in NAMES if _room(name)[0] == folder} <= placed


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def test_no_modules_import_in_a_circle() -> None:
    # The public faces name what is below them, and are imported by what is above: no circle of modules' own.
    faces = {f"augsearch.{folder}" for folder in FOLDERS}
    graph = {name: others - faces for name, others in GRAPH.items() if name not in faces}
    assert _circles(graph) == []


def test_no_rooms_import_in_a_circle() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for name, others in GRAPH.items():
        mine = ".".join(_room(name))
        theirs = {".".join(_room(other)) for other in others if _room(other)[1]}
        rooms[mine] |= theirs - {mine}
    graph = {room: {other for other in others if other in rooms} for room, others in rooms.items()}
    assert _circles({room: others for room, others in graph.items() if not room.endswith(".")}) == []


def test_what_a_driver_imports_is_free_of_torch() -> None:
    for start in [name for name, path in NAMES.items() if _free_of_torch(path)]:
        seen, waiting = set(), [start]
        while waiting:
            name = waiting.pop()
            if name in seen or name in {f"augsearch.{folder}" for folder in FOLDERS}:
                continue
            seen.add(name)
            names = _runtime_imports(NAMES[name])
            assert not {"torch", "torchvision", "timm"} & {one.split(".")[0] for one in names}, (start, name)
            waiting += names & set(NAMES)


def _free_of_torch(path: Path) -> bool:
    where = str(path.relative_to(ROOT))
    return where.startswith(WITHOUT_TORCH) and not where.startswith(WITH_TORCH)


def _runtime_imports(path: Path) -> set[str]:
    """What is imported when the module is: neither in functions nor for type checking alone."""
    return _imports(path, everywhere=False)


@pytest.mark.parametrize("path", SIZED, ids=[str(path.relative_to(ROOT)) for path in SIZED])
def test_sizes_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        assert node.end_lineno is not None
        assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name
        arguments = node.args
        names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        assert len([name for name in names if name not in ("self", "cls")]) <= MOST_PARAMETERS, node.name


def test_a_sub_package_says_what_it_is_and_nothing_else() -> None:
    for path in MODULES:
        if path.name == "__init__.py" and path.parent.parent != ROOT:
            (docstring,) = ast.parse(path.read_text(encoding="utf-8")).body
            assert isinstance(docstring, ast.Expr)
            assert isinstance(docstring.value, ast.Constant)


def test_the_wheel_has_every_package() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    there = {_module(path) for path in MODULES if path.name == "__init__.py"}
    assert set(packages["packages"]) == there


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_private_names_stay_in_their_module(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("augsearch"):
            private = [alias.name for alias in node.names if alias.name.startswith("_")]
            assert not private, f"{private} of {node.module}"


MOST_FOR_SETTINGS = 12
"""Modules that a run's settings pass through as a whole; every other room gets its own section."""


def test_the_settings_as_a_whole_enter_few_modules() -> None:
    whole = [
        name
        for name, path in NAMES.items()
        if re.search(r"settings\.settings import .*\bSettings\b", path.read_text(encoding="utf-8"))
        # Not of a run: the public face, the file that makes them, and other commands.
        and name not in ("augsearch.search", "augsearch.search.settings.files")
        and not name.endswith(("pipelines.compare", "pipelines.train", "pipelines.ablate"))
        and not name.endswith(("pipelines.dry_run", "pipelines.settings_file"))
        and not name.endswith(("pipelines.check_proxy", "pipelines.afterwards", "inputs.reopened"))
        and not name.endswith("final.scored")
    ]
    assert len(whole) <= MOST_FOR_SETTINGS, whole


def test_no_study_can_be_called_like_what_all_studies_share() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in NAMES.values())
    assert set(re.findall(r'HOME / "([^"]+)"', sources)) <= OF_ALL_STUDIES
