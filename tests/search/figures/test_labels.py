"""What the figures of labels choose to show, that it is seen, and that the table is whole."""

from __future__ import annotations

import csv
import html
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from augsearch.search.figures.label_rounds import label_rounds
from augsearch.search.figures.label_table import write_labels
from augsearch.search.figures.labels import (
    PICTURES,
    PseudoLabels,
    Summary,
    most_labeled,
    pseudo_labels,
    ranked,
    said,
    summary,
)
from augsearch.trainers.semi.labeler import Labeling

Rows = NDArray[np.int64]
Pixels = NDArray[np.uint8]
Confidence = NDArray[np.float32]

# Of six images: an ape and two bees are learned from, an ape and a bee are not, one could not be read.
LABELS = np.array([0, 1, -1, 1, 0, 1])
CONFIDENCE = np.array([0.97, 0.99, 0, 0.95, 0.6, 0.7], np.float32)
CHOSEN = np.array([0, 1, 3])
TRUTH = np.array([0, 1, 1, 2, 2, -1])
CLASSES = ("ape", "bee", "cat")
BLUE = (37, 99, 235)


def labeled(count: int, classes: int, seed: int = 0) -> tuple[Rows, Confidence]:
    """Labels, a tenth of them missing, and confidences, many of them equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    labels[rng.random(count) < 0.1] = -1
    return labels, (rng.integers(1, 50, count) / 50).astype(np.float32)


@st.composite
def labelings(draw: st.DrawFn) -> tuple[Rows, Confidence, int]:
    classes = draw(st.sampled_from([2, 3, 20, 100]))
    return *labeled(draw(st.integers(1, 400)), classes, draw(st.integers(0, 2**32))), classes


def words(draw: Callable[[Path], object], folder: Path) -> list[str]:
    """All that is written in a figure, line by line; text in an SVG can be read."""
    path = folder / "figure.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw(path)
    return [
        html.unescape(text) for text in re.findall(r"<t(?:ext|span)[^>]*>([^<]+)", path.read_text("utf-8"))
    ]


def picture(draw: Callable[[Path], object], folder: Path) -> Pixels:
    """The figure's pixels (H, W, 3)."""
    draw(folder / "figure.png")
    with Image.open(folder / "figure.png") as opened:
        return np.asarray(opened.convert("RGB"))


def area(pixels: Pixels, colour: tuple[int, int, int]) -> int:
    return int(of(pixels, colour).sum())


