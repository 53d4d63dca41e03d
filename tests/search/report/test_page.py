"""The report says what the study knows, at every stage, and can be trusted with a stranger's names."""

from __future__ import annotations

import base64
import io
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import optuna
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState
from PIL import Image
from rich.console import Console

from augsearch.policies import Distillation, Mixing, Policy, Transfer, UserError
from augsearch.search.cli import main
from augsearch.search.command_lines import run_command
from augsearch.search.console import Display
from augsearch.search.figures.search import importance_shares
from augsearch.search.pipelines import run as pipeline
from augsearch.search.report import facts as report_facts
from augsearch.search.report.charts import (
    MOST_ROWS,
    ROW,
    TALL_ROW,
    Names,
    Scale,
    calibration,
    history,
    race,
    shown_in_race,
)
from augsearch.search.report.facts import changed_settings, gather
from augsearch.search.report.page import WIDEST, data_uri, render, unbroken, write_report
from augsearch.search.report.sentences import duration, headline, race_in_words, reproduce, score_in_words
from augsearch.search.settings.files import load_settings
from augsearch.search.settings.settings import Settings
from augsearch.search.space.describe import explain
from augsearch.search.studies.study import entries, open_storage
from augsearch.trainers.evaluation.metrics import ACCURACY, LOG_LOSS
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.workspace.candidate import Candidate

MakeStudy = Callable[..., optuna.Study]

FINAL = {
    "key": "0",
    "model": "mlruns/demo/model.safetensors",
    "network": "medium",
    "figures": {
        "test_accuracy": 0.8795,
        "test_macro_f1": 0.88,
        "test_log_loss": 0.404,
        "test_ece": 0.06,
        "final_best_epoch": 29,
        "final_epochs": 35,
        "final_trained_on": 1750,
        "final_images": 60_480,
        "final_seconds": 125.0,
    },
    "drawn": [],
}
SUMMARY = {
    "name": "photos",
    "side": 64,
    "channels": 3,
    "classes": ["cats", "<script>alert(1)</script>"],
    "counts": {"train": {"cats": 1200, "<script>alert(1)</script>": 300}, "test": {"cats": 90}},
    "sizes": [[640, 480, 900], [480, 640, 200]],
    "duplicates": [
        {"parts": ["train", "test"], "count": 3, "examples": ["cats/1.jpg"]},
        {"parts": ["train"], "count": 1, "examples": ["cats/2.jpg"]},
    ],
    "unlabeled": 1500,
    "target": None,
}


def page_of(study: optuna.Study) -> str:
    return render(gather(study))


def shown(page: str) -> str:
    """The text that a reader sees, in one line."""
    body = page[page.index("<body>") :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"<desc.*?</desc>", "", body)))


def table(page: str, name: str) -> list[list[str]]:
    """The cells of the page's table of this name."""
    found = re.search(rf'<table id="{name}">(.*?)</table>', page, re.DOTALL)
    assert found, name
    rows = re.findall(r"<tr.*?>(.*?)</tr>", found[1], re.DOTALL)
    cells = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", cell)).strip() for cell in row] for row in cells]


def test_the_first_screen_of_a_search_that_won(make_study: MakeStudy) -> None:
    study = make_study(lead=0.08)
    first = headline(gather(study))
    assert (first.badge, first.tone) == ("✔ Better than every baseline", "good")
    assert first.sentence == study.user_attrs["verdict"]["verdict"]
    assert first.use == ("trial 5", "1 random operation of 14 on every image, at strength 5 of 30")
    closest = min(study.user_attrs["verdict"]["differences"], key=lambda one: one["mean"])
    assert f"{100 * closest['low']:+.1f}, {100 * closest['high']:+.1f}] points" in first.how_much[0]
    assert "95 % intervals, from 8 fresh trainings" in first.how_sure[0]
    assert "hardly luck" in first.how_sure[1]
    assert [step.command for step in first.next_steps] == [
        "augsearch export demo -o policy.json",
        "augsearch train --policy policy.json",
    ]


