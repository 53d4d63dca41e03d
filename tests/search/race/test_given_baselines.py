"""Policies of a user's own as baselines: named in race, verdict and report, and kept with the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState

from augsearch.policies import Policy, PolicyFile, write_policy
from augsearch.search.cli import main
from augsearch.search.settings.files import load_settings, show_settings
from augsearch.search.settings.settings import Settings
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.space.suggest import can_propose
from augsearch.search.studies.study import entries

OUTSIDE = Policy(num_ops=1, magnitude=20, operations=("gamma", "rotate"), flip_horizontal=0.3)
"""What no search over RandAugment's operations proposes."""
INSIDE = Policy(num_ops=1, magnitude=4, crop=1.0, flip_horizontal=0.5)

QUICK = (
    *("--folds", "1", "--epochs", "1", "--fold-size", "24", "--confirm-folds", "2", "--teacher", "none"),
    *("--proxy-model", "tiny", "--engine", "inline", "--no-final"),
)


def given(**policies: Policy) -> list[str]:
    """The flags that give these policies, from files of their names."""
    for name, policy in policies.items():
        write_policy(PolicyFile(policy=policy), f"{name}.json")
    return [word for name in policies for word in ("--baseline", f"{name}.json")]


def run(stripes: str, *flags: str) -> Any:
    return CliRunner().invoke(main, ["run", stripes, "--study", "demo", *QUICK, *flags])


def study() -> optuna.Study:
    return optuna.load_study(study_name="demo", storage="sqlite:///mlruns/studies.db")


def test_they_are_raced_confirmed_and_named_and_kept_with_the_study(stripes: str) -> None:
    flags = given(mine=OUTSIDE, house=INSIDE)
    done = run(stripes, "--trials", "10", *flags)
    assert done.exit_code == 0, done.stderr
    assert "mine" in done.stdout
    made = {entry.name: entry for entry in entries(study())}
    assert set(BASELINE_POLICIES) | {"mine", "house"} <= set(made)
    assert made["mine"].candidate.policy == OUTSIDE
    assert made["house"].candidate.policy == INSIDE
    confirmed = {one["name"] for one in study().user_attrs["verdict"]["confirmation"]}
    assert {"mine", "house"} <= confirmed
    page = Path("mlruns/demo/report.html").read_text()
    assert "--baseline mine.json --baseline house.json" in page
    # Its score is of no parameters, and a step from it is none.
    assert "num_ops" not in study().trials[made["mine"].number].params
    assert study().trials[made["house"].number].params["magnitude"] == 4

    Path("mine.json").unlink()
    for command in (("report", "demo"), ("export", "demo", "--trial", str(made["mine"].number))):
        later = CliRunner().invoke(main, list(command))
        assert later.exit_code == 0, later.stderr
    changed = run(stripes, "--trials", "10", *given(mine=INSIDE, house=INSIDE))
    assert changed.exit_code == 2
    assert "baselines was mine" in changed.stderr
    without = run(stripes, "--trials", "10")
    assert "baselines was mine" in without.stderr
    assert "is None" in without.stderr
    again = run(stripes, "--trials", "10", *given(mine=OUTSIDE, house=INSIDE))
    assert again.exit_code == 0, again.stderr
    assert len(study().trials) == 10


def test_a_policy_that_the_search_could_propose_has_its_parameters_and_any_other_none() -> None:
    space = Settings.of(baseline=_files(mine=OUTSIDE, house=INSIDE)).space
    assert not can_propose(OUTSIDE, space)
    assert can_propose(INSIDE, space)
    assert baseline_params(space.baselines["mine"], space) == {"distillation": False}
    params = baseline_params(space.baselines["house"], space)
    assert neighbour(params, space, np.random.default_rng(0))
    assert not can_propose(INSIDE.model_copy(update={"num_ops": 6}), _space_of(num_ops=6))
    assert not can_propose(
        INSIDE.model_copy(update={"flip_horizontal": 0.25}), _space_of(flip_horizontal=0.25)
    )


def _files(**policies: Policy) -> list[str]:
    return given(**policies)[1::2]


def _space_of(**changes: Any) -> Any:
    return Settings.of(baseline=_files(other=INSIDE.model_copy(update=changes))).space


def test_settings_keep_the_policies_whatever_becomes_of_the_files() -> None:
    settings = Settings.of(baseline=_files(mine=OUTSIDE))
    Path("mine.json").unlink()
    assert Settings.recorded(settings.flat()).space.given == settings.space.given == (("mine", OUTSIDE),)
    Path("settings.toml").write_text(show_settings(settings))
    assert load_settings(Path("settings.toml"), {}).space.given == settings.space.given
    assert Settings.recorded({"trials": 7}).space.given == ()


def test_a_search_has_as_many_candidates_beside_them_by_default(stripes: str) -> None:
    done = run(stripes, "--timeout", "0.001", *given(mine=OUTSIDE))
    assert done.exit_code == 0, done.stderr
    states = [trial.state for trial in study().trials]
    assert states == [TrialState.COMPLETE] * 7


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--baseline", "nowhere.json"], "nowhere.json: no such file or directory; give a policy file"),
        (["--baseline", "none.json"], "there is a baseline 'none' already; give the file another name"),
        (["--baseline", "mine.json", "--baseline", "mine.json"], "there is a baseline 'mine' already"),
        (["--baseline", "broken.json"], "broken.json: policy.num_ops must be ≤ 8, got 9"),
        (["--baseline", "mine.json", "--trials", "6"], "trials must be at least 7, the baselines, got 6"),
    ],
)
def test_what_is_wrong_is_one_line(flags: list[str], line: str, stripes: str) -> None:
    given(mine=OUTSIDE, none=INSIDE)
    broken = '{"format": "augsearch-policy", "version": 1, "policy": {"num_ops": 9}}'
    Path("broken.json").write_text(broken)
    done = run(stripes, *flags)
    assert done.exit_code == 2
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