def of(pixels: Pixels, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """(H, W): which are of ``colour``, or nearly, because fading rounds."""
    return (np.abs(pixels.astype(int) - colour) <= 1).all(axis=2)


def unread(index: int) -> Pixels:
    raise AssertionError(index)


def black(index: int) -> Pixels:
    return np.zeros((8, 8, 1), np.uint8)


@settings(max_examples=60)
@given(labelings(), st.integers(1, 20))
def test_a_row_goes_from_the_surest_to_the_least_sure_of_all_images_of_the_class(
    case: tuple[Rows, Confidence, int], count: int
) -> None:
    labels, confidence, _ = case
    for label in np.unique(labels[labels >= 0]).tolist():
        all_of_it = np.flatnonzero(labels == label)
        rows = ranked(labels, confidence, label, count)
        assert len(set(rows.tolist())) == len(rows) == min(count, len(all_of_it))
        assert (labels[rows] == label).all()
        assert (np.diff(confidence[rows]) <= 0).all()
        assert confidence[rows[0]] == confidence[all_of_it].max()
        if len(rows) > 1:
            assert confidence[rows[-1]] == confidence[all_of_it].min()


def test_the_ranks_of_a_row_are_evenly_spaced() -> None:
    confidence = np.linspace(0, 1, 1111, dtype=np.float32)
    rows = ranked(np.zeros(1111, np.int64), confidence, 0, 11)
    assert rows.tolist() == list(range(1110, -1, -111))


def test_of_equally_sure_images_the_first_comes_first() -> None:
    assert ranked(np.zeros(5, np.int64), np.ones(5, np.float32), 0, 3).tolist() == [0, 2, 4]


def test_a_class_without_images_has_no_row_of_them() -> None:
    assert ranked(LABELS, CONFIDENCE, 2).tolist() == []


def test_a_summary_counts_all_images_or_those_of_a_class() -> None:
    assert summary(LABELS, CHOSEN) == Summary(5, 3, None, None)
    assert summary(LABELS, CHOSEN, label=1) == Summary(3, 2, None, None)
    # Of four known truths two are met; of three chosen, two.
    assert summary(LABELS, CHOSEN, TRUTH) == Summary(5, 3, 1 / 2, 2 / 3)
    assert summary(LABELS, CHOSEN, TRUTH, 0) == Summary(2, 1, 1 / 2, 1)
    assert summary(LABELS, CHOSEN, TRUTH, 1) == Summary(3, 2, 1 / 2, 1 / 2)
    assert summary(LABELS, CHOSEN, TRUTH, 2) == Summary(0, 0, None, None)


@settings(max_examples=40)
@given(labelings())
def test_the_classes_together_have_all_labeled_images(case: tuple[Rows, Confidence, int]) -> None:
    labels, confidence, classes = case
    chosen = np.flatnonzero((confidence > 0.5) & (labels >= 0))
    parts = [summary(labels, chosen, label=label) for label in range(classes)]
    total = summary(labels, chosen)
    assert sum(part.labeled for part in parts) == total.labeled == (labels >= 0).sum()
    assert sum(part.learned_from for part in parts) == total.learned_from == len(chosen)


def test_of_many_classes_those_with_most_images_are_shown() -> None:
    assert most_labeled(np.array([1, 5, 0])).tolist() == [0, 1, 2]
    assert most_labeled(np.array([1, 5, 0, 5, 3]), 3).tolist() == [1, 3, 4]


def test_the_lines_above_say_the_totals() -> None:
    assert list(said(PseudoLabels(LABELS, CONFIDENCE, CHOSEN, CLASSES))) == [
        "5 images labeled, 3 learned from; 1 could not be read"
    ]
    assert list(said(PseudoLabels(LABELS, CONFIDENCE, CHOSEN, CLASSES, TRUTH), 0.95)) == [
        "5 images labeled, 3 learned from (threshold 95 %); 1 could not be read",
        "Right: 50.0 % of all, 66.6 % of those learned from (where the true class is known: of 4 images)",
    ]
    many = np.zeros(1234, np.int64)
    assert list(said(PseudoLabels(many, np.ones(len(many), np.float32), np.arange(0), CLASSES, many))) == [
        "1,234 images labeled, 0 learned from",
        "Right: 100 % of all",
    ]
    names = [str(label) for label in range(100)]
    assert list(said(PseudoLabels(LABELS, CONFIDENCE, CHOSEN, names)))[1:] == [
        "The 20 of 100 classes with the most images; 98 have none"
    ]


def test_nearly_all_is_not_all_and_the_threshold_is_met() -> None:
    truth = np.zeros(10_000, np.int64)
    truth[0] = 1
    (_, line) = said(
        PseudoLabels(0 * truth, np.ones(len(0 * truth), np.float32), np.arange(0), CLASSES, truth)
    )
    assert line == "Right: 99.9 % of all"


def test_every_picture_has_its_confidence_and_its_true_class_where_it_is_another(tmp_path: Path) -> None:
    written = words(
        lambda path: pseudo_labels(
            black,
            PseudoLabels(LABELS, CONFIDENCE, CHOSEN, CLASSES, TRUTH),
            path,
            threshold=0.95,
            title="Round 2",
        ),
        tmp_path,
    )
    start = written.index("ape")
    assert written[0] == "Round 2"
    assert written[1:3] == list(said(PseudoLabels(LABELS, CONFIDENCE, CHOSEN, CLASSES, TRUTH), 0.95))
    ape = ["2 labeled, 1 learned from", "100 % right of those", "50.0 % right of all"]
    bee = ["3 labeled, 2 learned from", "50.0 % right of those", "50.0 % right of all"]
    assert written[start : written.index("cat") + 2] == [
        "ape", *ape, "97.0 % ✓", "60.0 %", "✗ cat",
        "bee", *bee, "99.0 % ✓", "95.0 %", "✗ cat", "70.0 %",
        "cat", "none",
    ]  # fmt: skip
    assert any("framed" in line for line in written)


def test_without_truths_nothing_is_said_of_right_and_wrong(tmp_path: Path) -> None:
    for truth in (None, np.full(6, -1)):
        written = words(
            lambda path, truth=truth: pseudo_labels(
                black, PseudoLabels(LABELS, CONFIDENCE, CHOSEN, CLASSES, truth), path
            ),
            tmp_path,
        )
        assert not any(re.search("[✓✗]|[Rr]ight|wrong", line) for line in written)
        assert {"97.0 %", "2 labeled, 1 learned from"} <= set(written)


def test_what_is_learned_from_is_framed_and_the_rest_is_faded(tmp_path: Path) -> None:
    labels, confidence = np.zeros(8, np.int64), np.linspace(1, 0.3, 8, dtype=np.float32)
    red = np.full((16, 16, 3), (200, 0, 0), np.uint8)

    def pixels(learned: int) -> Pixels:
        return picture(
            lambda path: pseudo_labels(
                lambda index: red, PseudoLabels(labels, confidence, np.arange(learned), ("a",)), path
            ),
            tmp_path,
        )

    none, some, every = pixels(0), pixels(3), pixels(8)
    full, faded = (200, 0, 0), (228, 128, 128)
    one = area(every, full) / 8
    assert one > 95 * 95
    assert [area(shown, full) for shown in (none, some)] == [0, pytest.approx(3 * one, rel=0.05)]
    # Of the faded ones nothing is lost but their strength.
    assert [area(shown, faded) for shown in (none, some, every)] == [
        pytest.approx(8 * one, rel=0.05), pytest.approx(5 * one, rel=0.05), 0
    ]  # fmt: skip
    # Without colour too: a frame is a line around the picture. The legend has a little one.
    frames = [area(shown, BLUE) for shown in (none, some, every)]
    assert frames[1] - frames[0] > 3 * 4 * 100
    assert frames[2] - frames[0] == pytest.approx((frames[1] - frames[0]) * 8 / 3, rel=0.1)
    # The surest are on the left.
    columns = [np.flatnonzero(of(some, colour).any(axis=0)) for colour in (full, faded)]
    assert columns[0].max() < columns[1].min()


def test_only_the_images_that_are_shown_are_read_and_each_once(tmp_path: Path) -> None:
    labels, confidence = labeled(5000, 100)
    labels[:2000] = np.arange(2000) % 7
    read: list[int] = []

    def image(index: int) -> Pixels:
        assert type(index) is int
        read.append(index)
        return np.zeros((8, 8, 3), np.uint8)

    names = [f"class {label}" for label in range(100)]
    written = words(
        lambda path: pseudo_labels(image, PseudoLabels(labels, confidence, np.arange(0), names), path),
        tmp_path,
    )
    shown = most_labeled(np.bincount(labels[labels >= 0], minlength=100)).tolist()
    assert read == [row for label in shown for row in ranked(labels, confidence, label).tolist()]
    assert len(set(read)) == len(read) == 20 * PICTURES
    assert [line for line in written if line.startswith("class ")] == [names[label] for label in shown]
    assert set(shown[:7]) == set(range(7))
    assert "The 20 of 100 classes with the most images" in written


@pytest.mark.parametrize(
    "size", [(8, 8, 1), (28, 28, 1), (512, 512, 3), (512, 300, 3), (9, 512, 3), (1, 300, 1)]
)
def test_pictures_of_any_size_are_seen_whole_grey_and_in_colour(
    size: tuple[int, int, int], tmp_path: Path
) -> None:
    labels, confidence, chosen = np.zeros(4, np.int64), np.ones(4, np.float32), np.arange(4)
    images = np.full((4, *size), 140, np.uint8)
    images[:, :, size[1] // 2 :] = 60
    pixels = picture(
        lambda path: pseudo_labels(images, PseudoLabels(labels, confidence, chosen, ("a",)), path), tmp_path
    )
    side = 101
    height, width = (side * length / max(size) for length in size[:2])
    for grey in (140, 60):
        # Up to two pixels are lost at each edge.
        assert 4 * (height - 2) * (width / 2 - 4) <= area(pixels, (grey, grey, grey))
        assert area(pixels, (grey, grey, grey)) <= 4 * (height + 2) * (width / 2 + 4)


def test_an_array_a_list_and_a_function_show_the_same(tmp_path: Path) -> None:
    labels, confidence = labeled(60, 4)
    images = np.random.default_rng(1).integers(256, size=(60, 40, 40, 3), dtype=np.uint8)
    one, *others = [
        picture(
            lambda path, given=given: pseudo_labels(
                given,
                PseudoLabels(labels, confidence, np.flatnonzero(confidence > 0.5), ("a", "b", "c", "d")),
                path,
            ),
            tmp_path,
        )
        for given in (images, list(images), lambda index: images[index])
    ]
    for other in others:
        np.testing.assert_array_equal(other, one)


def test_a_single_image_is_enough(tmp_path: Path) -> None:
    written = words(
        lambda path: pseudo_labels(
            black,
            PseudoLabels(np.array([1]), np.ones(1, np.float32), np.array([0]), CLASSES, np.array([1])),
            path,
        ),
        tmp_path,
    )
    assert {"1 image labeled, 1 learned from", "1 labeled, 1 learned from", "100 % ✓"} <= set(written)
    assert written.count("none") == 2


def test_where_nothing_could_be_read_every_class_has_none(tmp_path: Path) -> None:
    def draw(path: Path) -> None:
        nothing = np.zeros(9, np.float32)
        pseudo_labels(
            unread, PseudoLabels(np.full(9, -1), nothing, np.arange(0), CLASSES, np.zeros(9, np.int64)), path
        )

    written = words(draw, tmp_path)
    assert "0 images labeled, 0 learned from; 9 could not be read" in written
    assert written.count("none") == 3
    assert not any("framed" in line for line in written)
    assert picture(draw, tmp_path).shape[0] > 200


def test_any_names_and_titles_can_be_drawn_and_none_is_cut_off(tmp_path: Path) -> None:
    odd = (
        "$x$",
        "$\\broken$",
        "猫",
        "two\nlines",
        "W" * 300,
        "",
        "a_b^c",
        "<&>",
        r"\$",
        "black-eyed susan $ $",
    )
    labels = np.arange(len(odd))
    pseudo = PseudoLabels(labels, np.ones(len(odd), np.float32), labels, odd, np.roll(labels, 1))
    title = "A run with a $long$ name: " + "words " * 60

    def draw(path: Path) -> None:
        pseudo_labels(black, pseudo, path, title=title)

    written = words(draw, tmp_path)
    assert {"$x$", "two lines", "✗ $x$", "✗ black-eyed", "susan $ $", "✗ a_b^c"} <= set(written)
    pixels = picture(draw, tmp_path)
    for edge in (pixels[:5], pixels[-5:], pixels[:, :5], pixels[:, -5:]):
        assert (edge == 255).all()


def rounds(*counts: list[int], accuracy: float | None = None) -> list[Labeling]:
    """A round for each of ``counts``: of each class, how many are learned from."""
    return [
        Labeling(
            number=number,
            after=10 * number,
            labels=np.repeat(np.arange(len(each)), each),
            confidence=np.ones(sum(each), np.float32),
            chosen=np.arange(sum(each)),
            by_class=np.array(each),
            gained=np.array(each),
            changed=None if number == 1 else 0.5 / number,
            accuracy=accuracy,
            seconds=1.0,
        )
        for number, each in enumerate(counts, 1)
    ]


def test_a_single_round_gains_nothing_to_draw(tmp_path: Path) -> None:
    for given_rounds in ([], rounds([3, 4])):
        assert not label_rounds(given_rounds, ("a", "b"), tmp_path / "gained.png")
    assert not (tmp_path / "gained.png").exists()


def test_rounds_say_what_each_class_gained_what_changed_and_what_is_right(tmp_path: Path) -> None:
    history = rounds([3, 14], [15, 92], [650, 12_345], accuracy=0.987)
    written = words(lambda path: label_rounds(history, ("ape", "bee"), path), tmp_path)
    assert "3 rounds of labels: 17 images learned from at first, 12,995 in the end" in written
    assert {"ape", "bee", "3", "14", "15", "92", "650", "12k"} <= set(written)
    assert written.count("98.7") == 3
    assert [line for line in written if line in ("25.0", "16.7")] == ["25.0", "16.7"]
    assert "right, of those learned from" in written


def test_rounds_without_truths_say_nothing_of_right_ones(tmp_path: Path) -> None:
    written = words(lambda path: label_rounds(rounds([3], [4]), ("ape",), path), tmp_path)
    assert not any("right" in line for line in written)
    assert any("another class" in line for line in written)


def test_the_bars_of_a_round_are_as_high_as_its_images(tmp_path: Path) -> None:
    def bars(history: list[Labeling]) -> int:
        return area(picture(lambda path: label_rounds(history, ("a", "b"), path), tmp_path), BLUE)

    # No accuracy, thus no other blue.
    assert bars(rounds([0, 50], [0, 100])) == pytest.approx(
        bars(rounds([0, 100], [0, 100])) * 3 / 4, rel=0.03
    )


def test_of_many_rounds_and_classes_the_ones_with_most_images_are_shown(tmp_path: Path) -> None:
    names = [f"class {label}" for label in range(100)]
    history = rounds(*([label * number for label in range(100)] for number in range(1, 31)), accuracy=0.5)
    written = words(lambda path: label_rounds(history, names, path), tmp_path)
    assert [line for line in written if line.startswith("class ")] == names[:79:-1]
    assert any(line.endswith("the 20 of 100 classes with the most") for line in written)
    assert picture(lambda path: label_rounds(history, names, path), tmp_path).shape[1] == 1040


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_table_has_the_labeled_images_in_order(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    write_labels(path, lambda row: f"photos/{row}.jpg", PseudoLabels(LABELS, CONFIDENCE, CHOSEN, CLASSES))
    assert path.read_bytes().decode() == (
        "file,label,confidence,learned_from\n"
        "photos/0.jpg,ape,0.970000,true\n"
        "photos/1.jpg,bee,0.990000,true\n"
        "photos/3.jpg,bee,0.950000,true\n"
        "photos/4.jpg,ape,0.600000,false\n"
        "photos/5.jpg,bee,0.700000,false\n"
    )
    write_labels(path, str, PseudoLabels(LABELS, CONFIDENCE, CHOSEN, CLASSES, TRUTH))
    assert [row[-1] for row in table(path)] == ["true_label", "ape", "bee", "cat", "cat", ""]
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.csv"]


def test_a_table_without_readable_images_has_a_head_alone(tmp_path: Path) -> None:
    write_labels(
        tmp_path / "labels.csv",
        str,
        PseudoLabels(np.full(3, -1), np.zeros(3, np.float32), np.arange(0), CLASSES),
    )
    assert table(tmp_path / "labels.csv") == [["file", "label", "confidence", "learned_from"]]


@settings(max_examples=60)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1))
@example(["a\rb", "c,d", '"', "e\nf", "=1", "-1+cmd|x", "@SUM(A1)", "+1", "./=1", "'=1"])
def test_any_names_come_back_from_the_table(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("table") / "labels.csv"
    every = np.arange(len(names))
    write_labels(path, names.__getitem__, PseudoLabels(every, np.ones(len(names), np.float32), every, names))
    for name, (file, label) in zip(names, (row[:2] for row in table(path)[1:]), strict=True):
        assert file.removeprefix("./") == name.removeprefix("./")
        assert label.removeprefix("'") == name.removeprefix("'")
        # Nothing that a spreadsheet would compute.
        assert not {file[0], label[0]} & set("=+-@\t\r")


def test_a_file_whose_name_is_no_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    name = b"caf\xe9.jpg"
    path = tmp_path / "labels.csv"
    write_labels(
        path,
        lambda _: name.decode(errors="surrogateescape"),
        PseudoLabels(np.zeros(1, int), np.ones(1, np.float32), np.arange(1), ("a",)),
    )
    assert path.read_bytes().splitlines()[1].split(b",")[0] == name


def test_a_table_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("before")

    def name(row: int) -> str:
        if row == 4:
            raise OSError("gone")
        return str(row)

    with pytest.raises(OSError, match="gone"):
        write_labels(path, name, PseudoLabels(LABELS, CONFIDENCE, CHOSEN, CLASSES))
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.csv"]


def test_a_long_table_is_not_held_in_memory(tmp_path: Path) -> None:
    count = 40_000
    labels, confidence = np.zeros(count, np.int64), np.ones(count, np.float32)
    tracemalloc.start()
    try:
        write_labels(
            tmp_path / "labels.csv",
            lambda row: f"{row:0300}",
            PseudoLabels(labels, confidence, np.arange(count), ("a",)),
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = (tmp_path / "labels.csv").stat().st_size
    assert size > 300 * count
    assert peak < size / 10