def test_a_baseline_that_is_as_good_is_recommended_and_what_the_search_found_is_told(
    make_study: MakeStudy,
) -> None:
    first = headline(gather(make_study()))
    assert (first.badge, first.tone) == ("= A baseline is as good", "fair")
    assert first.use[0] == "no augmentation"
    assert first.how_much[0].startswith("The best searched policy, trial 10: ")
    assert "Nothing leads by 1 point" in first.how_sure[1]


def test_where_no_candidate_was_confirmed_the_baselines_are_compared(make_study: MakeStudy) -> None:
    study = make_study(trials=4, folds=1)
    facts = gather(study)
    assert headline(facts).use[0] == "no augmentation"
    told = " ".join(headline(facts).how_much)
    assert re.match(r"No policy was searched\. The nearest baseline, flip \+ crop: -\d\.\d \[", told)
    page = render(facts)
    assert "nothing is changed" in page
    assert "Of 4 trials, 4 ran its one fold" not in page
    assert "Of 4 trials, 4 ran the one fold." in page


def test_a_baseline_stopped_in_the_search_is_marked_as_any_where_it_was_confirmed(
    make_study: MakeStudy,
) -> None:
    rows = gather(make_study()).rows
    stopped = [replace(row, entry=replace(row.entry, state=TrialState.PRUNED)) for row in rows]
    assert calibration(stopped) == calibration(rows)


def test_what_more_folds_would_decide_is_the_first_thing_to_type(make_study: MakeStudy) -> None:
    study = make_study()
    verdict = study.user_attrs["verdict"] | {"kind": "undecided", "more_seeds": 9}
    study.set_user_attr("verdict", verdict)
    first = headline(gather(study))
    folds = max(len(one["scores"]) for one in verdict["confirmation"]) + 9
    assert first.next_steps[0].command == (
        f"augsearch run --trials 16 --folds 4 --confirm-folds {folds} --study demo"
    )
    assert "About 9 more fresh folds would decide." in first.how_sure


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ("searching", "Nothing is decided yet: 8 of 16 trials have ended."),
        ("searched", "its best have not been compared with the baselines on fresh folds yet."),
    ],
)
def test_before_the_verdict_it_says_how_far_it_is_and_what_goes_on(
    stage: str, says: str, make_study: MakeStudy
) -> None:
    facts = gather(make_study(stage))
    first = headline(facts)
    assert says in first.sentence
    assert [step.command for step in first.next_steps] == [
        "augsearch run --trials 16 --folds 4 --confirm-folds 16 --study demo"
    ]
    text = shown(render(facts))
    assert "flatter themselves" in text
    assert "recommended" not in text
    assert "Of 8 trials, 7 ran all 4 folds, 1 was stopped early" in text or stage == "searched"


def test_a_study_without_a_trial_has_a_page_too(make_study: MakeStudy) -> None:
    study = optuna.create_study(storage=open_storage(Settings().tracking.storage), study_name="new")
    study.set_user_attr("identity", {"data": "photos 0123", "folds": 4})
    text = shown(page_of(study))
    assert "0 trials have ended" in text
    assert "augsearch run DATA --study new" in text


def test_a_verdict_of_old_is_shown_as_it_was(make_study: MakeStudy) -> None:
    study = make_study()
    verdict: dict[str, Any] = study.user_attrs["verdict"]
    known = ("verdict", "recommended", "gain", "unlabeled_gain", "confidence")
    old = {name: verdict[name] for name in known}
    old["confirmation"] = [
        {**one, "accuracies": one["scores"], "scores": None} for one in verdict["confirmation"]
    ]
    old["differences"] = [
        {name: one[name] for name in ("better", "worse")} | {"mean": 0.123, "low": -0.456, "high": 0.789}
        for one in verdict["differences"]
    ]
    study.set_user_attr("verdict", old)
    study.set_user_attr("settings", None)
    facts = gather(study)
    assert headline(facts).badge == "? Undecided"
    rows = table(render(facts), "policies")
    lead = next(row for row in rows if row[0].startswith("trial 10"))
    assert lead[2] == "+12.3 [-45.6, +78.9] points"
    assert "±" in lead[1]
    assert [step.command for step in reproduce(facts)] == ["augsearch run DATA --study demo"]


