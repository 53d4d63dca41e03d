"""Preview sheets of a data set's own images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augsearch.policies import Policy, PolicyFile, UserError, read_policy
from augsearch.policies.errors import writing
from augsearch.policies.preview import sheet
from augsearch.search.inputs.workplace import AT_WORK, use
from augsearch.search.settings.data import DataSettings
from augsearch.search.settings.sections import HOME
from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.groups import with_groups
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import split

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


def draw_preview(policy_file: Path, given: DataSettings, output: Path, seed: int) -> str:
    """Write a sheet of ``policy_file`` on images of ``given``; returns a line that says where.

    Raises:
        UserError: a file or the data is bad.
    """
    file = read_policy(policy_file)
    use(AT_WORK)
    opened = open_images(
        given.source,
        image_size=given.image_size,
        cache=HOME / "cache",
        skip_bad_images=True,
        form=given.form,
    )
    # Divided as the search did, groups and all, or sealed images would be drawn.
    data = with_groups(opened, given.group_by)
    picture = preview_of(file.policy, data, _training_part(data, file), title=str(policy_file), seed=seed)
    return save_picture(picture, output)


def training_images(file: PolicyFile, source: str, most: int) -> list[NDArray[np.uint8]]:
    """Up to ``most`` training images (H, W, C), spread over ``source``; none that ``file`` is tested on.

    Raises:
        UserError: the data is bad.
    """
    data = open_images(source, image_size=None, cache=HOME / "cache", skip_bad_images=True)
    training = _training_part(data, file)
    chosen = training[:: max(1, len(training) // most)][:most]
    return [np.ascontiguousarray(data.images[index]) for index in chosen]


def _training_part(data: ImageData, file: PolicyFile) -> NDArray[np.int64]:
    """What the policy was searched on, if it was on this data: the test part stays sealed."""
    made_from = file.provenance.get("made_from")
    seed = made_from.get("seed") if isinstance(made_from, dict) else None
    try:
        return split(
            data.labels,
            data.given,
            classes=data.classes,
            seed=seed if isinstance(seed, int) else 0,
            groups=data.groups,
        ).train
    except UserError:  # too few images to divide, so nothing is sealed but what is given
        return np.flatnonzero((data.labels >= 0) & (data.given != Split.TEST))


def save_picture(picture: Image.Image, output: Path) -> str:
    """Write ``picture``; returns a line that says where.

    Raises:
        UserError: it can't be written there.
    """
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            picture.save(output)
        except ValueError as error:
            raise UserError(f"{output}: can't be written ({error}); give a .png file") from None
    return f"{output}: {picture.width} × {picture.height} pixels"
