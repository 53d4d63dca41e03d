"""Whole searches on made scores: the race under the pruner, the confirmation, the verdict.

The code of each is that of ``augsearch run``; only the trainings are drawn.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.statistics.looks import planned_looks
from augsearch.search.statistics.sequential import Finalist, Finalists, interim_analysis
from augsearch.search.statistics.verdict import reach_verdict
from augsearch.search.studies.pruner import pruner_of
from benchmarks.recordings import recordings
from benchmarks.statistics.worlds import POINT, Noise, World, null, one_strong, planted

DEFAULTS = Settings()
POOLS = (750, 1750, 5000)
"""Images that are neither scored by the search nor sealed, which cross-fitting divides anew for each fold."""
EFFECTS = {750: (1.0, 2.0), 1750: (0.25, 0.5, 0.75, 1.0, 1.5, 2.0), 5000: (0.5, 1.0)}
"""Points by which one candidate is better, for each of ``POOLS``."""
CHUNK = 50


def worlds() -> list[tuple[World, int]]:
    """What is simulated: a world, and how many images there are.

    Where no candidate is better the share to be known is small: those worlds are run twice as often.
    """
    counts = len(BASELINE_POLICIES), DEFAULTS.search.trials - len(BASELINE_POLICIES)
    made: list[tuple[World, int]] = []
    for pool in POOLS:
        made += [(null(*counts), pool), (one_strong(*counts), pool)]
        made += [(planted(effect, *counts), pool) for effect in EFFECTS[pool]]
    return made


def search(
    world: World, scores: list[list[float]], rng: np.random.Generator
) -> tuple[list[int], dict[int, int]]:
    """The trials that finish the race, best first, and how many folds each trial ran.

    Those after the baselines come in a random order.
    """
    folds = DEFAULTS.search.folds
    study = optuna.create_study(direction="maximize", pruner=pruner_of(DEFAULTS.search.pruner, folds))
    baselines = len(world.baselines)
    finished, ran = [], {}
    for number in [*range(baselines), *(baselines + rng.permutation(len(world.candidates)))]:
        trial = study.ask()
        for fold in range(folds):
            trial.report(scores[number][fold], fold)
            ran[int(number)] = fold + 1
            if number >= baselines and fold + 1 < folds and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            score = float(np.mean(scores[number][:folds]))
            study.tell(trial, score)
            finished.append((score, int(number)))
    return [number for _, number in sorted(finished, reverse=True)], ran


def simulate(world: World, noise: Noise, pool: int, seed: int) -> dict[str, Any]:
    """One run, from the first trial to the verdict, where ``pool`` images can be confirmed on."""
    rng = np.random.default_rng(seed)
    truths, folds = world.truths, DEFAULTS.confirmation.folds
    baselines = range(len(world.baselines))
    finished, ran = search(world, noise.scores(truths, DEFAULTS.search.folds, rng), rng)
    finalists = [number for number in finished if number not in baselines][: DEFAULTS.confirmation.finalists]
    numbers = [*baselines, *finalists]
    confirmed = dict(zip(numbers, noise.confirmation(truths[numbers], pool, folds, rng), strict=True))
    kept: dict[tuple[int, int], Finalist] = {}

    def at(reached: dict[int, int]) -> Finalists:
        for number, done in reached.items():
            results = confirmed[number][:done]
            kept.setdefault((number, done), Finalist(number, f"entry {number}", number in baselines, results))
        return Finalists([kept[number, reached[number]] for number in numbers], POINT)

    looks = planned_looks(folds)
    found, _, going = interim_analysis(at, numbers, looks)
    look = looks[len(going) - 1]
    verdict = reach_verdict(found, look.level, look.tail)
    outcome = {
        "kind": verdict.kind,
        "recommended": verdict.recommended,
        "found": truths[verdict.recommended] == truths.max() and verdict.kind == "better",
        "wrong": verdict.kind == "better" and truths[verdict.recommended] <= truths[baselines].max(),
        "finalist": int(truths.argmax()) in numbers,
        "loss": float(truths.max() - truths[verdict.recommended]),
        "folds": sum(len(one.results) for one in found.members),
        "search folds": sum(ran.values()),
    }
    if found.candidates:
        lead = found.lead(found.candidates[0], found.best_baseline)
        best = found.best_baseline.number
        true = float(truths[found.candidates[0].number] - truths[best])
        outcome |= {"lead": lead.mean - true, "covered": bool(lead.low <= true <= lead.high)}
        # Of two entries that nothing picked: what the interval promises.
        first, second = found.candidates[-1], found.baselines[0]
        lead, true = found.lead(first, second), float(truths[first.number] - truths[second.number])
        outcome["covered unpicked"] = bool(lead.low <= true <= lead.high)
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in outcome.items()}


def simulate_chunk(index: int, chunk: int) -> list[dict[str, Any]]:
    """``CHUNK`` runs of the world with that index; ``chunk`` says which."""
    world, pool = worlds()[index]
    noise = Noise(tuple(recordings()))
    return [simulate(world, noise, pool, _seed(index, chunk, run)) for run in range(CHUNK)]


def _seed(index: int, chunk: int, run: int) -> int:
    return int(np.random.SeedSequence([index, chunk, run]).generate_state(1)[0])


def line(key: tuple[int, int], outcomes: list[dict[str, Any]]) -> str:
    """What the log keeps of a chunk of runs of a world."""
    return json.dumps([*key, outcomes]) + "\n"


def _known(log: Path) -> dict[tuple[int, int], list[dict[str, Any]]]:
    if not log.exists():
        return {}
    lines = (json.loads(text) for text in log.read_text(encoding="utf-8").splitlines())
    return {(index, chunk): outcomes for index, chunk, outcomes in lines}


def run(runs: int, workers: int, log: Path) -> dict[int, list[dict[str, Any]]]:
    """All worlds, ``runs`` times each; what ``log`` has is not run again."""
    known = _known(log)
    chunks = [-(-runs * (1 if max(world.candidates) else 2) // CHUNK) for world, _ in worlds()]
    every = [(i, c) for c in range(max(chunks)) for i in range(len(chunks)) if c < chunks[i]]
    wanted = [key for key in every if key not in known]
    log.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool, log.open("a", encoding="utf-8") as file:
        running = {pool.submit(simulate_chunk, *key): key for key in wanted}
        for number, future in enumerate(as_completed(running), 1):
            key = running[future]
            known[key] = future.result()
            file.write(line(key, known[key]))
            file.flush()
            print(f"{number} of {len(wanted)}", file=sys.stderr)
    return {i: _first(known, i, count) for i, count in enumerate(chunks)}


def _first(
    known: dict[tuple[int, int], list[dict[str, Any]]], index: int, chunks: int
) -> list[dict[str, Any]]:
    return [outcome for chunk in range(chunks) for outcome in known[index, chunk]]
