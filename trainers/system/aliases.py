"""Names of array and callback types that many rooms use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

Progress = Callable[[int, int], None]

Logits = NDArray[np.float32]

IndexArray = npt.NDArray[np.int64]
