"""A weight an image, from a table: read, kept with the decoded images, and refused where it is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import load_cache
from augsearch.trainers.data.form import Form, Layout
from augsearch.trainers.data.groups import with_groups
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.rare_classes import without_rare_classes
from augsearch.trainers.data.sources.base import find_source
from augsearch.trainers.data.target_domain import form_like
from tests.trainers.data.sources.test_manifests import LABELS, NAMES, images, opened, written

__all__ = ["images"]

WEIGHTS = [1, 2, 0.5, 1, 4, 0.25]
COLUMNS: dict[str, list[Any]] = {"file": NAMES, "label": LABELS}


def test_weights_are_read_kept_and_said(images: Path) -> None:
    path = written(images, COLUMNS | {"trust": WEIGHTS})
    data = opened(path, weight_column="trust")
    assert data.weights is not None
    assert data.weights.tolist() == WEIGHTS
    assert load_cache(data.cache).weights is not None
    assert data.notes[1] == (
        "weights from column trust, 0.25 to 4, made 1 on average in each training's loss; scores and figures "
        "count every image alike"
    )


def test_other_weights_are_other_data_and_none_are_what_they_were(images: Path) -> None:
    plain = opened(written(images, COLUMNS))
    beside = opened(written(images, COLUMNS | {"trust": WEIGHTS}))
    assert beside.weights is None
    assert beside.fingerprint == plain.fingerprint
    path = images.parent / "labels.csv"
    first = opened(path, weight_column="trust")
    written(images, COLUMNS | {"trust": [1] * 6})
    second = opened(path, weight_column="trust")
    assert len({plain.fingerprint, first.fingerprint, second.fingerprint}) == 3


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_every_kind_of_table_has_them(images: Path, suffix: str) -> None:
    path = (images.parent / "labels").with_suffix(suffix)
    if suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(COLUMNS | {"trust": np.array(WEIGHTS)}), path)
    else:
        rows = zip(NAMES, LABELS, WEIGHTS, strict=True)
        lines = [json.dumps({"file": file, "label": label, "trust": weight}) for file, label, weight in rows]
        path.write_text("\n".join(lines))
    data = opened(path, weight_column="trust")
    assert data.weights is not None
    assert data.weights.tolist() == WEIGHTS


def test_a_line_of_json_is_named_by_its_number(images: Path) -> None:
    path = images.parent / "labels.jsonl"
    rows = zip(NAMES, LABELS, [1, 0, 1, 1, 1, 1], strict=True)
    path.write_text("\n".join(json.dumps({"file": file, "label": label, "w": w}) for file, label, w in rows))
    with pytest.raises(UserError, match=r"labels\.jsonl row 2: column w must be a number above 0"):
        opened(path, weight_column="w")


@pytest.mark.parametrize("weight", ["0", "-1", "", "much", "nan", "inf"])
def test_what_is_no_weight_is_named_by_its_row(images: Path, weight: str) -> None:
    path = written(images, COLUMNS | {"trust": [1, 1, weight, 1, 1, 1]})
    line = rf"labels\.csv row 4: column trust must be a number above 0, .*, got '{weight}'; correct it"
    with pytest.raises(UserError, match=line):
        opened(path, weight_column="trust")


def test_images_without_a_label_need_none(images: Path) -> None:
    path = written(images, {"file": NAMES, "label": [*LABELS[:5], ""], "trust": [1, 2, 1, 2, 1, ""]})
    data = opened(path, weight_column="trust")
    assert data.weights is not None
    assert data.weights[data.labels >= 0].tolist() == [1, 2, 1, 2, 1]


def test_it_is_never_taken_for_the_label(images: Path) -> None:
    path = written(images, {"file": NAMES, "what": LABELS, "trust": [1, 2, 1, 2, 1, 2]})
    with pytest.raises(UserError, match="which column is the label"):
        opened(path)
    assert opened(path, weight_column="trust").classes == ("cat", "dog")


def test_a_column_that_is_not_there_is_named(images: Path) -> None:
    with pytest.raises(UserError, match=r"has no column trust \(--weight-column\)"):
        opened(written(images, COLUMNS), weight_column="trust")


def test_only_tables_have_weights(images: Path) -> None:
    form = Form(layout=Layout(weight_column="trust"))
    with pytest.raises(UserError, match="--weight-column means nothing: leave it out"):
        find_source(str(images), form)
    path = written(images, COLUMNS)
    assert form_like(str(path), form).layout.weight_column is None


def test_they_stay_when_groups_are_found_and_rare_classes_go(images: Path) -> None:
    labels = [*LABELS[:5], "hen"]
    path = written(images, {"file": NAMES, "label": labels, "trust": WEIGHTS})
    data = opened(path, weight_column="trust")
    kept, _ = without_rare_classes(with_groups(data, "copies"), 2, merge=False)
    assert kept.weights is not None
    assert kept.weights.tolist() == WEIGHTS


def test_a_damaged_cache_is_made_anew(images: Path) -> None:
    path = written(images, COLUMNS | {"trust": WEIGHTS})
    data = opened(path, weight_column="trust")
    np.save(data.cache / "weights.npy", np.ones(2))
    again = opened(path, weight_column="trust")
    assert again.weights is not None
    assert again.weights.tolist() == WEIGHTS
    assert open_images(str(path), image_size=8, cache=images.parents[1] / "cache").weights is None