def test_the_table_has_every_finalist_with_its_lead_over_the_best_baseline(make_study: MakeStudy) -> None:
    study = make_study(lead=0.08)
    facts = gather(study)
    head, *rows = table(render(facts), "policies")
    assert head[0] == "policy"
    verdict = study.user_attrs["verdict"]
    assert [row[0].split(" ▶")[0].split(" ◆")[0] for row in rows] == [
        one["name"] for one in verdict["confirmation"]
    ]
    assert [row[0] for row in rows if "recommended" in row[0]] == ["trial 5 ▶ recommended"]
    best = next(one for one in verdict["confirmation"] if one["baseline"])
    assert next(row for row in rows if row[0].startswith(best["name"]))[2] == "the best baseline"
    lead = next(one for one in verdict["differences"] if one["worse"] == best["name"])
    assert rows[0][2].startswith(f"{100 * lead['mean']:+.1f} [")
    worst = verdict["confirmation"][-1]
    shared = min(worst["n"], best["n"])
    behind = np.mean(worst["scores"][:shared]) - np.mean(best["scores"][:shared])
    assert rows[-1][2].startswith(f"{100 * behind:+.1f} [")
    assert rows[0][1] == (
        f"{100 * verdict['confirmation'][0]['mean']:.1f} ± {100 * verdict['confirmation'][0]['sd']:.1f} % (8)"
    )


def test_the_ledger_keeps_search_confirmation_and_final_apart(make_study: MakeStudy) -> None:
    study = make_study(trials=6, lead=0.08)
    study.set_user_attr("final", FINAL)
    searched = sum(len(entry.results) for entry in entries(study))
    confirmed = sum(one["n"] for one in study.user_attrs["verdict"]["confirmation"])
    page = page_of(study)
    assert table(page, "ledger")[1:] == [
        ["search", f"{searched}", f"{30_000 * searched:,}", f"{2 * searched} s"],
        ["confirmation", f"{confirmed}", f"{30_000 * confirmed:,}", f"1 min {2 * confirmed - 60} s"],
        ["final training", "1", "60,480", "2 min 5 s"],
        ["all", *table(page, "ledger")[-1][1:]],
    ]
    assert table(page, "ledger")[-1][2] == f"{30_000 * (searched + confirmed) + 60_480:,}"
    text = shown(page)
    assert "87.9 %" in text or "88.0 %" in text
    assert "augsearch predict mlruns/demo/model.safetensors IMAGES…" in text


def test_a_strangers_names_are_text(make_study: MakeStudy) -> None:
    study = make_study(trials=6, name="<script>alert(2)")
    study.set_user_attr("data summary", SUMMARY | {"name": '"><img src=x onerror=alert(3)>'})
    study.set_user_attr("test", {"hash": "ab" * 16, "reads": [{"time": "<u>" * 8, "by": "<b>me</b>"}]})
    page = page_of(study)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "<b>me" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "default-src 'none'" in page


def test_the_data_and_what_its_parts_share(make_study: MakeStudy) -> None:
    study = make_study(trials=6)
    study.set_user_attr("data summary", SUMMARY)
    reads = [{"time": "2026-11-23T18:29:23+00:00", "by": "augsearch run, study demo"}]
    study.set_user_attr("test", {"hash": "ab" * 16, "reads": reads})
    text = shown(page_of(study))
    assert "photos: 2 classes, used at 64 × 64 pixels, RGB. 1,500 images without labels." in text
    assert "all 1,500 90" in text
    assert "cats 1,200 90" in text
    assert "640 × 480 (900), 480 × 640 (200)." in text
    assert re.search(r"3 images of test are also in train *, pixel for pixel: figures on them flatter", text)
    assert "1 image of train repeats another one of it. For example cats/2.jpg." in text
    assert "hash abababababab" in text
    assert "read 1 time: 2026-11-23 18:29 by augsearch run, study demo." in text
    study.set_user_attr("data summary", SUMMARY | {"duplicates": []})
    assert "No image occurs twice" in shown(page_of(study))
    study.set_user_attr("data summary", SUMMARY | {"channels": 5})
    assert "used at 64 × 64 pixels, 5 bands." in shown(page_of(study))


