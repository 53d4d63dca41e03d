"""What tests of policies share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from augsearch.policies.backends.torch import runner


@pytest.fixture(scope="module")
def by_torch() -> Iterator[None]:
    """Tensors on the CPU take torch's path, as on all other devices, and not that of arrays."""
    before = runner._engine
    runner.use("torch")
    yield
    runner._engine = before
