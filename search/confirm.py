"""The finalists and the baselines on fresh seeds and images, and one sentence of verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.search.engines import Engine, WorkerLostError
from augsearch.search.race import TRIES
from augsearch.search.studies import Entry, confirmation_results, finished, keep_confirmation
from augsearch.search.work import evaluate, prepare_teacher
from augsearch.trainers.folds import Fold, FoldResult, Stage, Workspace

RESAMPLES = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Confirmed:
    """An entry's figures on the confirmation folds."""

    number: int
    name: str
    baseline: bool
    accuracies: tuple[float, ...]
    """One a fold."""
    log_loss: float
    ece: float

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def sd(self) -> float:
        """Standard deviation of the accuracy between folds."""
        return float(np.std(self.accuracies, ddof=1))


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more often one entry is right than another, as a share of images."""

    better: str
    worse: str
    mean: float
    low: float
    high: float

    def points(self) -> str:
        """``+1.2 [+0.3, +2.1] points``."""
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}] points"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the confirmation found."""

    sentence: str
    recommended: int
    """The trial to use."""
    confirmed: tuple[Confirmed, ...]
    """Best first."""
    differences: tuple[Difference, ...]
    """The best candidate against each baseline."""
    gain: Difference | None
    """What is recommended against no augmentation; None where that is what is recommended, or where only one
    of the two learns from unlabeled images."""
    unlabeled_gain: Difference | None = None
    """What is recommended, if it learns from unlabeled images, against the best baseline that doesn't."""

    def to_json(self) -> dict[str, Any]:
        """Plain values: the evidence of a policy file."""
        return {
            "verdict": self.sentence,
            "confirmation": [
                {
                    **asdict(entry),
                    "accuracies": list(entry.accuracies),
                    "mean": entry.mean,
                    "sd": entry.sd,
                    "n": len(entry.accuracies),
                }
                for entry in self.confirmed
            ],
            "differences": [asdict(difference) for difference in self.differences],
            "gain": asdict(self.gain) if self.gain else None,
            "unlabeled_gain": asdict(self.unlabeled_gain) if self.unlabeled_gain else None,
            "confidence": CONFIDENCE,
        }


def choose_finalists(study: optuna.Study, count: int) -> list[Entry]:
    """The baselines, then the ``count`` best candidates that no baseline or better candidate equals."""
    done = finished(study)
    baselines = [entry for entry in done if entry.baseline]
    chosen: list[Entry] = []
    for entry in sorted(done, key=lambda entry: -entry.mean):
        same = any(entry.candidate == other.candidate for other in (*baselines, *chosen))
        if not entry.baseline and not same and len(chosen) < count:
            chosen.append(entry)
    return baselines + chosen


def missing_folds(study: optuna.Study, finalists: Sequence[Entry], folds: int) -> list[tuple[Entry, int]]:
    """The confirmation folds that are still to be run, fold by fold."""
    known = {entry.number: confirmation_results(study, entry.number) for entry in finalists}
    return [(entry, fold) for fold in range(folds) for entry in finalists if fold not in known[entry.number]]


def confirm(
    study: optuna.Study, engine: Engine, workspace: Workspace, finalists: Sequence[Entry], folds: int
) -> Iterator[tuple[Entry, int, FoldResult]]:
    """Train every finalist on every confirmation fold that it has not been trained on yet.

    Raises:
        UserError: a fold can't be run.
    """
    if any(entry.candidate.asks_teacher for entry in finalists) and not workspace.teacher_logits.exists():
        engine.submit(prepare_teacher, workspace.folder).result()
    running: dict[Future[FoldResult], tuple[Entry, int, int]] = {}
    queue = [(entry, fold, 0) for entry, fold in reversed(missing_folds(study, finalists, folds))]
    while queue or running:
        while queue and len(running) < engine.slots:
            entry, fold, tries = queue.pop()
            task = Fold(Stage.CONFIRMATION, fold)
            running[engine.submit(evaluate, workspace.folder, entry.candidate, task)] = (entry, fold, tries)
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in [future for future in running if future in done]:
            entry, fold, tries = running.pop(future)
            error = future.exception()
            if error is None:
                keep_confirmation(study, entry.number, Fold(Stage.CONFIRMATION, fold), future.result())
                yield entry, fold, future.result()
            elif isinstance(error, WorkerLostError) and tries + 1 < TRIES:
                queue.append((entry, fold, tries + 1))
            else:
                raise UserError(f"{entry.name} could not be confirmed: {error}; run the same command again")


