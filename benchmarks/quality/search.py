"""The searches of ``benchmarks.quality``: ``augsearch run`` as a user would have it, and what it exported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from augsearch.policies import PolicyFile, UserError, read_policy
from benchmarks.quality.data import DataSet

STUDIES = "sqlite:///mlruns/studies.db"


def exported(data: DataSet, policies: Path) -> PolicyFile | None:
    """The policy file of ``data`` in the folder ``policies``; None: there is none yet.

    Raises:
        UserError: it is of other images or of another division, or needs more than labels.
    """
    return _read(policies / f"{data.key}.json", data)


def runner_up(data: DataSet, policies: Path) -> PolicyFile | None:
    """The best candidate of a search that exported a baseline instead."""
    return _read(policies / f"{data.key}-candidate.json", data)


def _read(path: Path, data: DataSet) -> PolicyFile | None:
    if not path.exists():
        return None
    file = read_policy(path)
    made_from: Any = file.provenance.get("made_from") or {}
    content, division = str(made_from.get("data")).rpartition(" ")[-1], made_from.get("splits")
    if (content, division) != (data.fingerprint, data.division):
        raise UserError(
            f"{path}: was searched on {made_from.get('data')}, divided {division}; the benchmark has "
            f"{data.name}, divided {data.division}: the search may have seen its test images"
        )
    if file.training.semi is not None or file.training.transfer is not None:
        raise UserError(
            f"{path}: needs weights or images without labels; the benchmark compares on labels alone"
        )
    return file


def search(data: DataSet, work: Path, policies: Path, workers: int, options: tuple[str, ...]) -> None:
    """Run ``augsearch run`` on ``data`` below ``work``, or go on with it, and put what it exports into place.

    Raises:
        UserError: it failed.
    """
    results = work / "results" / data.key
    here = [*([data.source] if data.source else []), "--study", data.key, "--output", str(results)]
    _augsearch(work, "run", *here, "--no-final", "--workers", str(workers), *options)
    file = read_policy(results / "policy.json")
    best = _best_candidate(file)
    policies.mkdir(parents=True, exist_ok=True)
    if best is not None:
        target = str(policies / f"{data.key}-candidate.json")
        _augsearch(work, "export", data.key, "--trial", str(best), "-o", target, "--storage", STUDIES)
    # Last, because the search counts as done when this one is there.
    (results / "policy.json").replace(policies / f"{data.key}.json")


def _best_candidate(file: PolicyFile) -> int | None:
    """The best confirmed candidate's trial, if a baseline was exported instead."""
    confirmed: Any = file.evidence["confirmation"]
    candidates = [entry for entry in confirmed if not entry["baseline"]]
    if any(entry["number"] == file.provenance["trial"] for entry in candidates) or not candidates:
        return None
    return int(max(candidates, key=lambda entry: entry["mean"])["number"])


def _augsearch(work: Path, *arguments: str) -> None:
    """A command of its own process, as a user has it; what it says goes to stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "augsearch.search.cli", *arguments], cwd=work, stdout=2, check=False
    )
    if done.returncode:
        raise UserError(f"augsearch {' '.join(arguments)} ended with status {done.returncode}")
