"""What every metric keeps to, those that are added later included; and one that a test adds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from pydantic import ValidationError

from augsearch.policies import Policy
from augsearch.search.cli import main
from augsearch.search.settings.settings import Settings
from augsearch.trainers import Candidate, Fold, FoldResult, Stage, evaluate
from augsearch.trainers.evaluation.metrics import METRICS, Logits, Metric, declared, score

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

EVERY = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def answers(seed: int, sure: float = 1.5) -> tuple[Logits, NDArray[np.int64]]:
    """Logits that are right the more often the surer they are, of classes of which some are rare."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, size=300, p=[0.5, 0.3, 0.15, 0.05])
    logits = rng.normal(size=(300, 4)).astype(np.float32)
    logits[np.arange(300), labels] += sure
    return logits, labels


def result(metric: Metric, logits: Logits, labels: NDArray[np.int64]) -> FoldResult:
    """How a fold's result holds these predictions."""
    found = score(logits, labels)
    return FoldResult(
        *(found.accuracy, found.log_loss, found.ece, 1.0, 100, found.correct),
        macro_f1=found.macro_f1,
        balanced_accuracy=found.balanced_accuracy,
        metric=metric.name,
        values=metric.per_image(logits, labels).astype(np.float16),
    )


@EVERY
def test_it_is_known_by_its_name(metric: Metric) -> None:
    assert METRICS[metric.name] is metric
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", metric.name)
    assert Settings.of(metric=metric.name).search.metric == metric.name


@EVERY
def test_its_score_is_the_mean_of_what_images_add_to_it(metric: Metric) -> None:
    logits, labels = answers(0)
    values = metric.per_image(logits, labels)
    assert values.shape == (300,)
    assert values.dtype == np.float64
    assert values.mean() == pytest.approx(metric.score(result(metric, logits, labels)), abs=1e-3)


@EVERY
def test_what_an_image_adds_to_it_stays_with_the_image(metric: Metric) -> None:
    logits, labels = answers(1)
    order = np.random.default_rng(0).permutation(300)
    values = metric.per_image(logits, labels)
    np.testing.assert_allclose(metric.per_image(logits[order], labels[order]), values[order])


@EVERY
def test_better_predictions_have_a_higher_score_and_good_ones_a_figure_above_zero(metric: Metric) -> None:
    worse, better = (metric.score(result(metric, *answers(2, sure))) for sure in (0.5, 4.0))
    assert better > worse
    assert metric.figure(better) > 0


@EVERY
def test_what_is_shown_of_it_is_its_figure(metric: Metric) -> None:
    value = metric.score(result(metric, *answers(3)))
    bare = metric.shown(value, unit=False)
    assert float(bare) == pytest.approx(metric.figure(value), abs=0.51 * 10**-metric.digits)
    assert metric.shown(value) == f"{bare}{metric.suffix}"
    assert metric.title.startswith(metric.label)


@EVERY
def test_its_margin_is_large_enough_to_be_seen(metric: Metric) -> None:
    shown = metric.shown_difference(metric.margin, -metric.margin, 2 * metric.margin)
    mean, low, high = (float(number) for number in re.findall(r"[+-][\d.]+", shown)[:3])
    assert low < 0 < mean < high
    assert mean == pytest.approx(metric.factor * metric.margin, rel=0.1)
    assert shown.endswith(f"] {metric.difference_unit}")
    assert float(metric.shown_spread(metric.margin)) == mean


@EVERY
def test_a_result_is_read_again_with_the_same_score(metric: Metric) -> None:
    before = result(metric, *answers(4))
    again = FoldResult.from_json(before.to_json())
    assert (again.metric, again.score) == (metric.name, before.score)
    np.testing.assert_array_equal(again.by_image, before.by_image)


def test_scores_are_written_as_people_know_them() -> None:
    assert METRICS["accuracy"].shown(0.853) == "85.3 %"
    assert METRICS["log-loss"].shown(-0.461) == "0.461"
    assert METRICS["accuracy"].shown_difference(0.012, 0.003, 0.021) == "+1.2 [+0.3, +2.1] points"
    assert METRICS["log-loss"].shown_difference(0.1, 0.05, 0.15) == "+0.100 [+0.050, +0.150] nats"


@EVERY
def test_an_interval_ends_where_differences_do_and_one_of_no_width_is_none(metric: Metric) -> None:
    shown = metric.shown_difference(0.09, -2.8, 2.9)
    low, high = (float(number) / metric.factor for number in re.findall(r"[+-][\d.]+", shown)[1:])
    assert (low, high) == (max(-2.8, -metric.widest), min(2.9, metric.widest))
    assert metric.shown_difference(0.09, 0.09, 0.09).endswith(f"{metric.difference_unit} (no interval)")


def test_a_metric_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValidationError, match="'accuracy', 'macro-f1', 'log-loss' or 'balanced-accuracy'"):
        Settings.of(metric="auc")


# One that a test adds, by one object.


def _confidence(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The probability of the label, as a Brier-like score of each image."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    chosen: NDArray[np.float64] = (shifted / shifted.sum(axis=1, keepdims=True))[
        np.arange(len(labels)), labels
    ]
    return chosen.astype(np.float64)


@pytest.fixture
def toy() -> Iterator[Metric]:
    yield declared(Metric("label-probability", "probability of the label", "points", 0.01, _confidence))
    del METRICS["label-probability"]


def test_a_metric_that_is_declared_is_an_option_and_a_setting(toy: Metric) -> None:
    runner = CliRunner()
    assert toy.name in runner.invoke(main, ["run", "--help"]).stdout.replace("\n", "").replace(" ", "")
    shown = runner.invoke(main, ["run", "--metric", toy.name, "--show-config"])
    assert shown.exit_code == 0, shown.stderr
    assert f'metric = "{toy.name}"' in shown.stdout


def test_a_metric_that_is_declared_scores_folds(toy: Metric, source: Source, tmp_path: Path) -> None:
    workspace = source.study(tmp_path, metric=toy.name)
    found = evaluate(workspace.folder, Candidate(policy=Policy(num_ops=0)), Fold(Stage.SEARCH, 0))
    assert found.metric == toy.name
    assert 0 < found.score < 1
    assert found.score == found.by_image.mean()
    assert FoldResult.from_json(found.to_json()).score == found.score
