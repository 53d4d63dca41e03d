"""The simulated searches, in small: that worlds are as they say, and that runs are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.statistics.paired import parts_of
from benchmarks.recordings import recordings
from benchmarks.statistics import learners, simulation
from benchmarks.statistics.report import summarise, table
from benchmarks.statistics.worlds import POINT, Noise, World, fold_size, null, one_strong, planted


@pytest.fixture(scope="module")
def noise() -> Noise:
    return Noise(tuple(recordings()))


def test_recordings_are_whole_and_of_two_data_sets() -> None:
    assert {recording.name for recording in recordings()} == {"cifar-10", "fashion-mnist"}
    for recording in recordings():
        candidates, folds = recording.accuracy.shape
        assert candidates >= 60
        assert folds == 6
        assert np.isfinite(recording.accuracy).all()
        np.testing.assert_allclose(recording.correct.mean(axis=-1), recording.accuracy, atol=1e-6)
        assert {*recording.baselines} == {*BASELINE_POLICIES, None}
        assert recording.longer.shape == (len(BASELINE_POLICIES), folds)
        assert np.isfinite(recording.longer).all()


def test_folds_scatter_by_a_point_around_the_truth(noise: Noise) -> None:
    rng = np.random.default_rng(0)
    for truth, row in zip((0.8, 0.9), noise.scores(np.array([0.8, 0.9]), 4000, rng), strict=True):
        scores = np.array(row)
        assert scores.mean() == pytest.approx(truth, abs=0.1 * POINT)
        assert scores.std() == pytest.approx(POINT, rel=0.15)


def test_confirmations_scatter_as_recorded_trainings_do(noise: Noise) -> None:
    found, truths = [], np.array([0.8, 0.9])
    for seed in range(30):
        rng = np.random.default_rng(seed)
        first, second = noise.confirmation(truths, 700, 16, rng)
        found.append(parts_of(second, first))
    assert np.mean([one.chance for one in found]) == pytest.approx(
        noise.parts.by_chance**2 / (700 - fold_size(700)), rel=0.1
    )
    assert np.mean([one.images for one in found]) == pytest.approx(noise.parts.by_image**2 / 700, rel=0.3)
    (share,) = {one.share for one in found}
    assert share == fold_size(700) / 700


def test_images_that_are_learned_from_shift_the_folds_that_learn_from_them(noise: Noise) -> None:
    taught = replace(noise.parts, by_image=0.0, by_chance=0.0, by_fold=0.1)
    only = Noise(noise.recordings)
    only.__dict__["parts"] = taught
    rng = np.random.default_rng(0)
    means = [[one.score for one in only.confirmation(np.array([0.8]), 700, 8, rng)[0]] for _ in range(200)]
    within, between = np.var(means, axis=1, ddof=1).mean(), np.var(np.mean(means, axis=1))
    share = fold_size(700) / 700
    assert within == pytest.approx(0.1**2 / 2 * (1 - share), rel=0.3)
    assert between > 0.1**2 / 2 / 8 * 2  # more than folds that share nothing would leave


def test_a_large_lead_is_found_and_none_is_not(noise: Noise) -> None:
    sure = simulation.simulate(planted(6.0, 4, 4), noise, 1750, 0)
    assert sure["found"]
    assert not sure["wrong"]
    assert sure["loss"] == 0
    assert simulation.simulate(null(4, 4), noise, 1750, 0)["kind"] != "better"


def test_the_same_seed_is_the_same_run(noise: Noise) -> None:
    world = one_strong(4, 4)
    assert simulation.simulate(world, noise, 750, 3) == simulation.simulate(world, noise, 750, 3)


def test_learners_are_cross_fitted_and_their_truth_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learners, "FOLDS", 6)
    monkeypatch.setattr(learners, "TRUTH_SETS", 5)
    pair = next(iter(learners.PAIRS))
    true, found = learners.truth(pair, 750), learners.cross_fit(pair, 750, 0)
    assert found.folds == 6
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(true, abs=0.1)
    assert found == learners.cross_fit(pair, 750, 0)


def test_runs_are_kept_and_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "CHUNK", 1)
    few: list[tuple[World, int]] = [(null(2, 2), 750), (planted(6.0, 2, 2), 750)]
    monkeypatch.setattr(simulation, "worlds", lambda: few)
    log = tmp_path / "log.jsonl"
    # In this process: another would not know of the fewer worlds.
    known = {key: simulation.simulate_chunk(*key) for key in ((0, 0), (0, 1), (1, 0))}
    log.write_text("".join(simulation.line(key, outcomes) for key, outcomes in known.items()))

    def never(index: int, chunk: int) -> None:
        pytest.fail("ran again")

    monkeypatch.setattr(simulation, "simulate_chunk", never)
    outcomes = simulation.run(1, 1, log)
    assert outcomes == {0: known[0, 0] + known[0, 1], 1: known[1, 0]}
    row = summarise(*few[1], outcomes[1])
    assert row["found"]["share"] == 1
    assert "planted 6" in table([row]).markdown()
