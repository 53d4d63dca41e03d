"""What a figure depends on beside the code: versions, processor, date, command."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from augsearch.trainers.system.processor import processor

PACKAGES = (
    *("augsearch", "albumentationsx", "albucore", "augrs-py", "kornia", "numpy", "opencv-python-headless"),
    *("pillow", "timm", "torch", "torchvision"),
)


def facts(
    arguments: Sequence[str],
    photos: Path | None,
    module: str = "benchmarks.throughput",
    packages: Sequence[str] = PACKAGES,
) -> dict[str, Any]:
    """Plain values without a path of this machine in them; ``arguments`` are those of ``module``."""
    return {
        "command": command(arguments, module),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "images": f"photos of {photos.name}" if photos else "made images, smooth with a little noise",
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "load average": [round(load, 2) for load in os.getloadavg()],
        "commit": _commit(),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
    }


def command(arguments: Sequence[str], module: str = "benchmarks.throughput") -> str:
    """The command line, of each path its last part only."""
    shown = []
    for argument in arguments:
        option, equals, value = argument.rpartition("=")
        shown.append(f"{option}{equals}{Path(value).name if os.sep in value else value}")
    return shlex.join(("python", "-m", module, *shown))


def markdown(facts: dict[str, Any]) -> str:
    """A paragraph that says where the figures below come from."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    commit = f" at {facts['commit']}" if facts["commit"] else ""
    return (
        f"{facts['date']}, {facts['processor']}, {facts['system']}, on {facts['images']}. Made by\n\n"
        f"```sh\n{facts['command']}\n```\n\n"
        f"with {versions}{commit}."
    )


def _commit() -> str:
    """The commit that is checked out, and whether files differ from it; empty without git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.strip()
