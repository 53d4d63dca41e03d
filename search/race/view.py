"""What a person sees of a race while it runs."""

from __future__ import annotations

from optuna.trial import TrialState

from augsearch.search.console import Bar, Display
from augsearch.search.race.race import Event, FoldDone, TrialDone, TrialStarted
from augsearch.search.space.describe import describe
from augsearch.search.studies.study import Entry
from augsearch.trainers.evaluation.metrics import Metric


class RaceView:
    """Follows a race: a line for every trial that ends, and beside the bar who leads."""

    def __init__(self, display: Display, bar: Bar, folds: int, metric: Metric, entries: list[Entry]) -> None:
        self._display, self._bar, self._folds, self._metric = display, bar, folds, metric
        self._running: dict[int, str] = {}
        self._done: dict[int, int] = {}
        self._best: dict[bool, tuple[float, str]] = {}
        for entry in entries:
            if entry.state is TrialState.COMPLETE:
                self._lead(entry.name, entry.baseline, entry.score)

    def show(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, TrialStarted):
            self._running[event.number] = event.baseline or describe(event.candidate)
            self._done[event.number] = event.folds_done
            self._bar.advance(0, self._note())
        elif isinstance(event, FoldDone):
            self._done[event.number] += 1
            self._bar.advance(1)
        elif isinstance(event, TrialDone):
            self._end(event)

    def _end(self, event: TrialDone) -> None:
        what, folds = self._running.pop(event.number), self._done.pop(event.number)
        if event.state is TrialState.COMPLETE and event.score is not None:
            self._lead(event.baseline or f"trial {event.number}", event.baseline, event.score)
        score = "–" if event.score is None else self._metric.shown(event.score)
        ending = {
            TrialState.COMPLETE: "",
            TrialState.PRUNED: f"  stopped after {folds} of {self._folds} folds",
            TrialState.FAIL: f"  failed: {event.reason}",
        }[event.state]
        self._display.line(f"trial {event.number:3d}  {score:>7s}  {what}{ending}")
        self._bar.advance(self._folds - folds, self._note())

    def _lead(self, name: str, baseline: str | None, score: float) -> None:
        is_baseline = baseline is not None
        if is_baseline not in self._best or score > self._best[is_baseline][0]:
            self._best[is_baseline] = (score, name)

    def _note(self) -> str:
        parts = [f"{len(self._running)} running"]
        for is_baseline, label in ((False, "best"), (True, "baseline")):
            if is_baseline in self._best:
                score, name = self._best[is_baseline]
                parts.append(f"{label} {self._metric.shown(score)} ({name})")
        return " · ".join(parts)
