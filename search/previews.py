"""Preview sheets of a data set's own images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augsearch.policies import Policy, UserError, read_policy
from augsearch.policies.preview import sheet
from augsearch.search.settings import HOME
from augsearch.trainers.images import ImageData, Part, open_images

ROWS = 6


def preview_of(
    policy: Policy, data: ImageData, training: NDArray[np.int64], *, title: str = "", seed: int = 0
) -> Image.Image:
    """A sheet with a training image of each of up to six classes."""
    labels = data.labels[training]
    firsts = [training[np.flatnonzero(labels == label)[0]] for label in np.unique(labels)[:ROWS]]
    return sheet(
        policy,
        [np.ascontiguousarray(data.images[index]) for index in firsts],
        labels=[data.classes[data.labels[index]] for index in firsts],
        seed=seed,
        title=title,
    )


def draw_preview(
    policy_file: Path, source: str | None, output: Path, image_size: int | None, seed: int
) -> str:
    """Write a sheet of ``policy_file`` on images of ``source``; returns a line that says where.

    Raises:
        UserError: a file or the data is bad.
    """
    file = read_policy(policy_file)
    data = open_images(source, image_size=image_size, cache=HOME / "cache", skip_bad_images=True)
    training = np.flatnonzero((data.labels >= 0) & (data.given != Part.TEST))
    picture = preview_of(file.policy, data, training, title=str(policy_file), seed=seed)
    return save_picture(picture, output)


def save_picture(picture: Image.Image, output: Path) -> str:
    """Write ``picture``; returns a line that says where.

    Raises:
        UserError: it can't be written there.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        picture.save(output)
    except (OSError, ValueError) as error:
        raise UserError(f"{output}: can't be written ({error}); give a .png file") from None
    return f"{output}: {picture.width} × {picture.height} pixels"
