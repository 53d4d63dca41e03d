"""Confirming other candidates on the same images is on record, and makes claims harder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from augsearch.policies import Policy
from augsearch.search.console import Display
from augsearch.search.inputs.confirmation_record import (
    _paths,
    record_confirmation,
    record_in_words,
    withdraw_confirmation,
)
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.study import Entry
from augsearch.trainers.system.hashing import digest
from augsearch.trainers.workspace.candidate import Candidate


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    images = rng.integers(0, 256, (80, 12, 12), dtype=np.uint8)
    np.savez("images.npz", images=images, labels=labels)
    return open_data(Settings.of(data="images.npz", teacher="none"), Display())


def finalists(*magnitudes: int) -> list[Entry]:
    return [
        Entry(n, None, TrialState.COMPLETE, Candidate(policy=Policy(num_ops=1, magnitude=magnitude)), ())
        for n, magnitude in enumerate(magnitudes)
    ]


def study(name: str) -> optuna.Study:
    found = optuna.create_study(study_name=name)
    found.set_user_attr("key", name)
    return found


def test_every_other_choice_of_finalists_on_the_same_images_counts(data: Data) -> None:
    one, other = study("one"), study("other")

    def recorded(own: optuna.Study, *magnitudes: int) -> int:
        return record_confirmation(own, "images.npz", data, finalists(*magnitudes))

    assert recorded(one, 3, 5) == 0
    assert recorded(one, 3, 5) == 0  # taken up again
    assert recorded(one, 3, 6) == 1  # after more trials
    assert recorded(other, 3, 5) == 2
    assert recorded(one, 3, 5) == 0  # what was said then holds
    for path in Path("mlruns/confirmations").iterdir():
        assert len(path.read_text(encoding="utf-8").splitlines()) == 3


def test_another_seed_divides_the_same_images_and_counts(data: Data) -> None:
    other = open_data(Settings.of(data="images.npz", teacher="none", seed=1), Display())
    assert not np.array_equal(other.splits.test, data.splits.test)
    assert record_confirmation(study("one"), "images.npz", data, finalists(3)) == 0
    assert record_confirmation(study("other"), "images.npz", other, finalists(4)) == 1
    assert record_confirmation(study("third"), "images.npz", data, finalists(5)) == 2


def test_what_an_older_version_recorded_of_the_same_division_counts(data: Data) -> None:
    assert record_confirmation(study("one"), "images.npz", data, finalists(3)) == 0
    divided, _ = _paths("images.npz", data)
    for path in Path("mlruns/confirmations").iterdir():
        if path != divided:
            path.unlink()
    assert record_confirmation(study("other"), "images.npz", data, finalists(4)) == 1


def test_who_could_not_be_confirmed_was_not_looked_at(data: Data) -> None:
    own, other = study("own"), study("other")
    assert record_confirmation(own, "images.npz", data, finalists(3, 4)) == 0
    withdraw_confirmation(own, "images.npz", data, finalists(3, 4))
    assert record_confirmation(own, "images.npz", data, finalists(3, 5)) == 0  # 5 takes the place of 4
    assert record_confirmation(other, "images.npz", data, finalists(9)) == 1
    assert record_confirmation(own, "images.npz", data, finalists(3, 4)) == 2  # now it was


def test_baselines_alone_are_no_look(data: Data) -> None:
    own, other = study("one"), study("other")
    baselines = [replace(one, baseline="none") for one in finalists(3)]
    assert record_confirmation(own, "images.npz", data, baselines) == 0
    assert record_confirmation(own, "images.npz", data, finalists(3)) == 0
    path, newer = _paths("images.npz", data)
    newer.unlink()
    of_old = json.loads(path.read_text(encoding="utf-8")) | {"study": "third", "finalists": digest([])}
    path.write_text(f"{json.dumps(of_old)}\n", encoding="utf-8")
    assert record_confirmation(other, "images.npz", data, finalists(4)) == 0


def test_it_is_said_in_words() -> None:
    assert record_in_words(0) is None
    assert "once before" in str(record_in_words(1))
    assert str(record_in_words(3)).endswith("so the chance of a wrong claim is divided by 4.")
