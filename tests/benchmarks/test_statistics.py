"""The simulated searches, in small: that worlds are as they say, and that runs are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.recordings import recordings
from benchmarks.statistics import simulation
from benchmarks.statistics.report import summarise, table
from benchmarks.statistics.worlds import POINT, Noise, World, null, one_strong, planted


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
        assert len(set(recording.baselines)) == 5  # four and none


def test_folds_scatter_by_a_point_around_the_truth(noise: Noise) -> None:
    rng = np.random.default_rng(0)
    drawn = noise.draw(np.array([0.8, 0.9]), 4000, rng)
    for truth, results in zip((0.8, 0.9), drawn, strict=True):
        scores = np.array([result.score for result in results])
        assert scores.mean() == pytest.approx(truth, abs=0.1 * POINT)
        assert scores.std() == pytest.approx(POINT, rel=0.15)


def test_images_shift_all_folds_of_an_entry_alike(noise: Noise) -> None:
    drawn = Noise(noise.recordings, images=50).draw(np.array([0.8]), 300, np.random.default_rng(0))[0]
    by_image = np.stack([result.by_image for result in drawn])
    own = by_image - by_image.mean(axis=1, keepdims=True)
    assert own.std(axis=0).max() < 0.01  # half precision
    assert drawn[0].score == pytest.approx(by_image[0].mean(), abs=1e-3)


def test_a_large_lead_is_found_and_none_is_not(noise: Noise) -> None:
    sure = simulation.simulate(planted(6.0, 4, 4), noise, 0)
    assert sure["found"]
    assert sure["loss"] == 0
    assert simulation.simulate(null(4, 4), noise, 0)["kind"] != "better"


def test_the_same_seed_is_the_same_run(noise: Noise) -> None:
    world = one_strong(4, 4)
    assert simulation.simulate(world, noise, 3) == simulation.simulate(world, noise, 3)


def test_runs_are_kept_and_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "CHUNK", 1)
    few: list[tuple[World, int | None]] = [(null(2, 2), None), (planted(6.0, 2, 2), None)]
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
