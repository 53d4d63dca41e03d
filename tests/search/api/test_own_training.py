"""A search for a training of the user's own: the verdict is about that, and it goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import augsearch.search as s
from augsearch.policies import Policy, UserError
from augsearch.trainers.tasks.own_fold import TrainSet

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float64]]

MODULE = '''
"""A training in a module of its own: nearest class means."""

import numpy as np


def nearest_mean(train, policy, seed):
    images = policy.augment(train.images, np.random.default_rng(seed)).astype(float)
    means = np.stack([images[train.labels == k].mean(axis=0).ravel() for k in range(len(train.classes))])

    def predict(images):
        distances = np.square(images.reshape(len(images), 1, -1) - means).mean(axis=2)
        likely = np.exp(-(distances - distances.min(axis=1, keepdims=True)) / 100)
        return likely / likely.sum(axis=1, keepdims=True)

    return predict
'''

SIZES: dict[str, Any] = {"trials": 9, "folds": 2, "confirm_folds": 2, "progress": False}


@pytest.fixture
def nearest_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Predict]:
    """The function, importable from where the test runs, by its workers too."""
    (tmp_path / "my_training.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_training  # type: ignore[import-not-found]

    function: Callable[..., Predict] = my_training.nearest_mean
    return function


def test_the_same_call_goes_on_where_it_stopped(
    stripes: str, tracked: str, nearest_mean: Callable[..., Predict]
) -> None:
    calls: list[tuple[int, Policy, int]] = []
    stop_at = [9]

    def train(train: TrainSet, policy: Policy, seed: int) -> Predict:
        if len(calls) == stop_at[0]:
            stop_at[0] = -1
            raise KeyboardInterrupt
        calls.append((len(train), policy, seed))
        assert train.images.dtype == np.uint8
        assert train.classes == ("0", "1", "2")
        return nearest_mean(train, policy, seed)

    with pytest.raises(KeyboardInterrupt):
        s.run(stripes, train_fold=train, tracking_uri=tracked, **SIZES)
    result = s.run(stripes, train_fold=train, tracking_uri=tracked, **SIZES)
    ran = int(result.trials.query("same_as.isna()")["folds"].sum()) + len(result.confirmation)
    assert len(calls) == ran
    assert result.trials.filter(like="policy.mixing").isna().all(axis=None)
    # In other processes, which import it, a training comes to the same.
    whole = s.run(stripes, train_fold=nearest_mean, tracking_uri=tracked, workers=1, **SIZES)
    assert whole.name != result.name
    assert whole.trials["score"].tolist() == result.trials["score"].tolist()
    assert whole.verdict == result.verdict
    assert result.report("own.html").stat().st_size > 10_000
    with pytest.raises(UserError, match="no final model"):
        result.model  # noqa: B018


def test_what_cannot_be_is_refused(stripes: str) -> None:
    def train(train: TrainSet, policy: Policy, seed: int) -> Predict:
        raise ZeroDivisionError("of mine")

    with pytest.raises(UserError, match="can't be imported by other processes"):
        s.run(stripes, train_fold=train, engine="local")
    with pytest.raises(UserError, match="knows nothing of teacher, final; leave"):
        s.run(stripes, train_fold=train, teacher="self", final=True)
