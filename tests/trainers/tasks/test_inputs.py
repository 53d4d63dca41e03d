"""The network that suits a workspace's images says how they were read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from augsearch.trainers.data.form import Form, Reading
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import split
from augsearch.trainers.tasks.inputs import spec_for
from augsearch.trainers.workspace.candidate import ProxySettings
from augsearch.trainers.workspace.folder import write_workspace


def test_a_model_knows_how_its_images_were_read_and_says_nothing_where_that_is_usual(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        for index in range(8):
            pixels = np.random.default_rng([index, ord(label)]).integers(0, 256, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{index}.png")
    padded = Reading(fit="pad", background=(1, 2, 3))
    for name, reading, said in (
        ("usual", Reading(), None),
        ("padded", padded, {"background": [1, 2, 3], "fit": "pad"}),
    ):
        form = Form(reading=reading)
        data = open_images(str(tmp_path / "data"), image_size=12, cache=tmp_path / "cache", form=form)
        parts = split(data.labels, data.given, classes=data.classes, seed=0)
        proxy = ProxySettings(model="tiny", epochs=1, fold_size=4, seed=0, device="cpu")
        spec = spec_for(write_workspace(tmp_path / name, data, parts, proxy), "tiny")
        assert spec.reading == said
        assert ("reading" in spec.model_dump()) == (said is not None)
        assert ("reading" in spec.metadata) == (said is not None)
