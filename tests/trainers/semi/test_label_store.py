"""What models said of images outlives the process, goes by content, and can be forgotten."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from augsearch.policies import UserError
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.predictions import Predictions


def said(count: int, seed: int = 0, classes: int = 12) -> Predictions:
    logits = np.random.default_rng(seed).normal(size=(count, classes)).astype(np.float32)
    return Predictions.from_logits(logits)


def keys(count: int, first: int = 0) -> list[bytes]:
    return [(first + number).to_bytes(16, "big") for number in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study" / "labels.db"


def test_what_was_kept_is_known_later_and_nothing_else(path: Path) -> None:
    guesses = said(2000)
    with LabelStore(path) as store:
        assert store.known("a", keys(3)) == {}
        assert store.num_classes("a") is None
        store.keep("a", keys(2000), guesses)
    with LabelStore(path) as store:
        found = store.known("a", keys(2000, first=100))
        assert sorted(found) == keys(1900, first=100)
        for row, key in enumerate(keys(1900, first=100), 100):
            labels, probabilities = found[key]
            np.testing.assert_array_equal(labels, guesses.labels[row])
            np.testing.assert_array_equal(probabilities, guesses.probabilities[row])
        assert store.num_classes("a") == 12


def test_labelers_are_kept_apart(path: Path) -> None:
    with LabelStore(path) as store:
        store.keep("a", keys(3), said(3, seed=1))
        of_b = said(5, seed=2, classes=4)
        store.keep("b", keys(5), of_b)
        assert len(store.known("a", keys(5))) == 3
        assert (
            store.known("b", keys(1))[keys(1)[0]][0].tolist() == said(5, seed=2, classes=4).labels[0].tolist()
        )
        assert (store.num_classes("a"), store.num_classes("b")) == (12, 4)


def test_what_is_known_of_an_image_does_not_change(path: Path) -> None:
    with LabelStore(path) as store:
        store.keep("a", keys(3), said(3, seed=1))
        store.keep("a", keys(4), said(4, seed=2))
        found = store.known("a", keys(4))
        assert found[keys(4)[2]][1].tolist() == said(3, seed=1).probabilities[2].tolist()
        assert found[keys(4)[3]][1].tolist() == said(4, seed=2).probabilities[3].tolist()


def test_forgetting_leaves_the_others_and_makes_the_file_small(path: Path) -> None:
    with LabelStore(path) as store:
        store.keep("old", keys(5000), said(5000))
        store.keep("new", keys(10), said(10))
        large = path.stat().st_size
        store.forget(but=["new", "another"])
        assert path.stat().st_size < large / 5
        assert store.known("old", keys(5000)) == {}
        assert store.num_classes("old") is None
        assert len(store.known("new", keys(10))) == 10
        store.forget(but=[])
        assert store.known("new", keys(10)) == {}


def test_a_million_labels_are_some_hundred_megabytes(path: Path) -> None:
    with LabelStore(path) as store:
        store.keep("a", [np.random.default_rng(n).bytes(16) for n in range(4000)], said(4000, classes=1000))
    assert path.stat().st_size < 4000 * 200


def test_a_killed_process_leaves_what_it_had_kept(path: Path) -> None:
    program = (
        "import os, signal, sys, numpy as np; from pathlib import Path;"
        "from augsearch.trainers.semi.predictions import Predictions;"
        "from augsearch.trainers.semi.label_store import LabelStore\n"
        "store = LabelStore(Path(sys.argv[1]))\n"
        "guesses = Predictions(np.zeros((8, 2), np.int32), np.ones((8, 2), np.float32), 2)\n"
        "store.keep('a', [bytes([n] * 16) for n in range(8)], guesses)\n"
        "def dying():\n"
        "    for n in range(8, 16):\n"
        "        if n == 12: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield bytes([n] * 16)\n"
        "store.keep('a', dying(), guesses)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    with LabelStore(path) as store:
        assert len(store.known("a", [bytes([n] * 16) for n in range(16)])) == 8


def test_two_processes_may_keep_in_the_same_file(path: Path) -> None:
    with LabelStore(path) as one, LabelStore(path) as other:
        one.keep("a", keys(3), said(3))
        other.keep("a", keys(3, first=3), said(3))
        assert len(one.known("a", keys(6))) == len(other.known("a", keys(6))) == 6


def test_a_file_that_is_no_store_is_refused_in_one_line(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("these are no labels, but they are long enough to be looked at" * 20)
    with pytest.raises(UserError) as error:
        LabelStore(path)
    assert str(error.value).startswith(f"{path}: labels can't be kept here (file is not a database)")
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="unable to open"):
        LabelStore(path)


def test_a_damaged_store_is_said_to_be_one(path: Path) -> None:
    with LabelStore(path) as store:
        store.keep("a", keys(2000), said(2000))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(len(content) - 4096))
    with LabelStore(path) as store, pytest.raises(UserError, match="malformed"):
        store.known("a", keys(2000))


def test_a_guess_is_plain_sql_for_who_wants_to_look(path: Path) -> None:
    with LabelStore(path) as store:
        store.keep("a", keys(1), said(1))
    database = sqlite3.connect(path)
    (labels,) = database.execute("SELECT labels FROM guesses").fetchone()
    database.close()
    assert np.frombuffer(labels, "<i4").tolist() == said(1).labels[0].tolist()
