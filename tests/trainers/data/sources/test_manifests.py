"""Tables that name images and labels: what their columns are taken for, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.form import Form, Layout
from augsearch.trainers.data.images import image_paths, open_images
from augsearch.trainers.data.table import numbered_labels

NAMES = [f"{number}.png" for number in range(6)]
LABELS = ["cat", "dog", "cat", "dog", "cat", "dog"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of six images, beside which tables are written."""
    folder = tmp_path / "pets" / "images"
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (9, 9, 3), np.uint8)).save(
            folder / name
        )
    return folder


def written(
    images: Path, columns: dict[str, list[Any]], name: str = "labels.csv", separator: str = ","
) -> Path:
    path = images.parent / name
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    path.write_text("\n".join(separator.join(map(str, row)) for row in rows), "utf-8")
    return path


def opened(path: Path, **layout: Any) -> ImageData:
    form = Form(layout=Layout(**layout))
    return open_images(
        str(path), image_size=8, cache=path.parents[1] / "cache", form=form, skip_bad_images=True
    )


def named(data: ImageData) -> list[str]:
    return [data.classes[label] if label >= 0 else "" for label in data.labels]


def test_columns_are_found_by_name_and_content_and_that_is_said(images: Path) -> None:
    columns = {"n": list(range(6)), "File": NAMES, "Label": LABELS, "Set": ["train"] * 3 + ["test"] * 3}
    data = opened(written(images, columns))
    assert (data.classes, named(data)) == (("cat", "dog"), LABELS)
    assert data.given.tolist() == [Split.TRAIN] * 3 + [Split.TEST] * 3
    assert data.name == "labels"
    assert image_paths(str(images.parent / "labels.csv"), data) == [images / name for name in NAMES]
    assert data.notes == (
        f"labels.csv: images from column File, labels from Label, parts from Set, files from {images}; "
        "--image-column, --label-column, --split-column, --root take others",
    )


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_any_usual_separator_is_understood(images: Path, separator: str) -> None:
    assert named(opened(written(images, {"file": NAMES, "label": LABELS}, separator=separator))) == LABELS


def test_tsv_json_lines_and_parquet_are_the_same_data(images: Path) -> None:
    columns = {"file": NAMES, "label": LABELS}
    pyarrow = pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    from pyarrow import parquet

    tables = [written(images, columns), written(images, columns, "l.tsv", "\t")]
    tables += [images.parent / "l.jsonl", images.parent / "l.parquet"]
    tables[2].write_text(
        "".join(
            json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in zip(NAMES, LABELS, strict=True)
        )
    )
    parquet.write_table(pyarrow.table(columns), tables[3])
    assert len({opened(path).fingerprint for path in tables}) == 1


