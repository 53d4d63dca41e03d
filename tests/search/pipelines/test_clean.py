"""``augsearch clean``: what can be made again goes, what a study, a model or a report needs never does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from click.testing import CliRunner, Result

from augsearch.search.cli import main
from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.race.resume import study_of
from augsearch.search.settings.settings import Settings

CLEAN = ["clean", "--json"]


def clean(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, [*CLEAN, *arguments], input=answer)


def found(*arguments: str) -> set[Path]:
    """What it says can go."""
    done = clean("--dry-run", *arguments)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["freed"] is None
    assert document["bytes"] == sum(one["bytes"] for one in document["items"])
    return {Path(one["path"]) for one in document["items"]}


def opened(source: str) -> tuple[Settings, Data]:
    settings = Settings.of(data=source, proxy_model="tiny", epochs=1, study="demo", final=False)
    return settings, open_data(settings, Display())


@pytest.fixture
def study(stripes: str) -> optuna.Study:
    """One that was just begun, its images decoded."""
    settings, data = opened(Path(stripes).name)
    study = study_of(settings, data, "demo")
    study.set_user_attr("settings", settings.flat())
    return study


def places() -> set[Path]:
    """The cache and the workspace of the study's images."""
    return {path for room in ("cache", "work") for path in Path("mlruns", room).iterdir()}


def test_what_an_unfinished_study_goes_on_with_stays_unless_asked_for(study: optuna.Study) -> None:
    of_study = places()
    assert len(of_study) == 2
    rng = np.random.default_rng(1)
    np.savez("other.npz", images=rng.integers(0, 255, (60, 8, 8), np.uint8), labels=np.arange(60) % 2)
    opened("other.npz")
    assert found() == places() - of_study
    assert found("--all") == places()
    assert "demo" in clean("--dry-run").stderr


def test_a_check_of_the_proxy_makes_no_study_finished_and_one_beside_it_is_none(study: optuna.Study) -> None:
    study.set_user_attr("proxy check", {})
    settings, data = opened("stripes.npz")
    beside = study_of(settings, data, "demo random")
    beside.set_user_attr("beside", "demo")
    assert found() == set()
    study.set_user_attr("verdict", {"kind": "undecided"})
    assert found() == places()


def test_of_a_finished_study_everything_else_stays_and_the_rest_is_made_again(study: optuna.Study) -> None:
    study.set_user_attr("verdict", {"kind": "undecided"})
    kept = [
        Path("mlruns/studies.db"),
        Path("mlruns/demo/model.safetensors"),
        Path("mlruns/test-reads/a.jsonl"),
    ]
    for path in kept[1:]:
        path.parent.mkdir()
        path.write_text("kept")
    assert found() == places()
    assert clean(answer="n\n").exit_code == 0
    assert len(places()) == 2
    nobody = clean(answer="")
    assert (nobody.exit_code, "--yes does it without asking" in nobody.stderr) == (2, True)
    done = clean(answer="y\n")
    assert json.loads(done.stdout)["freed"] > 0
    assert places() == set()
    assert all(path.exists() for path in kept)
    assert len(opened("stripes.npz")[1].images.labels) == 120
    assert len(places()) == 2


def test_half_made_files_go_when_they_are_old_and_links_never(study: optuna.Study, tmp_path: Path) -> None:
    old = [
        Path("mlruns/cache/.partial-abc-0123abcd"),
        Path("mlruns/demo/.model.safetensors.77-0123abcd.part.safetensors"),
    ]
    new = [path.with_name(path.name.replace("0123", "4567")) for path in old]
    for path in (*old, *new):
        if path.suffix:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"12345")
        else:
            path.mkdir()
    for path in old:
        os.utime(path, (0, 0))
    (tmp_path / "elsewhere").mkdir()
    Path("mlruns/cache/link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert found() == set(old)
    assert clean("--yes", "--all").exit_code == 0
    assert all(path.exists() for path in new)
    assert Path("mlruns/cache/link").is_symlink()


def test_where_nothing_is_nothing_is_done(workplace: Path) -> None:
    assert "nothing in mlruns can go" in CliRunner().invoke(main, ["clean"]).output
    assert not Path("mlruns").exists()
