"""What a search trains: the small network, or the final one, fine-tuned on smaller images."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner

from augsearch.policies import UserError
from augsearch.search.cli import main
from augsearch.search.command_lines import run_command, without_effect
from augsearch.search.console import Display
from augsearch.search.inputs import stand_in as stand_ins
from augsearch.search.inputs.identity import identity_of, study_name
from augsearch.search.inputs.prepare import open_data, with_stand_in
from augsearch.search.race.resume import as_begun, open_begun, space_for, study_of
from augsearch.search.settings.files import load_settings, show_settings
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.study import load_study, open_storage
from augsearch.trainers.training.recipe import default_epochs, default_fine_tuning_epochs
from tests.pictures import make_noise

RESNET = "torchvision:resnet18"


@pytest.fixture
def photos(tmp_path: Path) -> str:
    return make_noise(tmp_path / "photos", 20)


@pytest.mark.parametrize(
    ("given", "network", "size"),
    [
        ({"proxy": "scratch", "final_model": "lite0"}, "small", None),
        ({"proxy": "finetune", "final_model": "lite0"}, "lite0", 64),
        ({"proxy": "finetune", "final_model": "lite0", "proxy_size": 96}, "lite0", 96),
        ({"proxy": "finetune", "final_model": "lite0", "image_size": 48}, "lite0", 48),
        ({"proxy": "finetune", "final_model": "torchvision:vit_b_16"}, "torchvision:vit_b_16", None),
        ({"proxy_model": "lite0", "final_model": "medium"}, "lite0", None),
    ],
)
def test_the_final_network_is_fine_tuned_in_the_search_where_that_is_asked_for(
    given: dict[str, Any], network: str, size: int | None
) -> None:
    settings = with_stand_in(Settings.of(**given))
    assert (settings.proxy.model, settings.proxy.size) == (network, size)
    assert with_stand_in(settings) is settings
    assert settings.stands_in is (size not in (None, settings.final.size) or network == "small")


@pytest.mark.parametrize(
    ("given", "gpu", "network"),
    [
        ({"final_model": "lite0"}, False, "lite0"),
        ({"final_model": "lite0", "transfer": "head"}, False, "lite0"),
        ({"final_model": "lite0", "proxy_model": "tiny"}, False, "tiny"),
        ({"final_model": "lite0", "weights": "none"}, False, "small"),
        ({"final_model": "lite0", "final": False}, False, "small"),
        ({"final_model": "medium"}, True, "small"),
        ({"final_model": RESNET}, False, "small"),
        ({"final_model": RESNET}, True, RESNET),
        ({"final_model": RESNET, "proxy": "scratch"}, True, "small"),
    ],
)
def test_where_nobody_says_so_it_is_fine_tuned_where_that_is_cheap(
    given: dict[str, Any], gpu: bool, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_ins, "has_gpu", lambda _: gpu)
    assert with_stand_in(Settings.of(**given)).proxy.model == network


def test_weights_and_one_network_alone_must_be_named() -> None:
    with pytest.raises(UserError, match="--proxy finetune: medium has no weights to begin with; name"):
        with_stand_in(Settings.of(proxy="finetune"))
    with pytest.raises(UserError, match="and --proxy-model tiny names one too"):
        with_stand_in(Settings.of(proxy="finetune", proxy_model="tiny", final_model="lite0"))
    said = without_effect(Settings.of(proxy_size=96, final_model="lite0"))
    assert said == [
        "--proxy-size: without effect, as the search's network learns from scratch; give --proxy finetune"
    ]
    with pytest.raises(ValueError, match="knows nothing of proxy"):
        Settings.of(train_fold=_score, proxy="finetune", final=False, teacher="none")


def _score(policy: Any, fold: Any) -> float:
    return 0.5


def test_what_it_trains_and_how_long_makes_another_study(photos: str) -> None:
    told = Settings.of(data=photos, final_model="lite0", proxy="finetune")
    fine_tuned, scratch = with_stand_in(told), with_stand_in(told.changed(proxy="scratch"))
    data = open_data(fine_tuned, Display())
    assert data.images.images.shape[1:3] == (64, 64)
    proxy = data.workspace.proxy
    assert (proxy.model, proxy.weights, proxy.input_size) == ("lite0", "hub", 64)
    assert (
        proxy.epochs == default_fine_tuning_epochs(proxy.fold_size) == default_epochs(proxy.fold_size) // 10
    )
    other = open_data(scratch, Display())
    assert identity_of(fine_tuned, data) != identity_of(scratch, other)
    assert "--proxy-model lite0 --proxy-size 64" in run_command(fine_tuned)
    again = with_stand_in(Settings.of(data=photos, final_model="lite0", proxy_model="lite0", proxy_size=64))
    assert identity_of(again, open_data(again, Display())) == identity_of(fine_tuned, data)


def test_a_study_that_is_named_goes_on_with_what_it_trained() -> None:
    begun = with_stand_in(Settings.of(study="s", proxy="finetune", final_model="lite0"))
    study = optuna.create_study(storage=open_storage(begun.tracking.storage), study_name="s")
    study.set_user_attr("settings", begun.flat())
    told = Settings.of(study="s", final_model="lite0")
    on = with_stand_in(as_begun(told, told))
    assert (on.proxy.model, on.proxy.size) == ("lite0", 64)
    other = Settings.of(study="s", final_model="lite0", proxy="scratch")
    assert as_begun(other, other).proxy.model == "small"


@pytest.mark.parametrize(
    ("given", "trials"),
    [
        ({}, 8),
        ({"epochs": 2, "confirm_folds": 12}, 8),
        ({"budget": "5m"}, 8),
        ({"trials": 11}, 11),
        ({"operations": "colour"}, 20),
        ({"proxy": "finetune"}, 20),
        ({"proxy": "scratch"}, 20),
        ({"teacher": "none"}, 20),
        ({"sampler": "tpe", "proxy": "auto", "finalists": 2}, 8),  # as a file of all settings says it
        ({"transfer": "search"}, 20),
        ({"class_balance": "search"}, 20),
        ({"final_model": "medium"}, 18),
    ],
)
def test_where_no_search_is_worth_it_the_baselines_are_compared_unless_one_is_asked_for(
    photos: str, given: dict[str, Any], trials: int, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy = {"proxy": "finetune"} if "transfer" in given else {}
    settings, data = open_begun(
        Settings.of(**{"data": photos, "final_model": "lite0", **proxy, **given}), Display()
    )
    assert settings.search.trials == trials
    assert ("--trials 20 searches" in capsys.readouterr().out) is (trials == 8)
    space = space_for(settings, data)
    assert len(space.baselines) == (6 if "final_model" in given else 8)
    # What it says goes on with the same study, and as many trials.
    again, data = open_begun(Settings.of(**_told(run_command(settings))), Display())
    assert (study_name(again, data), again.search.trials) == (study_name(settings, data), trials)


def _told(command: str) -> dict[str, Any]:
    """The settings of a command as it is printed."""
    _, _, data, *flags = shlex.split(command)
    told = {flag[2:].replace("-", "_"): value for flag, value in pairwise(flags) if flag.startswith("--")}
    return {"data": data, **told}


def test_a_file_of_all_settings_is_the_same_run(photos: str) -> None:
    told = Settings.of(data=photos, final_model="lite0")
    Path("settings.toml").write_text(show_settings(told), encoding="utf-8")
    run, data = open_begun(told, Display())
    again, same = open_begun(load_settings(Path("settings.toml"), {}), Display())
    assert (again.search.trials, again.proxy.model) == (run.search.trials, run.proxy.model) == (8, "lite0")
    assert study_name(again, same) == study_name(run, data)


def test_searches_are_compared_with_candidates(photos: str) -> None:
    told = Settings.of(data=photos, final_model="lite0")
    assert open_begun(told, Display(), searches=True)[0].search.trials == 20


def test_a_search_that_began_from_scratch_goes_on_so(photos: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = Settings.of(data=photos, final_model="lite0", proxy="scratch", trials=8)
    before, data = open_begun(told, Display())
    study_of(before, data, study_name(before, data))
    capsys.readouterr()
    again = Settings.of(data=photos, final_model="lite0", trials=8)
    on, data = open_begun(again, Display())
    assert (
        "goes on with the network small from scratch, as it was begun; --proxy finetune"
        in capsys.readouterr().out
    )
    assert (on.proxy.model, data.workspace.proxy.model) == ("small", "small")
    assert study_name(on, data) == study_name(before, data)
    anew, data = open_begun(again.changed(proxy="finetune"), Display())
    assert (anew.proxy.model, data.workspace.proxy.model) == ("lite0", "lite0")
    other, data = open_begun(again.changed(seed=1), Display())  # another study, which there was not
    assert (other.proxy.model, data.workspace.proxy.model) == ("lite0", "lite0")


def test_a_check_of_a_run_is_of_what_the_run_trained(photos: str) -> None:
    told = Settings.of(data=photos, final_model="lite0", proxy="scratch", trials=8, study="s")
    before, data = open_begun(told, Display())
    study_of(before, data, "s").set_user_attr("settings", before.flat())
    done = CliRunner().invoke(main, ["check-proxy", photos, "--study", "s", "--proxy", "finetune"])
    assert done.exit_code == 2, done.output
    assert "proxy model was small, is lite0" in " ".join(done.output.split())


def test_a_run_that_fine_tunes_its_final_network_from_the_search_on(photos: str) -> None:
    short = ["--trials", "8", "--folds", "1", "--epochs", "1", "--confirm-folds", "2", "--final-epochs", "1"]
    done = CliRunner().invoke(
        main,
        [
            *("run", photos, "--study", "s", "--proxy", "finetune", "--final-model", "lite0", *short),
            *("--proxy-size", "32", "--final-size", "48", "--teacher", "none"),
            *("--engine", "inline"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "the search fine-tunes lite0 itself, on images of 32 px." in " ".join(done.output.split())
    assert "comparing" not in done.output
    identity = load_study(open_storage("sqlite:///mlruns/studies.db"), "s").user_attrs["identity"]
    assert (identity["proxy model"], identity["input size"], identity["image size"]) == ("lite0", 32, 32)
    assert "lite0" in Path("mlruns/s/model.json").read_text(encoding="utf-8")
