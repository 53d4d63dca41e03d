"""Complete tables of candidate × fold results on real data, from which searches can be replayed.

A search stops losers and asks for the next candidate by what it has seen, so what it leaves behind can't
tell what another search would have found. Here every candidate runs every fold, once, and so does every
baseline that trains for twice as long; the tables are kept in ``benchmarks/recorded/`` and are small.

``python -m benchmarks.recordings --help`` says how to record them again: 2 × 64 candidates × 6 folds take
half an hour to an hour and a half on two cores. It can be stopped, and goes on where it stood.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import optuna
from numpy.typing import NDArray

from augsearch.policies import UserError
from augsearch.search.console import Display
from augsearch.search.engines.engine import Engine
from augsearch.search.engines.local import LocalEngine
from augsearch.search.engines.tasks import evaluate
from augsearch.search.engines.worker import Limits
from augsearch.search.inputs.prepare import open_data
from augsearch.search.settings.settings import Settings
from augsearch.search.space.neighbours import neighbour
from augsearch.search.space.params import baseline_params
from augsearch.search.space.space import Space
from augsearch.search.space.suggest import suggest
from augsearch.trainers.data.dataset import Split
from augsearch.trainers.system.threads import available_cores
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage
from benchmarks.environment import facts
from benchmarks.unlabeled.data import FASHION, cifar10, fashion_mnist

RECORDED = Path(__file__).parent / "recorded"
CANDIDATES = 64
FOLDS = 6
IMAGES = 10_000
"""Images of each data set: half for training, 1,500 to score on."""
SEED = 0
FIGURES = ("accuracy", "log_loss", "ece", "seconds", "images")
LONGER = 2.0
"""How many times as long baselines train that are to be for as many passes as who has a teacher."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """All folds of all candidates on one data set."""

    name: str
    params: list[dict[str, Any]]
    """(C,): parameters of each candidate's trial."""
    baselines: list[str | None]
    """(C,): the baseline's name; None: a candidate."""
    accuracy: NDArray[np.float64]
    """(C, F)."""
    log_loss: NDArray[np.float64]
    """(C, F)."""
    ece: NDArray[np.float64]
    """(C, F)."""
    seconds: NDArray[np.float64]
    """(C, F): of one core."""
    images: NDArray[np.float64]
    """(C, F): image passes."""
    correct: NDArray[np.bool_]
    """(C, F, I): which validation images were classified rightly."""
    longer: NDArray[np.float64]
    """(B, F): accuracy of the baselines, the first B of the C, that train for ``LONGER`` times as long."""
    facts: dict[str, Any]
    """Where it was recorded, and how."""

    @property
    def space(self) -> Space:
        """What its candidates were chosen from, by the baselines that there were."""
        space = Settings().space
        return space if {*space.baselines} <= {*self.baselines} else replace(space, edition=1)


def recordings() -> list[Recording]:
    """The recordings that come with the benchmarks."""
    return [read_recording(path) for path in sorted(RECORDED.glob("*.npz"))]


@lru_cache
def read_recording(path: Path) -> Recording:
    """A recording from its file."""
    with np.load(path, allow_pickle=False) as file:
        document = json.loads(str(file["document"]))
        scored = int(file["scored"])
        correct = np.unpackbits(file["correct"], axis=-1, count=scored).astype(bool)
        figures = {name: file[name].astype(np.float64) for name in (*FIGURES, "longer")}
    return Recording(path.stem, **document, correct=correct, **figures)


