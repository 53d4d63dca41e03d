"""Random streams that differ between the workers of a torch ``DataLoader``."""

from __future__ import annotations

import sys

import numpy as np

from augsearch.policies.errors import UserError


class Stream:
    """A random stream that is another one in each worker of a torch ``DataLoader`` and in each epoch.

    In the process where it was made it depends on the seed alone. In a worker it also depends on the seed
    that the loader gave the worker, and so on ``torch.manual_seed`` or the loader's ``generator``.
    """

    def __init__(self, seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise UserError(f"seed must be a whole number ≥ 0, got {seed!r}")
        self.seed = int(seed)
        self._worker: int | None = None
        self.rng = np.random.default_rng(self.seed)

    def moved(self) -> bool:
        """Whether this is another worker than at the last call; ``rng`` is then the new worker's."""
        worker = _worker_seed()
        if worker == self._worker:
            return False
        self._worker = worker
        self.rng = np.random.default_rng(self.seed if worker is None else [self.seed, worker])
        return True


def _worker_seed() -> int | None:
    """The seed of the torch ``DataLoader`` worker that this is; None in any other process."""
    data = sys.modules.get("torch.utils.data")  # not loaded: no worker
    worker = data.get_worker_info() if data else None
    return worker.seed if worker else None