def judge(study: optuna.Study, finalists: Sequence[Entry], folds: int) -> Verdict:
    """Compare the finalists on the confirmation folds, pair by pair."""
    results = {}
    for entry in finalists:
        known = confirmation_results(study, entry.number)
        results[entry.number] = [known[fold] for fold in range(folds)]
    confirmed = [_confirmed(entry, results[entry.number]) for entry in finalists]
    ranked = tuple(sorted(confirmed, key=lambda entry: -entry.mean))
    candidates = [entry for entry in ranked if not entry.baseline]
    baselines = [entry for entry in ranked if entry.baseline]
    if not baselines:
        raise UserError("no baseline could be trained; see the trials' reasons in the MLflow UI")

    def against(first: Confirmed, second: Confirmed) -> Difference:
        tries = max(len(candidates), 1)
        return compare(first.name, results[first.number], second.name, results[second.number], tries=tries)

    differences = tuple(against(candidates[0], other) for other in baselines) if candidates else ()
    sentence, chosen = _decide(candidates, baselines, differences)
    learns_more = {entry.number for entry in finalists if entry.candidate.semi is not None}
    nothing = next((entry for entry in baselines if entry.name == "none"), None)
    gain = None
    if nothing and nothing is not chosen:
        # Where one learns from unlabeled images and the other doesn't, the policies aren't what differs.
        alike = (chosen.number in learns_more) == (nothing.number in learns_more)
        gain = against(chosen, nothing) if alike else None
    labels_alone = next((entry for entry in baselines if entry.number not in learns_more), None)
    beside = against(chosen, labels_alone) if labels_alone and chosen.number in learns_more else None
    return Verdict(sentence, chosen.number, ranked, differences, gain, beside)


def _confirmed(entry: Entry, results: Sequence[FoldResult]) -> Confirmed:
    return Confirmed(
        number=entry.number,
        name=entry.name,
        baseline=entry.baseline is not None,
        accuracies=tuple(result.accuracy for result in results),
        log_loss=float(np.mean([result.log_loss for result in results])),
        ece=float(np.mean([result.ece for result in results])),
    )


def compare(
    better: str, first: Sequence[FoldResult], worse: str, second: Sequence[FoldResult], *, tries: int
) -> Difference:
    """The difference in accuracy of two entries on the same folds, with an interval.

    Folds and images are both samples of what might have been, so both are drawn anew (the pigeonhole
    bootstrap: Owen 2007, arXiv:0711.2430); drawing only folds would take these validation images for all
    there are. The interval is as wide as it must be for the best of ``tries`` candidates (Bonferroni).
    """
    gains = np.stack([a.correct.astype(float) - b.correct for a, b in zip(first, second, strict=True)])
    means = _resampled_means(gains, np.random.default_rng(0))
    tail = (1 - CONFIDENCE) / tries / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Difference(better, worse, float(gains.mean()), float(low), float(high))


def _resampled_means(gains: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    folds, images = gains.shape
    means = np.empty(RESAMPLES)
    for resample in range(RESAMPLES):
        image_counts = np.bincount(rng.integers(images, size=images), minlength=images)
        fold_counts = np.bincount(rng.integers(folds, size=folds), minlength=folds)
        means[resample] = fold_counts @ gains @ image_counts / (folds * images)
    return means


def _decide(
    candidates: Sequence[Confirmed], baselines: Sequence[Confirmed], differences: Sequence[Difference]
) -> tuple[str, Confirmed]:
    """The verdict and what it recommends; both lists are best first."""
    baseline = baselines[0]
    if not candidates:
        return f"Every searched policy fell behind: use {baseline.name}, the best of the baselines.", baseline
    best = candidates[0]
    closest = next(difference for difference in differences if difference.worse == baseline.name)
    if all(difference.low > 0 for difference in differences):
        lead = f"{closest.points()} over {baseline.name}"
        return f"{best.name.capitalize()} is better than every baseline: {lead}.", best
    return (
        f"No searched policy is clearly better than {baseline.name} "
        f"({best.name}: {closest.points()}): use {baseline.name}."
    ), baseline