def test_a_thousand_classes_are_there_for_whoever_unfolds_them(make_study: MakeStudy) -> None:
    study = make_study(trials=6)
    classes = [f"class {number}" for number in range(1000)]
    study.set_user_attr("data summary", SUMMARY | {"classes": classes})
    page = page_of(study)
    folded = page.index("<summary>By class</summary>")
    assert page.index("class 999") > folded
    assert "1,000 classes" in page[:folded]


def test_what_optimising_for_a_target_changed_is_shown_as_ranks(make_study: MakeStudy) -> None:
    study = make_study(trials=6)
    verdict = study.user_attrs["verdict"]
    count = len(verdict["confirmation"])
    for rank, one in enumerate(verdict["confirmation"]):
        one["beside"] = 0.5 + 0.01 * rank  # the other way round
    study.set_user_attr("verdict", verdict)
    _, *rows = table(page_of(study), "beside")
    assert [(row[2], row[4]) for row in rows] == [(str(n + 1), str(count - n)) for n in range(count)]


def test_settings_that_differ_and_the_commands_that_do_it_again(make_study: MakeStudy) -> None:
    study = make_study(trials=6)
    said = study.user_attrs["settings"] | {"data": "my photos", "image_size": 96, "final": False, "gone": 1}
    study.set_user_attr("settings", said)
    facts = gather(study)
    assert facts.settings is not None
    changed = changed_settings(facts.settings)
    assert ("data", "my photos", "automatic") in changed
    assert ("final", "no", "yes") in changed
    assert "seed" not in [name for name, _, _ in changed]
    first, *others = [step.command for step in reproduce(facts)]
    assert first.startswith("augsearch run 'my photos' --image-size 96 --trials 6 ")
    assert "augsearch preview policy.json 'my photos' -o sheet.png --image-size 96" in others


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings.of(data="my photos", study="a b", trials=40, image_size=96, skip_bad_images=True),
        Settings.of(operations=("wide",), final=False, metric="log-loss", margin=0.005, seed=3),
        Settings.of(operations=("rotate", "invert"), teacher="none", timeout=60.5, output=Path("out put")),
        Settings.of(unlabeled=Path("more"), semi="fixmatch", threshold=0.9, ema=0.99, proxy_model="tiny"),
    ],
)
def test_the_command_of_a_run_says_the_same_settings_again(settings: Settings) -> None:
    program, command, *arguments = shlex.split(run_command(settings))
    assert (program, command) == ("augsearch", "run")
    command = main.get_command(click.Context(main), "run")
    assert command is not None
    flags = command.make_context("run", arguments).params
    for name in ("config", "show_config", "dry_run", "opens", "as_json"):
        del flags[name]
    # That there is no budget is said aloud where there would be one.
    assert load_settings(None, flags).changed(budget=settings.budget) == settings


def test_charts_take_the_pages_colours_and_have_names_of_their_own(make_study: MakeStudy) -> None:
    page = page_of(make_study(lead=0.08))
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(charts) == 5
    for chart in charts:
        assert not re.search(r"#[0-9a-fA-F]{6}\b(?!\")", re.sub(r'href="#\w+"|url\(#\w+\)', "", chart))
        assert re.search(r"var\(--(candidate|good)\)", chart)
        assert 'role="img"' in chart
        labels = re.search(r'aria-labelledby="(\S+) (\S+)"', chart)
        assert labels
        assert re.search(rf'<title id="{labels[1]}">.{{10}}', chart)
        assert re.search(rf'<desc id="{labels[2]}">[^<]*\d', chart), "figures in words"
        used = re.findall(r'href="#(\w+)"|url\(#(\w+)\)', chart)
        assert {a or b for a, b in used} <= set(re.findall(r' id="(\w+)"', chart))
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert set(re.findall(r'href="#([\w-]+)">\w', page)) <= set(names), "links within the page"


def test_the_race_tells_who_was_stopped_after_which_fold(make_study: MakeStudy) -> None:
    study = make_study("searched")
    chart = race(entries(study), 4, ACCURACY)
    assert "Stopped early: trial 6 after 1 fold, trial 9 after 1 fold," in chart.words
    facts = gather(study)
    assert race_in_words(facts) == (
        "Of 16 trials, 12 ran all 4 folds, 4 were stopped early (4 after 1 fold)."
    )
    assert [row[-1] for row in table(render(facts), "trials")[1:]].count("stopped early") == 4


