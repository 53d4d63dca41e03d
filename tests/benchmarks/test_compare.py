"""The live comparison of searches: its page says what the command found, and nothing is trained twice."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.compare")


def contestant(name: str, mean: float, lead: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "trials": 16,
        "pick": {"name": "trial 7", "in_words": "N=2 M=9 of 14 ops", "search_score": 0.8},
        "ledger": {"search": {"folds": 10, "images": 1000, "seconds": 20.0}},
        "confirmed": {"mean": mean, "sd": 0.01, "n": 16},
        "default_minus_this": lead and {"mean": lead, "low": lead - 0.01, "high": lead + 0.01},
    }


def test_leads_are_averaged_over_seeds_and_the_same_pick_is_a_lead_of_nothing(benchmark: Any) -> None:
    leads = (0.02, -0.01, None)
    found = {
        "metric": "accuracy",
        "sentence": "So it is.",
        "comparisons": [
            {
                "seed": seed,
                "contestants": [
                    contestant("default search", 0.80, None),
                    contestant("random search", 0.80 - (lead or 0.0), lead),
                ],
            }
            for seed, lead in enumerate(leads)
        ],
        "default search minus": {"random search": {"mean": 0.1 / 30, "low": -0.034, "high": 0.041}},
    }
    summary, seeds = benchmark.tables(found)
    assert summary.rows[0][:3] == ("default search", "80.0 ± 0.0", "")
    assert summary.rows[1][:6] == (
        *("random search", "79.7 ± 1.5", "+0.3 [−3.4, +4.1] points"),
        *("1.5", "3", "1 of 3"),
    )
    assert "So it is." in summary.notes
    assert [row[-1] for row in seeds.rows if row[1] == "random search"] == [
        "+2.0 [+1.0, +3.0] points",
        "−1.0 [−2.0, +0.0] points",
        "the same",
    ]


def test_the_short_form_compares_and_is_taken_up_where_it_ended(benchmark: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 100)
    images = np.clip(80 * labels[:, None, None] + rng.integers(0, 60, (300, 12, 12)), 0, 255)
    np.savez(tmp_path / "greys.npz", images=images.astype(np.uint8), labels=labels)
    raw, page, work = tmp_path / "raw.json", tmp_path / "page.md", tmp_path / "work"
    arguments = ["--quick", f"--data={tmp_path / 'greys.npz'}", f"--output={raw}", f"--work={work}"]

    def run() -> dict[str, Any]:
        done = CliRunner().invoke(benchmark.main, [*arguments, f"--markdown={page}"])
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(raw.read_text())
        return found

    found = run()
    assert [one["seed"] for one in found["comparisons"]] == [0, 1]
    assert found["sentence"] in page.read_text()
    assert found["facts"]["images"] == "greys"
    again = run()
    assert again["comparisons"] == found["comparisons"]  # with the same seconds: nothing was trained again
    for text in (raw.read_text(), page.read_text()):
        assert str(tmp_path) not in text
        assert str(ROOT) not in text
