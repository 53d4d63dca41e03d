"""Pictures on disk that tests of commands and pages learn from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def make_photos(folder: Path, seed: int = 0) -> None:
    """Twelve noisy photos of two classes each, dark cats and bright dogs."""
    rng = np.random.default_rng(seed)
    for label, grey in (("cats", 60), ("dogs", 190)):
        (folder / label).mkdir(parents=True)
        for index in range(12):
            noise = rng.integers(-50, 50, (20, 24, 3))
            cv2.imwrite(str(folder / label / f"{index}.jpg"), np.clip(grey + noise, 0, 255).astype(np.uint8))
