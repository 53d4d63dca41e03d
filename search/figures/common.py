"""What the figures of models and labels share: an image in an axis, and saving."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text
from numpy.typing import NDArray

from augsearch.policies.bands import seen
from augsearch.search.figures.figure import Figure

CLASSES_SHOWN = 20
"""With more classes than these a confusion matrix shows only the most confused."""


class Indexed(Protocol):
    """Images by number: an array or memory map (N, H, W, C), a list of images."""

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


Images = Indexed | Callable[[int], NDArray[np.uint8]]
"""Image ``i`` is ``images[i]`` or ``images(i)``: uint8 (H, W, C), C is 1 or 3. Only those shown are read."""


def show_image(images: Images, index: int) -> NDArray[np.uint8]:
    """Image ``index``, uint8 (H, W, C)."""
    return images(index) if callable(images) else images[index]


def show_grid(axes: Axes, image: NDArray[np.uint8]) -> None:
    """Draw ``image`` into ``axes``, without ticks."""
    axes.axis("on")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    image = seen(image)
    axes.imshow(image if image.shape[2] == 3 else image[:, :, 0], cmap="gray", vmin=0, vmax=255)


def short(name: str, length: int) -> str:
    """``name`` in ``length`` characters."""
    name = " ".join(name.split())
    if len(name) > length:
        # The end is kept, because names that begin alike are told apart by it.
        end = length // 3
        name = f"{name[: length - end - 1].rstrip()}…{name[-end:].lstrip()}"
    return name


def compact(count: int) -> str:
    """``12k``: a count in few characters."""
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def save_figure(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a picture. A dollar in a text is a dollar: to Matplotlib two mean mathematics."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with warnings.catch_warnings():
        # A class may be named in letters that the font lacks; they are drawn as boxes.
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font")
        figure.savefig(path, dpi=130)
