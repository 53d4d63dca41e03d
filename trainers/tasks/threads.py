"""How many threads a final training, and its teacher's, computes with."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.system.devices import quickest_threads
from augsearch.trainers.training.learner import Learner


def choose_threads(learner: Learner, spec: ModelSpec, device: torch.device) -> None:
    """Have torch use one thread where more are slower now, by some steps on a copy of the network."""
    if device.type != "cpu" or torch.get_num_threads() == 1 or learner.parallel is not None:
        return
    network = copy.deepcopy(learner.model)
    images = torch.zeros(16, spec.channels, spec.image_size, spec.image_size, dtype=torch.uint8)

    def step() -> None:
        lower = learner.precision != torch.float32
        with torch.random.fork_rng(devices=[]), torch.autocast("cpu", learner.precision, enabled=lower):
            network(images).float().sum().backward()

    torch.set_num_threads(quickest_threads(step))


@contextmanager
def quick_threads(learner: Learner, spec: ModelSpec, device: torch.device) -> Iterator[None]:
    """As many threads as are quickest now; as many as before after the block."""
    before = torch.get_num_threads()
    choose_threads(learner, spec, device)
    try:
        yield
    finally:
        torch.set_num_threads(before)