def drawn_params(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """Parameters of ``count`` trials: the baselines; of the rest half as random search draws them, and half
    in small steps from the baselines and from each other, so that both good and bad ones are well covered."""
    params = [baseline_params(baseline, space) for baseline in space.baselines.values()]
    rng = np.random.default_rng(seed)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    near = list(params)
    while len(params) < count:
        if len(params) % 2:
            trial = study.ask()
            suggest(trial, space)
            params.append(dict(trial.params))
        else:
            step = neighbour(near[int(rng.integers(len(near)))], space, rng)
            near.append(step)
            params.append(step)
    return params


def candidates_of(
    params: Sequence[dict[str, Any]], baselines: Sequence[str | None], space: Space
) -> list[Candidate]:
    """The candidate of each trial's parameters; a baseline's is that baseline."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    for values, baseline in zip(params, baselines, strict=True):
        study.enqueue_trial(values, user_attrs={"baseline": baseline} if baseline else None)
        found.append(suggest(study.ask(), space))
    return found


def sampled(stored: Path, count: int, folder: Path) -> Path:
    """An ``.npz`` of ``count`` images of a data set's training part, the first of each class."""
    path = folder / f"{stored.name}-{count}.npz"
    if not path.exists():
        labels, given = np.load(stored / "labels.npy"), np.load(stored / "given.npy")
        classes = int(labels.max()) + 1
        trained = np.flatnonzero(given == Split.TRAIN)
        rows = np.sort(
            np.concatenate([trained[labels[trained] == k][: count // classes] for k in range(classes)])
        )
        images = np.load(stored / "images.npy", mmap_mode="r")
        np.savez(path, images=images[rows], labels=labels[rows])
    return path


def record(
    name: str, data: Path, candidates: int, folds: int, workers: int, log: Path, display: Display
) -> None:
    """Run every fold of every candidate that ``log`` has not yet, and write the recording."""
    settings = Settings.of(data=str(data), seed=SEED)
    workspace = open_data(settings, display).workspace
    params = drawn_params(settings.space, candidates, SEED)
    names = [*settings.space.baselines]
    baselines = [*names, *[None] * (candidates - len(names))]
    chosen = candidates_of(params, baselines, settings.space)
    chosen += [one.model_copy(update={"passes": LONGER}) for one in chosen[: len(names)]]
    known = dict(_read_log(log))
    # Fold by fold, so that a table that is not whole yet has all candidates.
    tasks = [(c, f) for f in range(folds) for c in range(len(chosen)) if (c, f) not in known]
    engine = LocalEngine(workers, Limits(settings.engine.fold_timeout))
    try:
        with display.bar(f"recording {name}", len(tasks)) as bar, log.open("a", encoding="utf-8") as file:
            for (c, f), result in _run(engine, workspace.folder, chosen, tasks):
                known[c, f] = result
                file.write(json.dumps([c, f, result.to_json()]) + "\n")
                file.flush()
                bar.advance(1)
    finally:
        engine.close()
    _write(name, params, baselines, known, candidates, folds)


def _run(
    engine: Engine, folder: Path, candidates: Sequence[Candidate], tasks: Sequence[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], FoldResult]]:
    running: dict[Future[FoldResult], tuple[int, int]] = {}
    queue = list(reversed(tasks))
    while queue or running:
        while queue and len(running) < engine.slots:
            c, f = queue.pop()
            running[engine.submit(evaluate, folder, candidates[c], Fold(Stage.SEARCH, f))] = (c, f)
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()


def _read_log(log: Path) -> Iterator[tuple[tuple[int, int], FoldResult]]:
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            c, f, document = json.loads(line)
            yield (c, f), FoldResult.from_json(document)


def _write(
    name: str,
    params: list[dict[str, Any]],
    baselines: Sequence[str | None],
    known: dict[tuple[int, int], FoldResult],
    candidates: int,
    folds: int,
) -> None:
    table = [[known[c, f] for f in range(folds)] for c in range(candidates)]
    figures: dict[str, Any] = {
        figure: np.array([[getattr(result, figure) for result in row] for row in table], dtype=np.float32)
        for figure in FIGURES
    }
    longer = range(candidates, candidates + sum(name is not None for name in baselines))
    figures["longer"] = np.array(
        [[known[c, f].accuracy for f in range(folds)] for c in longer], dtype=np.float32
    )
    correct = np.array([[result.correct for result in row] for row in table])
    document = {
        "params": params,
        "baselines": list(baselines),
        "facts": facts([], None, "benchmarks.recordings", ("augsearch", "torch", "optuna", "numpy"))
        | {"images": name},
    }
    content = io.BytesIO()
    np.savez_compressed(
        content,
        document=np.array(json.dumps(document)),
        scored=np.array(correct.shape[-1]),
        correct=np.packbits(correct, axis=-1),
        **figures,
    )
    RECORDED.mkdir(exist_ok=True)
    (RECORDED / f"{name}.npz").write_bytes(content.getvalue())


@click.command()
@click.option("--cifar", type=click.Path(path_type=Path), help="Folder of CIFAR-10 with train/ and test/.")
@click.option("--fashion", type=click.Path(path_type=Path), default=FASHION, show_default=True)
@click.option("--candidates", type=click.IntRange(5), default=CANDIDATES, show_default=True)
@click.option("--folds", type=click.IntRange(2), default=FOLDS, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=available_cores, show_default="one a core")
@click.option("--work", type=click.Path(path_type=Path), default=Path("mlruns/recordings"), show_default=True)
def main(cifar: Path | None, fashion: Path, candidates: int, folds: int, workers: int, work: Path) -> None:
    """Record the tables again; the one of CIFAR-10 only where --cifar is given."""
    work.mkdir(parents=True, exist_ok=True)
    display = Display()
    try:
        sets = {"fashion-mnist": fashion_mnist(fashion, work)}
        if cifar is not None:
            sets["cifar-10"] = cifar10(cifar, work)
        for name, stored in sets.items():
            data = sampled(stored.folder, IMAGES, work)
            log = work / f"{name}-{candidates}-{folds}.jsonl"
            record(name, data, candidates, folds, workers, log, display)
    except UserError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
