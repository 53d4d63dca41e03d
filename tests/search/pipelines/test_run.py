"""What a run tells a person to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from augsearch.policies import (
    Distillation,
    Policy,
    PolicyFile,
    Training,
    UserError,
    read_policy,
    write_policy,
)
from augsearch.search.console import Display
from augsearch.search.pipelines.run import Outcome, next_steps, run
from augsearch.search.settings.settings import Settings
from augsearch.search.statistics.verdict import Verdict

VERDICT = Verdict("Use it.", "as good", 0, "accuracy", 0.01, (), ())
TAUGHT = Training(distillation=Distillation(temperature=2, alpha=0.5))


@pytest.mark.parametrize(
    ("training", "said", "train"),
    [
        (Training(), {}, "augsearch train --policy policy.json"),
        # A policy that was found without a teacher is not to be distilled into.
        (Training(), {"teacher": "small"}, "augsearch train --policy policy.json"),
        (TAUGHT, {"teacher": "small"}, "augsearch train --policy policy.json --teacher small"),
        (
            Training(),
            {"data": "my photos", "seed": 3, "final_model": "tiny", "batch_size": 16},
            "augsearch train 'my photos' --policy policy.json --model tiny --seed 3 --batch-size 16",
        ),
        # Of photos the training alone would pick another.
        (
            Training(),
            {"data": "photos"},
            "augsearch train photos --policy policy.json --model medium",
        ),
        (
            Training(),
            {"final_model": "torchvision:resnet18", "transfer": "head"},
            "augsearch train --policy policy.json --model torchvision:resnet18 --transfer head",
        ),
    ],
)
def test_the_next_training_is_told_what_the_run_was_told(
    training: Training, said: dict[str, Any], train: str, tmp_path: Path
) -> None:
    path = tmp_path / "policy.json"
    write_policy(PolicyFile(policy=Policy(), training=training), path)
    words = next_steps(Settings.of(**said), Outcome("study", VERDICT, path, None))
    assert words.splitlines()[-1].strip() == train


def test_a_balance_of_classes_reaches_every_candidate_the_policy_file_and_the_study(stripes: str) -> None:
    small = {"proxy_model": "tiny", "epochs": 1, "folds": 1, "fold_size": 24, "confirm_folds": 2, "trials": 7}
    usual = {"data": stripes, "teacher": "none", "engine": "inline", "final": False, **small}
    found = run(Settings.of(**usual, study="s", class_balance="loss"), Display())
    assert read_policy(found.policy_file).training.class_balance == "loss"
    study = optuna.load_study(study_name="s", storage="sqlite:///mlruns/studies.db")
    kept = [trial.user_attrs["candidate"]["class_balance"] for trial in study.trials]
    assert kept == ["loss"] * 7
    with pytest.raises(UserError, match="class balance"):
        run(Settings.of(**usual, study="s"), Display())


def test_a_timeout_that_ended_a_search_changes_nothing_when_it_is_given_again(
    stripes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"proxy_model": "tiny", "epochs": 1, "folds": 1, "fold_size": 24, "confirm_folds": 2}
    usual = {"data": stripes, "study": "s", "teacher": "none", "engine": "inline", "final": False, **small}

    def trials(timeout: float | None, most: int = 9) -> int:
        run(Settings.of(**usual, trials=most, timeout=timeout), Display())
        return len(optuna.load_study(study_name="s", storage="sqlite:///mlruns/studies.db").trials)

    assert trials(1e-3) == 6, "the baselines alone"
    capsys.readouterr()
    assert trials(1e-3) == trials(1e-4) == 6
    assert "searching" not in capsys.readouterr().out
    assert trials(None, most=7) == 7
    assert trials(600.0, most=8) == 8, "a longer one goes on"