def test_of_two_hundred_trials_the_race_shows_the_baselines_and_the_best(make_study: MakeStudy) -> None:
    study = make_study("searched", trials=200)
    every = entries(study)
    rows = shown_in_race(every)
    assert len(rows) == MOST_ROWS
    assert [row.number for row in rows] == sorted(row.number for row in rows)
    assert [row.baseline for row in rows[:4]] == [entry.baseline for entry in every[:4]]
    others = [entry for entry in every if not entry.baseline and len(entry.results) == 4]
    best = sorted(others, key=lambda entry: -entry.score)[: MOST_ROWS - 4]
    assert {row.number for row in rows[4:]} == {entry.number for entry in best}
    page = page_of(study)
    assert "Of 200 trials these are the baselines and the best." in shown(page)
    assert len(table(page, "trials")) == 201


def test_of_log_loss_less_is_better_and_no_figure_is_negative(make_study: MakeStudy) -> None:
    study = make_study(metric="log-loss", lead=0.1)
    every = entries(study)
    best = min(
        (entry for entry in every if len(entry.results) == 4),
        key=lambda entry: np.mean([result.log_loss for result in entry.results]),
    )
    chart = history(every, LOG_LOSS)
    assert chart.words.split("then ")[-1] == f"{best.name} with {-best.score:.3f}."
    ticks = re.findall(r">([^<>]*)</text>", chart.svg)
    assert "0.4" in ticks
    assert not [tick for tick in ticks if tick.startswith(("-", "−"))]
    text = shown(page_of(study))
    assert "Log-loss is what counts here: less is better." in text
    assert "nats over" in text


def test_one_hopeless_trial_does_not_press_the_others_together(make_study: MakeStudy) -> None:
    study = make_study("searched")
    assert not race(entries(study), 4, ACCURACY).note
    trial = study.get_trials()[6]
    attributes = trial.user_attrs
    attributes["fold 0"] = attributes["fold 0"] | {"accuracy": 0.1}
    lost = optuna.trial.create_trial(state=trial.state, value=0.1, user_attrs=attributes)
    study.add_trial(lost)
    chart = race(entries(study), 4, ACCURACY)
    assert "worse than it shows" in chart.note
    ticks = re.findall(r">(\d+)</text>", chart.svg)
    assert min(map(int, ticks)) > 50


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("rest", [0.85, 0.9])
def test_where_half_of_all_tie_for_the_best_the_others_are_still_told_apart(rest: float) -> None:
    scores = [0.9] * 4 + [rest, rest - 0.01]
    scale = Scale(ACCURACY, scores)
    assert [scale.value(score) for score in scores] == [100 * score for score in scores]
    low, high = scale.limits
    assert low < 100 * min(scores) < 100 * max(scores) < high
    assert not scale.note


def test_importances_are_those_of_the_figure(make_study: MakeStudy) -> None:
    study = make_study("searched")
    shares = importance_shares(study)
    assert shares
    assert gather(study).importances == shares
    # What the page calls them, whatever Optuna takes by itself: its own choice was another before 5.0.
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    assert shares == optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(shares))
    # A choice that all trials made alike tells none from another.
    varied = {name: {trial.params.get(name) for trial in study.trials} for name in shares}
    assert all(len(values) > 1 for values in varied.values())


def test_pictures_of_the_run_are_in_the_page_small_enough_to_mail(make_study: MakeStudy) -> None:
    study = make_study(trials=6)
    assert "once the policy is written to policy.json, this draws it" in page_of(study)
    folder = Path("mlruns/demo")
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (200, 2400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "preview.png")
    Image.new("RGB", (300, 200), "white").save(folder / "reliability.png")
    page = page_of(study)
    assert "this draws it" not in page
    pictures = re.findall(r'<img [^>]*src="data:image/(\w+);base64,([^"]+)" alt="([^"]+)"', page)
    assert [(kind, bool(alt)) for kind, _, alt in pictures] == [("jpeg", True), ("png", True)]
    with Image.open(io.BytesIO(base64.b64decode(pictures[0][1]))) as picture:
        assert picture.width == WIDEST
    assert data_uri(folder / "reliability.png").startswith("data:image/png")