def test_a_folder_a_table_and_arrays_are_the_same_data_bit_for_bit(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    order = sorted(range(6), key=lambda number: LABELS[number])
    for number in order:
        (folder / LABELS[number]).mkdir(parents=True, exist_ok=True)
        (images / NAMES[number]).rename(folder / LABELS[number] / NAMES[number])
    files = [f"{LABELS[number]}/{NAMES[number]}" for number in order]
    table = written(images, {"path": files, "label": [LABELS[number] for number in order]})
    archive = tmp_path / "x" / "pets.npz"
    archive.parent.mkdir()
    pixels = np.stack([np.asarray(Image.open(folder / file)) for file in files])
    np.savez(archive, images=pixels, labels=[LABELS[number] for number in order])
    forms = [
        open_images(str(folder), image_size=8, cache=tmp_path / "cache"),
        opened(table, root=folder),
        opened(archive),
    ]
    for other in forms[1:]:
        assert other.fingerprint == forms[0].fingerprint
        np.testing.assert_array_equal(other.images, forms[0].images)
    assert len({one.classes for one in forms}) == 1


def test_names_without_a_suffix_and_of_another_system_are_found(images: Path) -> None:
    assert named(opened(written(images, {"image_id": [name[:-4] for name in NAMES], "y": LABELS}))) == LABELS
    windows = [f"images\\{name}" for name in NAMES]
    assert named(opened(written(images, {"path": windows, "label": LABELS}))) == LABELS


def test_labels_may_be_numbers_in_any_order_or_with_gaps(images: Path) -> None:
    data = opened(written(images, {"file": NAMES, "label": [10, 9, 10, 9, 2, 2]}))
    assert (data.classes, data.labels.tolist()) == (("2", "9", "10"), [2, 1, 2, 1, 0, 0])


def test_one_hot_columns_are_labels(images: Path) -> None:
    columns = {"image": NAMES, "cat": [1, 0, 1, 0, 1, 0], "dog": ["0.0", "1.0"] * 3}
    data = opened(written(images, columns))
    assert (data.classes, named(data)) == (("cat", "dog"), LABELS)
    columns["dog"][0] = 1
    path = written(images, columns)
    with pytest.raises(UserError, match=r"labels\.csv row 2: columns cat, dog must be 0 but for one 1"):
        opened(path, label_column="cat,dog")


def test_rows_without_a_label_have_none(images: Path) -> None:
    data = opened(written(images, {"file": NAMES, "label": [*LABELS[:4], "", ""]}))
    assert named(data) == [*LABELS[:4], "", ""]
    assert data.given.tolist() == [0, 0, 0, 0, Split.UNLABELED, Split.UNLABELED]


def test_files_that_are_missing_are_named(images: Path) -> None:
    (images / NAMES[2]).unlink()
    data = opened(written(images, {"file": NAMES, "label": LABELS}))
    assert data.skipped == ("2.png: No such file or directory",)


@pytest.mark.parametrize("name", ["9" * 400 + ".png", "a/" * 3000 + "b.png"])
def test_values_that_can_be_no_files_name_are_files_that_are_missing(images: Path, name: str) -> None:
    data = opened(written(images, {"file": [*NAMES[:5], name], "label": LABELS}))
    assert len(data.labels) == 5
    with pytest.raises(UserError, match="names no file that is there"):
        opened(written(images, {"file": [name] * 6, "label": LABELS}, "no.csv"))


def test_a_name_with_a_zero_byte_is_refused_with_its_row(images: Path) -> None:
    with pytest.raises(UserError, match="row 4: column file has a zero byte"):
        opened(written(images, {"file": [*NAMES[:2], "a\0b.png", *NAMES[3:]], "label": LABELS}))


def test_rows_that_repeat_count_once_and_contradictions_stay(images: Path) -> None:
    data = opened(written(images, {"file": [*NAMES, "0.png", "1.png"], "label": [*LABELS, "cat", "cat"]}))
    assert len(data.labels) == 7
    assert "1 rows of" in data.notes[1]


def test_a_column_that_may_be_of_groups_is_named(images: Path) -> None:
    path = written(images, {"file": NAMES, "label": LABELS, "patient_id": [1, 1, 2, 2, 3, 3]})
    assert "Then --group-column patient_id" in opened(path).notes[0]
    data = opened(path, group_column="patient_id")
    assert data.groups is not None
    assert data.groups.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("columns", "layout", "message"),
    [
        (
            {"file": NAMES, "a": LABELS, "b": LABELS},
            {},
            r"which column is the label\? Give --label-column, one of a, b",
        ),
        (
            {"file": NAMES, "label": LABELS},
            {"label_column": "x"},
            r"no column x \(--label-column\): it has file, label",
        ),
        ({"file": NAMES, "label": LABELS}, {"image_column": "x"}, r"no column x \(--image-column\)"),
        (
            {"file": NAMES, "label": ["cat"] * 6},
            {},
            "column label has one label: a classifier needs at least 2",
        ),
        ({"file": ["no.png"] * 6, "label": LABELS}, {}, "names no file that is there"),
        ({"file": NAMES, "label": LABELS}, {"root": Path("nowhere")}, "--root nowhere is no folder"),
        (
            {"file": NAMES, "label": LABELS, "s": ["train", "x"] * 3},
            {"split_column": "s"},
            "column s has 'x', which is none of train, validation and test",
        ),
        (
            {"file": NAMES, "label": LABELS},
            {"classes": "leaf"},
            "labels is a table, for which --classes means nothing",
        ),
    ],
)
def test_what_can_t_be_understood_is_refused_in_one_line(
    images: Path, columns: dict[str, list[Any]], layout: dict[str, Any], message: str
) -> None:
    path = written(images, columns)
    with pytest.raises(UserError, match=message) as error:
        opened(path, **layout)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "has no rows"),
        ("a.csv", "file,label\n", "has no rows"),
        ("a.csv", "file,file\n1,2", "two columns of one name"),
        ("a.csv", "file,label\n1,2,3", "has 3 values in row 2 and 2 columns"),
        ("a.jsonl", "{\n", "line 1 is no JSON"),
        pytest.param("a.jsonl", '{"a":' + "[" * 10**5, "line 1 is no JSON", id="nested without end"),
        ("a.jsonl", "[1]\n", "line 1 is no JSON object"),
        ("a.parquet", "PAR1", "is no Parquet file"),
    ],
)
def test_a_damaged_table_is_refused_in_one_line(images: Path, name: str, content: str, message: str) -> None:
    (images.parent / name).write_text(content)
    with pytest.raises(UserError, match=message) as error:
        opened(images.parent / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flat", ["pets/images", "pets"])
def test_a_flat_folder_beside_a_table_is_told_of_the_table(images: Path, tmp_path: Path, flat: str) -> None:
    table = written(images, {"file": NAMES, "label": LABELS})
    written(images, {"other": [1]}, "another.csv")
    with pytest.raises(
        UserError, match=rf"{table} names its files: give {table} instead, with --root {images}"
    ):
        opened(tmp_path / flat)


def test_blank_rows_are_passed_over_and_counted(images: Path) -> None:
    rows = [f"{name},{label}" for name, label in zip(NAMES, LABELS, strict=True)]
    path = images.parent / "labels.csv"
    path.write_text("\n".join(["file,label", rows[0], "", *rows[1:], ",", " , "]) + "\n")
    assert named(opened(path)) == LABELS
    path.write_text("\n".join(["file,label", rows[0], "", *rows[1:], ",dog"]))
    with pytest.raises(UserError, match=r"labels\.csv row 9: column file names no image"):
        opened(path)


def test_a_line_of_json_ends_where_json_says(images: Path) -> None:
    labels = [f"a\u2028{label}\x85" for label in LABELS]
    lines = [
        json.dumps({"file": file, "label": label}, ensure_ascii=False)
        for file, label in zip(NAMES, labels, strict=True)
    ]
    path = images.parent / "labels.jsonl"
    path.write_text("\r\n".join(lines), "utf-8", newline="")
    assert opened(path).labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_the_columns_that_were_asked_for_stay_with_what_was_decoded(images: Path) -> None:
    path = written(images, {"file": NAMES, "kind": LABELS})
    opened(path)
    written(images, {"file": NAMES, "kind": LABELS, "camera": ["one", "two"] * 3})
    data = opened(path, label_column="kind")
    assert data.form.layout.label_column == "kind"
    assert image_paths(str(path), data) == [images / name for name in NAMES]


@given(st.permutations(["1", "2", "10", "nan", "NaN", "-inf", "inf", "cat", "4"]))
def test_classes_have_one_order(labels: list[str]) -> None:
    order = ("-inf", "1", "2", "4", "10", "NaN", "cat", "inf", "nan")
    assert numbered_labels("here", labels)[0] == order
