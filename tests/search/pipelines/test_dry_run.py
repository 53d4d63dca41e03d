"""``augsearch run --dry-run``: it trains some steps, says what a run would come to, and makes no study."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from click.testing import CliRunner, Result

from augsearch.search.cli import main
from augsearch.search.console import Display
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.inputs.prepare import open_data
from augsearch.search.pipelines.weighed import WeighedEngine
from augsearch.search.race.resume import study_of
from augsearch.search.settings.settings import Settings

QUICK = ["--proxy-model", "tiny", "--final-model", "tiny", "--epochs", "2", "--engine", "inline"]


def dry_run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["run", *arguments, *QUICK, "--dry-run"])


def measured(*arguments: str) -> dict[str, Any]:
    """What it prints as JSON: stdout has nothing else."""
    done = dry_run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    assert "measuring" in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_says_what_would_be_trained_and_leaves_only_caches(stripes: str) -> None:
    found = measured(stripes, "--trials", "9", "--folds", "3", "--confirm-folds", "5", "--final-epochs", "4")
    assert found["trials_ended"] is None
    assert (found["trials"], found["folds"], found["epochs"]) == (9, 3, 2)
    assert (found["confirm_folds"], found["final_epochs"], found["final_images"]) == (5, 4, 78)
    assert len(found["baselines"]) == 6
    seconds = found["seconds"]
    assert min(seconds.values()) > 0
    assert seconds["total"] == pytest.approx(sum(seconds.values()) - seconds["total"])
    assert found["measured"]["images_per_second"] > 0
    assert found["measured"]["bytes_of_a_worker"] > 10e6
    assert {path.name for path in Path("mlruns").iterdir()} == {"cache", "locks", "work"}
    assert [str(path) for path in Path("mlruns/work").iterdir()] == found["written"][1:]
    assert not list(Path("mlruns/work").glob("*/speed/*"))
    assert "--trials 9" in found["command"]


def test_in_words_it_names_every_step_and_the_command(stripes: str) -> None:
    done = dry_run(stripes, "--budget", "2m", "--no-final", "--quiet")
    assert done.exit_code == 0, done.output
    assert "measuring" not in done.output
    lines = done.output.splitlines()
    steps = [line.split()[0] for line in lines if line.startswith((" search", " confirm", " final", " rest"))]
    assert steps == ["search", "confirmation", "rest"]
    assert "flip + crop" in done.output
    assert "a worker took up to" in done.output
    assert lines[-1].startswith("  augsearch run ")
    assert "--budget 2m" in lines[-1]


def test_a_study_that_there_is_may_go_on_or_was_made_from_other_data(
    stripes: str, make_study: Callable[..., optuna.Study]
) -> None:
    settings = Settings.of(data=stripes, proxy_model="tiny", final_model="tiny", epochs=2, study="begun")
    study = study_of(settings, open_data(settings, Display()), "begun")
    study.tell(study.ask(), 0.5)
    assert measured(stripes, "--study", "begun")["trials_ended"] == 1
    assert len(study.get_trials(deepcopy=False)) == 6
    make_study(name="another")
    refused = dry_run(stripes, "--study", "another")
    assert refused.exit_code == 2
    assert "study 'another' was made from other data or settings: data was photos" in refused.output


def test_what_tasks_took_is_known_and_what_they_raise_is_raised() -> None:
    engine = WeighedEngine(InlineEngine())
    megabytes = engine.submit(np.ones, 100 * 2**17).result().nbytes / 2**20
    assert megabytes == 100
    assert engine.most.own > 100 * 2**20 or not Path("/proc/self/status").exists()
    assert isinstance(engine.submit(int, "no number").exception(), ValueError)
