"""A study made before goes on as it would have: the same names, ranges, order and draws for the same seed.

``trials.json`` was recorded when suggestion, baselines and neighbours were written out by hand, dimension by
dimension. It holds what a sampler is asked (names and distributions, in order), what candidate comes of its
answers, and where a neighbour moves, draw for draw. A sampler knows nothing else of a space: where these stay
the same, so do the trials of every sampler.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import distribution_to_json

from augsearch.policies import RANDAUGMENT, Transfer
from augsearch.search.space.describe import describe, explain
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import SemiSpace, Space
from augsearch.search.space.suggest import suggest
from augsearch.trainers.workspace.candidate import Candidate

RECORDED = Path(__file__).with_name("trials.json")
FEW = ("rotate", "hue", "cutout")
ALL_TECHNIQUES = ("pseudo", "self-training", "fixmatch", "distillation")
FIRST: dict[str, Space] = {
    "plain": Space(RANDAUGMENT),
    "more operations": Space((*RANDAUGMENT, "hue", "cutout"), "clean"),
    "one operation": Space(("cutout",)),
    "teacher": Space(FEW, "same"),
    "transfer search": Space(FEW, transfer="search"),
    "fixed transfer": Space(FEW, transfer=Transfer(mode="full", backbone_lr_scale=0.3, layer_decay=0.8)),
    "head alone": Space(FEW, "same", Transfer(mode="head")),
    "pseudo": Space(FEW, semi=SemiSpace(("pseudo",), searched=False)),
    "self-training": Space(FEW, semi=SemiSpace(("self-training",), searched=False)),
    "fixmatch": Space(FEW, semi=SemiSpace(("fixmatch",), searched=False)),
    "distillation": Space(FEW, "same", semi=SemiSpace(("distillation",), searched=False)),
    "fixmatch with fixed fields": Space(
        FEW, semi=SemiSpace(("fixmatch",), searched=False, fixed=(("threshold", 0.995), ("weight", 0.0)))
    ),
    "technique search": Space(
        FEW, semi=SemiSpace(ALL_TECHNIQUES[:3], searched=True, fixed=(("ratio", 8.0),))
    ),
    "everything": Space(FEW, "same", "search", SemiSpace(ALL_TECHNIQUES, searched=True)),
}
"""What studies of the first edition choose from, but for its number."""
SPACES = {
    **{name: replace(space, edition=1) for name, space in FIRST.items()},
    "second edition": Space(RANDAUGMENT, "same", mean=(90, 120, 150)),
    "second edition, technique search": Space(FEW, semi=SemiSpace(("pseudo", "fixmatch"), searched=True)),
}


def plain(params: dict[str, Any]) -> list[list[Any]]:
    """Parameters in their order; the operations' switches, which are many, as one string of bits."""
    shown: dict[str, Any] = {}
    for name, value in params.items():
        head, switch, _ = name.partition("op_")
        if switch:
            shown[f"{head}op_*"] = shown.get(f"{head}op_*", "") + str(int(value))
        else:
            shown[name] = value
    return [[name, value] for name, value in shown.items()]


def told(trial: optuna.trial.Trial, space: Space) -> dict[str, Any]:
    """What a trial was asked and what candidate came of it."""
    candidate = suggest(trial, space)
    return {
        "params": plain(trial.params),
        "candidate": candidate.model_dump(mode="json", exclude_unset=True),
        "words": [describe(candidate), explain(candidate)],
    }


def trials(space: Space) -> dict[str, Any]:
    """What a search in ``space`` would try."""
    params = {name: baseline_params(baseline, space) for name, baseline in space.baselines.items()}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for name, values in params.items():
        study.enqueue_trial(values, user_attrs={"baseline": name})
    asked = [told(study.ask(), space) for _ in range(len(params) + 5)]

    rng = np.random.default_rng(2)
    steps = []
    baselines = list(params.values())
    for start in (baselines[2], baselines[-1], study.trials[-1].params):
        near = start
        for _ in range(2):  # from parameters as a neighbour has them, asked for or not
            near = neighbour(near, space, rng)
            steps.append(plain(dict(sorted(near.items()))))
        study.enqueue_trial(near)
        trial = study.ask()
        asked.append(told(trial, space))
        steps.append(plain(dict(sorted(neighbour(trial.params, space, rng).items()))))
    distributions: dict[str, Any] = {}
    for trial in study.trials:
        for name, distribution in trial.distributions.items():
            head, switch, _ = name.partition("op_")
            kind, attributes = json.loads(distribution_to_json(distribution)).values()
            distributions[f"{head}op_*" if switch else name] = [kind, *attributes.items()]
    return {
        "baselines": {name: plain(dict(sorted(values.items()))) for name, values in params.items()},
        "asked": asked,
        "steps": steps,
        "distributions": distributions,
        "draws": int(rng.integers(2**31)),  # as many numbers were drawn
    }


def alike(found: Any, recorded: Any) -> bool:
    """Whether both are the same but for the last digits, which processors round in their own ways."""
    if isinstance(recorded, dict):
        return found.keys() == recorded.keys() and all(alike(found[key], recorded[key]) for key in recorded)
    if isinstance(recorded, list):
        return len(found) == len(recorded) and all(map(alike, found, recorded))
    if isinstance(recorded, float):
        return bool(found == pytest.approx(recorded, rel=1e-9))
    return bool(found == recorded and type(found) is type(recorded))


def record() -> None:
    """Write what the space's functions say now: for a change that is meant to change the trials."""
    lines = (f"{json.dumps(name)}: {json.dumps(trials(space))}" for name, space in SPACES.items())
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def whole(document: dict[str, Any]) -> dict[str, Any]:
    """A candidate's document with all its fields, whichever version wrote it."""
    return Candidate.model_validate(document).model_dump(mode="json")


@pytest.mark.parametrize("name", SPACES)
def test_trials_are_what_they_were_before(name: str) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))[name]
    found = json.loads(json.dumps(trials(SPACES[name])))
    for trial, before in zip(found["asked"], recorded["asked"], strict=True):
        assert alike(trial["params"], before["params"])
        assert alike(whole(trial["candidate"]), whole(before["candidate"]))
        assert trial["words"] == before["words"]
    for part in ("baselines", "steps", "distributions", "draws"):
        assert alike(found[part], recorded[part]), part
