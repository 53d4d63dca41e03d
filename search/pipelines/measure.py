"""How fast trainings are here: short ones on all workers at once, before a run is planned."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from augsearch.policies import UserError
from augsearch.search.budget.plan import Speed
from augsearch.search.engines.engine import Engine
from augsearch.search.final.plan import final_input_size
from augsearch.search.inputs.run_data import Data
from augsearch.search.race.folds import FoldRunner
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import BASELINE_POLICIES, USUAL
from augsearch.trainers.models.names import WIDTHS, is_built_in
from augsearch.trainers.system.gpus import SHARED as ON_A_GPU
from augsearch.trainers.system.gpus import gpus, has_gpu
from augsearch.trainers.system.hashing import digest
from augsearch.trainers.system.threads import available_cores
from augsearch.trainers.workspace.candidate import Candidate, ProxySettings
from augsearch.trainers.workspace.folder import write_workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage

IMAGES, IMAGES_OF_HUBS = 384, 96
"""Training images of a measurement: some batches; fewer for the networks of hubs, which are large."""
FIRST, FIRST_OF_HUBS = 64, 16
"""Training images of what makes a worker ready: its first training imports libraries, reads weights and
prepares kernels, which takes up to seconds and is no measure of the next."""
SCORED = 64
"""Images that a measurement scores."""
LONG_ENOUGH = 2.0
"""Seconds of a worker that a measurement is to take."""
MOST_EPOCHS = 8
SCORING = 3.0
"""How many images are scored in the time in which one is trained on."""
SHARED = 0.8
"""What several cores do for one training, of what they do for as many."""
RESERVE = 5.0
"""Seconds for drawing, writing, logging and testing, on a machine that starts workers in no time."""
RESERVE_BY_START = 1.5
"""The same for each second that starting workers takes: importing is as slow as writing there."""


def measure(engine: Engine, data: Data, settings: Settings) -> Speed:
    """How fast the search's and the final network train under RandAugment, all workers at work.

    Raises:
        UserError: a training can't be run.
    """
    proxy, began = data.workspace.proxy, time.perf_counter()
    sample = proxy.model_copy(update={"epochs": 1, "teacher": None})
    first = _train(engine, data, _of(sample, data, FIRST, FIRST_OF_HUBS), settings)
    start = time.perf_counter() - began - max(result.seconds for result in first)
    images = _steady(engine, data, sample, settings)
    scored = len(data.workspace.scored_images(Fold(Stage.SEARCH, 0))[1])
    return Speed(
        workers=engine.slots,
        images=images,
        fold_overhead=scored / (SCORING * images),
        final_images=_final(engine, data, sample, settings) if settings.final.train else 0.0,
        reserve=RESERVE + RESERVE_BY_START * start,
    )


def speed_of(results: Sequence[FoldResult], data: Data, settings: Settings, workers: int) -> Speed:
    """What the first folds of a search say; of the final training only where its network is akin."""
    images = _rate(results)
    mine, final, size = data.workspace.proxy.model, settings.network, settings.proxy.size
    cost = 0.0
    if mine == final:
        cost = ((settings.final.size or size) / size) ** 2 if size else 1.0
    if is_built_in(mine) and is_built_in(final):
        cost = (WIDTHS[final] / WIDTHS[mine]) ** 2
    return Speed(
        workers=workers,
        images=images,
        final_images=SHARED * workers_together(workers, settings) * images / cost
        if settings.final.train and cost
        else 0.0,
        reserve=RESERVE,
    )


def _final(engine: Engine, data: Data, sample: ProxySettings, settings: Settings) -> float:
    """Images a second of the final training, for which all cores work together."""
    side = data.images.images.shape[1]
    weights, input_size = settings.weights_of(settings.network), final_input_size(settings)
    network = sample.model_copy(
        update={"model": settings.network, "weights": weights, "input_size": input_size}
    )
    _train(engine, data, _of(network, data, FIRST, FIRST_OF_HUBS), settings)
    images = _steady(engine, data, network, settings)
    # With weights it was measured at the side at which it is to work, whatever that of the images is.
    pixels = 1.0 if weights != "none" else math.pow((settings.final.size or side) / side, 2)
    return SHARED * workers_together(engine.slots, settings) * images / pixels


def workers_together(workers: int, settings: Settings) -> float:
    """How many of a search's ``workers`` do together what the final training could do at best.

    It has all cores of this machine, or as many GPUs as it has processes, each shared by several workers.
    """
    device = settings.engine.device
    if has_gpu(device):
        found = len(gpus(device)) or 1  # one that is named, or those of a cluster
        each = min(workers / found, settings.engine.workers_per_device or ON_A_GPU)
        return each * min(found, settings.final.processes)
    cores = available_cores()
    return max(workers, cores) if settings.engine.name in ("inline", "local") else cores


def _steady(engine: Engine, data: Data, network: ProxySettings, settings: Settings) -> float:
    """Images a second of each worker, all of them at work and ready."""
    some = _of(network, data, IMAGES, IMAGES_OF_HUBS)
    results = _train(engine, data, some, settings)
    seconds = min(result.seconds for result in results)
    # On a GPU the first batches of a size are slow: cuDNN tries what is quickest for it.
    if seconds < LONG_ENOUGH or has_gpu(settings.engine.device):
        epochs = min(MOST_EPOCHS, max(2, round(LONG_ENOUGH / seconds)))
        results = _train(engine, data, some.model_copy(update={"epochs": epochs}), settings)
    return _rate(results)


def _train(engine: Engine, data: Data, proxy: ProxySettings, settings: Settings) -> list[FoldResult]:
    """What a training on every worker came to."""
    few = {"validation": data.splits.validation[:SCORED], "confirmation": data.splits.confirmation[:SCORED]}
    # Its own: another study of the same data may be measuring too.
    folder = data.workspace.folder / "speed" / f"{digest(proxy.model_dump())[:8]}-{os.getpid()}"
    workspace = write_workspace(folder, data.images, replace(data.splits, **few), proxy)
    candidate = Candidate(policy=BASELINE_POLICIES[USUAL], transfer=settings.transfer_of(proxy.model))
    folds: FoldRunner[int] = FoldRunner(engine, workspace)
    for number in range(engine.slots):
        folds.submit(number, candidate, Fold(Stage.SEARCH, number))
    results: list[FoldResult] = []
    while not folds.is_idle:
        for _, _, result in folds.wait():
            if not isinstance(result, FoldResult):
                raise UserError(f"no training could be measured: {result}; run the same command again")
            results.append(result)
    shutil.rmtree(folder)
    return results


def _rate(results: Sequence[FoldResult]) -> float:
    return fmean(result.images / max(result.seconds, 1e-6) for result in results)


def _of(network: ProxySettings, data: Data, images: int, images_of_hubs: int) -> ProxySettings:
    """``network`` on as many training images, and one of each class at least."""
    wanted = images if is_built_in(network.model) else images_of_hubs
    return network.model_copy(
        update={"fold_size": min(data.workspace.proxy.fold_size, max(wanted, len(data.images.classes)))}
    )
