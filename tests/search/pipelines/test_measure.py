"""How fast trainings are: what makes a worker ready is no part of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data
from augsearch.search.pipelines import measure as measuring
from augsearch.search.pipelines.measure import SHARED, measure, workers_together
from augsearch.search.settings.settings import Settings
from augsearch.trainers.system.threads import available_cores
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folder import open_workspace
from augsearch.trainers.workspace.folds import Fold, FoldResult

RATES = {"tiny": 2000.0, "small": 500.0}
"""Images a second of each network."""


class Cold:
    """A worker that is not ready: its first training of a network takes half a minute longer."""

    slots = 1

    def __init__(self) -> None:
        self.trained: list[str] = []

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        folder, _, _ = cast(tuple[Path, Candidate, Fold], args)
        proxy = open_workspace(folder).proxy
        images = proxy.fold_size * proxy.epochs
        seconds = images / RATES[proxy.model] + (0 if proxy.model in self.trained else 30)
        self.trained.append(proxy.model)
        done: Future[Any] = Future()
        done.set_result(FoldResult(0.5, 0.5, 0.1, seconds, images, np.ones(4, np.bool_)))
        return done

    def close(self) -> None:
        pass


def test_what_makes_a_worker_ready_is_not_counted(stripes: str) -> None:
    settings = Settings.of(data=stripes, proxy_model="tiny", final_model="small")
    speed = measure(Cold(), open_data(settings, Display()), settings)
    assert speed.images == RATES["tiny"]
    assert speed.final_images == SHARED * available_cores() * RATES["small"]


@pytest.mark.parametrize(
    ("gpus", "workers", "given", "together"),
    [
        (0, 1, {}, 16),  # all cores of this machine, whoever else works
        (0, 32, {}, 32),
        (0, 200, {"engine": "ray"}, 16),  # the nodes of a cluster train no final model together
        (1, 4, {}, 4),  # the four share the GPU
        (4, 16, {}, 4),
        (4, 16, {"processes": 2}, 8),
        (1, 8, {"workers_per_device": 8}, 8),
        (0, 64, {"engine": "ray", "device": "cuda"}, 4),  # the driver of a cluster sees no GPU
    ],
)
def test_the_final_training_is_as_fast_as_what_it_has(
    gpus: int, workers: int, given: dict[str, Any], together: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "available_cores", lambda: 16)
    monkeypatch.setattr(measuring, "gpus", lambda device: tuple(map(str, range(gpus))))
    monkeypatch.setattr(measuring, "has_gpu", lambda device: gpus > 0 or device == "cuda")
    assert workers_together(workers, Settings.of(data="photos", **given)) == together
