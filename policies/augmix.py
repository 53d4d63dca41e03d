"""AugMix's operations at a severity (Hendrycks et al. 2020, arXiv:1912.02781), as torchvision has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LEVELS = 10
"""Of strength; those below the severity are drawn, each as often."""

MOST_SEVERE = 8
"""Above it torchvision's posterize keeps no bit, so the image is black."""

LONGEST = 3
"""Operations of a chain at most, where their number is drawn."""

_SPREAD: dict[str, Callable[[float], float]] = {
    **{name: (lambda share: 0.3 * share) for name in ("shear_x", "shear_y")},
    **{name: (lambda share: share / 3) for name in ("translate_x", "translate_y")},
    "rotate": lambda share: 30 * share,
    "posterize": lambda share: round(4 - 4 * share),
    "solarize": lambda share: 1 - share,
    **{name: (lambda share: 0.9 * share) for name in ("brightness", "color", "contrast", "sharpness")},
}
"""The value of each operation at a share of the highest level, in the operation's unit."""

_WITHOUT_STRENGTH = ("auto_contrast", "equalize")


def augmix_operations(severity: int) -> list[dict[str, Any]]:
    """What AugMix draws from at a ``severity`` of 1–8: every operation as often, at any of its levels."""
    choices: list[dict[str, Any]] = [
        {"name": name, "value": float(value(level / (LEVELS - 1)))}
        for name, value in _SPREAD.items()
        for level in range(severity)
    ]
    return choices + [{"name": name, "weight": float(severity)} for name in _WITHOUT_STRENGTH]
