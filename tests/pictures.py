"""Pictures on disk that tests of commands and pages learn from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def make_noise(folder: Path, each: int) -> str:
    """``each`` images of noise, 120 × 100 pixels, of two classes; their folder as a name."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 256, (100, 120, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.png"), pixels)
    return str(folder)


def make_photos(folder: Path, seed: int = 0) -> None:
    """Twelve noisy photos of two classes each, dark cats and bright dogs."""
    rng = np.random.default_rng(seed)
    for label, grey in (("cats", 60), ("dogs", 190)):
        (folder / label).mkdir(parents=True)
        for index in range(12):
            noise = rng.integers(-50, 50, (20, 24, 3))
            cv2.imwrite(str(folder / label / f"{index}.jpg"), np.clip(grey + noise, 0, 255).astype(np.uint8))