def test_it_is_written_anew_only_if_something_changed(make_study: MakeStudy) -> None:
    study = make_study(trials=6)
    path = Path("out/report.html")
    assert write_report(study, path)
    before = path.stat().st_mtime_ns
    assert not write_report(study, path)
    assert path.stat().st_mtime_ns == before
    study.set_user_attr("final", FINAL)
    assert write_report(study, path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"report\.html: can't be written"):
        write_report(study, path)


def test_the_command_writes_the_page_and_refuses_in_one_line(make_study: MakeStudy) -> None:
    make_study(trials=6)
    done = CliRunner().invoke(main, ["report", "demo"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("report.html: ")
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    refused = CliRunner().invoke(main, ["report", "demo", "-o", "mlruns"])
    assert refused.exit_code == 2
    assert refused.output == "Error: mlruns: can't be written (is a directory); give another --output\n"
    optuna.create_study(storage=open_storage(Settings().tracking.storage), study_name="foreign")
    foreign = CliRunner().invoke(main, ["report", "foreign"])
    assert foreign.output == "Error: study 'foreign' was not made by augsearch run\n"


def test_a_page_that_cannot_be_drawn_does_not_lose_the_run(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(trials=6)
    said = io.StringIO()
    display = Display(Console(file=said, width=200))
    folder = Path("mlruns/demo")
    job = SimpleNamespace(study=study, output=folder, display=display, tracker=None)

    def write() -> None:
        pipeline._Run._report(job)  # type: ignore[arg-type]

    with monkeypatch.context() as broken:
        broken.setattr(report_facts, "importance_shares", lambda study: 1 / 0)
        write()
    assert "division by zero" in said.getvalue()
    assert "augsearch report demo tries again" in said.getvalue()
    write()
    assert (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (Candidate(policy=Policy(num_ops=0)), "images as they are, without augmentation"),
        (
            Candidate(policy=Policy(num_ops=2, magnitude="random", flip_horizontal=0.5, crop=1.0)),
            "2 random operations of 14 on every image, at a random strength, a random crop, "
            "a horizontal flip in 50 % of images",
        ),
        (
            Candidate(
                policy=Policy(num_ops=0, mixing=Mixing(kind="cutmix", alpha=1, probability=0.5)),
                distillation=Distillation(temperature=2.5, alpha=0.75),
            ),
            "CutMix in 50 % of batches; learning 75 % from a teacher, at temperature 2.5",
        ),
        (
            Candidate(
                policy=Policy(num_ops=1, magnitude=5),
                transfer=Transfer(mode="head"),
                semi=FixMatch(),
            ),
            "1 random operation of 14 on every image, at strength 5 of 30; of the network with weights, "
            "only a new last layer learns; unlabeled images by FixMatch",
        ),
    ],
)
def test_a_policy_in_full_words(candidate: Candidate, words: str) -> None:
    assert explain(candidate) == words


def test_small_words() -> None:
    assert [duration(seconds) for seconds in (4.4, 125, 7325)] == ["4 s", "2 min 5 s", "2 h 2 min"]
    assert score_in_words(ACCURACY, 0.8532, 0.0077) == "85.3 ± 0.8 %"
    assert score_in_words(LOG_LOSS, -0.4612, 0.02) == "0.461 ± 0.020"
    assert score_in_words(ACCURACY, None) == "–"
    assert unbroken("RandAugment (2, 9): +1 [-2, +3]") == "RandAugment (2,\xa09): +1 [-2,\xa0+3]"


def test_a_chart_names_its_rows_on_two_lines_and_cuts_only_what_is_longer() -> None:
    rows = Names(
        [
            "RandAugment (2, 9) with the help of trial 7",
            "$5 and $10 notes",
            "a_class_with_one_word_for_its_name",
            "",
        ]
    )
    assert rows.lines[:2] == ["RandAugment (2, 9) with\nthe help of trial 7", "$5 and $10 notes"]
    assert rows.lines[2].replace("\n", "") == "a_class_with_one_word_for_its_name"
    assert Names(["a word " * 20]).lines == ["a word a word a word a\nword a word a w…d a word"]
    assert rows.height == 4 * TALL_ROW
    assert Names(["none", "flip + crop"]).height == 2 * ROW
