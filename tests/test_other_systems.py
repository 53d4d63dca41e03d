"""What Windows and macOS lack is used only where it is asked for first: read off the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    path for folder in ("policies", "trainers", "search") for path in sorted((ROOT / folder).rglob("*.py"))
]

MISSING_MODULES = {"crypt", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
"""What the standard library has on no Windows."""
MISSING_NAMES = {
    "os": {
        *(
            "chown",
            "fchmod",
            "fork",
            "forkpty",
            "getegid",
            "geteuid",
            "getgid",
            "getloadavg",
            "getpgid",
            "getuid",
        ),
        *("killpg", "mkfifo", "mknod", "nice", "posix_fadvise", "sched_getaffinity", "sched_setaffinity"),
        *("sendfile", "setpgid", "setsid", "setuid", "statvfs", "sysconf", "uname", "wait", "wait3", "wait4"),
    },
    "signal": {
        "SIGALRM",
        "SIGCHLD",
        "SIGHUP",
        "SIGKILL",
        "SIGQUIT",
        "SIGSTOP",
        "SIGUSR1",
        "SIGUSR2",
        "alarm",
        "pause",
    },
}
"""Attributes that ``os`` and ``signal`` lack there; macOS lacks ``sched_getaffinity`` too."""
OWN_PLACES = re.compile(r"/(dev|proc|sys|tmp|etc|var|usr)(/|$)")
"""Folders that only Linux, or only Unix, has."""

GUARDED = {
    "search/engines/worker.py": "memory limits need /proc and are refused without it; SIGKILL behind hasattr",
    "search/pipelines/weighed.py": "what a worker held is not told where there is no /proc",
    "search/pipelines/watch.py": "os.nice behind hasattr: elsewhere the server does not give way",
    "search/pipelines/ui.py": "a process group is ended where there are any, the server alone elsewhere",
    "trainers/data/embedded/make_fashion_mnist_small.py": "made the embedded file, once",
    "trainers/system/gpus.py": "whether a driver's device is there; where it is not, CUDA is asked",
    "trainers/system/processor.py": "the name is asked of Python where there is no /proc",
    "trainers/system/threads.py": "sched_getaffinity behind hasattr, else all cores",
}
"""Where such things are used all the same, and how that is safe."""


def found_in(tree: ast.AST) -> Iterator[str]:
    """The names and places of a module that some systems lack."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MISSING_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            if node.module in MISSING_MODULES:
                yield str(node.module)
            yield from (one.name for one in node.names if one.name in MISSING_NAMES.get(str(node.module), ()))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in MISSING_NAMES.get(node.value.id, ()):
                yield f"{node.value.id}.{node.attr}"
        elif (
            isinstance(node, ast.Constant)
            and id(node) not in docstrings
            and OWN_PLACES.match(str(node.value))
        ):
            yield str(node.value)


def texts_without_encoding(tree: ast.AST) -> Iterator[str]:
    """Calls that read or write text in whatever encoding the system has: cp1252 on many a Windows."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        plain = {"read_text": 0, "write_text": 1}.get(name) if isinstance(node.func, ast.Attribute) else None
        mode = (
            node.args[1]
            if name == "open" and isinstance(node.func, ast.Name) and len(node.args) > 1
            else None
        )
        opens_text = (
            name == "open"
            and isinstance(node.func, ast.Name)
            and "b" not in ast.unparse(mode or ast.Name("r"))
        )
        as_text = "text" in given and name in ("run", "Popen", "check_output", "check_call")
        if "encoding" not in given and (
            opens_text or as_text or (plain is not None and len(node.args) <= plain)
        ):
            yield ast.unparse(node)


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.AST]:
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES
    }


def test_what_other_systems_lack_is_used_in_the_guarded_places_alone(trees: dict[str, ast.AST]) -> None:
    used = {name: sorted(set(found_in(tree))) for name, tree in trees.items()}
    assert {name: found for name, found in used.items() if found and name not in GUARDED} == {}
    assert [name for name in GUARDED if not used[name]] == [], "no longer needs to be named"


def test_text_is_read_and_written_in_utf_8(trees: dict[str, ast.AST]) -> None:
    found = {name: list(texts_without_encoding(tree)) for name, tree in trees.items()}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "line",
    [
        *("import fcntl", "from os import fork", "os.fork()", "signal.SIGKILL", "Path('/dev/shm/x')"),
        *("open('/proc/meminfo')", "resource = 1\nimport resource"),
    ],
)
def test_such_a_line_would_be_found(line: str) -> None:
    assert list(found_in(ast.parse(line)))


@pytest.mark.parametrize(
    "line", ["path.read_text()", "path.write_text(words)", "open(path)", "subprocess.run(command, text=True)"]
)
def test_a_text_without_an_encoding_would_be_found(line: str) -> None:
    assert list(texts_without_encoding(ast.parse(line)))
