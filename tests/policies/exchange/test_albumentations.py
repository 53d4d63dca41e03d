"""Albumentations' JSON: what both libraries do with it, how often, and reading it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from augsearch.policies import OPERATIONS, TRIVIALAUGMENT, Mixing, Policy, UserError
from augsearch.policies.effects import Size
from augsearch.policies.exchange.albumentations_choices import EVEN
from augsearch.policies.exchange.albumentations_nodes import LEFT_OUT, NEAR, NODES
from augsearch.policies.exchange.form import Read, forms
from augsearch.policies.regions import SMALLEST_ERASED, Erasing, ResizedCrop
from tests.policies.draws import drawn
from tests.policies.exchange.drawn import agree, any_policy, assert_policy_or_line, made
from tests.policies.strategies import lists_of_choices

FORM = forms()["albumentations"]
MIT = Path(sys.prefix) / "albumentations-2.0.8"
"""The last version with an MIT licence; AlbumentationsX has the same name, so it stands elsewhere."""
SAME = [name for name in OPERATIONS if name not in NEAR]
USUAL = Policy(num_ops=2, magnitude=9, crop=1.0, flip_horizontal=0.5)

PROGRAM = """
import json, sys, warnings
from collections import Counter
warnings.simplefilter("ignore")
import albumentations, cv2, numpy as np
from augsearch.policies import OPERATIONS, Policy
from augsearch.policies.exchange.form import forms
from augsearch.policies.planner import DrawnOperation
from tests.policies.exchange.drawn import photos
form, found = forms()["albumentations"], {}
for ranges in ("standard", "wide"):
    policy = Policy(ranges=ranges, operations=tuple(OPERATIONS), fill=(10, 20, 200))
    for name, operation in OPERATIONS.items():
        for image in photos():
            for magnitude in ((9,) if ranges == "standard" else (24,)):
                for negative in (False, True) if operation.signed else (False,):
                    drawn = DrawnOperation(name, magnitude, negative, (0.7,) * operation.noise)
                    change = form.stand_in(policy, name, magnitude, negative)
                    own = policy.apply((drawn,), image).astype(int)
                    differ = np.abs(own - change(image)).max(axis=2)
                    entry = found.setdefault(name, [0, 0.0, 0.0])
                    entry[0] = max(entry[0], int(differ.max()))
                    entry[1] = max(entry[1], float((differ > 1).mean()))
                    entry[2] = max(entry[2], float(differ.mean()))
transform = albumentations.load(sys.argv[1])
image = np.full((4, 4, 3), 100, np.uint8)
draws = Counter(int(transform(image=image)["image"][0, 0, 0]) for _ in range(2000))
rich = albumentations.load(sys.argv[3])
rich.set_random_seed(0)
rich_draws = Counter(int(rich(image=image)["image"][0, 0, 0]) for _ in range(4000))
saved = [json.dumps(albumentations.to_dict(albumentations.load(one))) for one in (sys.argv[2], sys.argv[4])]
parts = albumentations.load(sys.argv[4])
parts.set_random_seed(0)
places = np.zeros((200, 200, 3), np.uint8)
places[..., 0], places[..., 1] = np.arange(200), np.arange(200)[:, None]
kept, erased, shapes = [], [], set()
for _ in range(3000):
    part = parts(image=places)["image"]
    shapes.add(part.shape)
    out = part[..., 2] == 200
    erased.append(float(out.mean()))
    across, down = (np.ptp(part[..., one][~out]) for one in (0, 1))
    kept.append([int(across), int(down)])
shapes = sorted(shapes)
version = albumentations.__version__
print(json.dumps(dict(version=version, operations=found, draws=draws, rich=rich_draws, saved=saved,
                      kept=kept, erased=erased, shapes=shapes)))
"""

ERASING = Erasing(probability=0.5, largest=0.2)
DRAWN = Policy(num_ops=1, magnitude=15, operations=("identity", "invert", "brightness_shift", "grey"))

RICH = Policy(
    num_ops=1,
    operations=(
        {"name": "invert", "weight": 3, "probability": 0.75},
        {"name": "brightness_shift", "weight": 2, "value": (20, 59.99), "signed": True},
        {
            "sequence": ("invert", {"name": "brightness_shift", "probability": 0.5, "value": -50}),
            "weight": 1.5,
        },
        {"name": "gamma", "weight": 0.5, "value": (-1, -0.5)},
        {"name": "brightness_shift", "value": 100, "sd": 20, "signed": False},
    ),
)

PARTS = Policy(num_ops=0, resized_crop=ResizedCrop(smallest=0.3), erasing=ERASING, fill=(200, 200, 200))


def environment(library: str) -> dict[str, str]:
    paths = [str(Path(__file__).parents[3]), *([str(MIT)] if library == "2.0.8" else [])]
    return os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": os.pathsep.join(reversed(paths))}


@cache
def said(library: str, folder: Path) -> dict[str, Any]:
    """What a library that reads the form does; the test skips where it is not there."""
    if library == "2.0.8" and not MIT.exists():
        pytest.skip("Albumentations 2.0.8 is not here; make .venv/albumentations-2.0.8")
    for name, policy in (("drawn", DRAWN), ("usual", USUAL), ("rich", RICH), ("parts", PARTS)):
        written = made(policy, FORM, approximate=True)
        (folder / f"{name}.json").write_text(FORM.head(written.text, ["A head."]))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            *(str(folder / f"{name}.json") for name in ("drawn", "usual", "rich", "parts")),
        ],
        env=environment(library),
        capture_output=True,
        text=True,
        check=False,
    )
    if "No module named 'albumentations'" in done.stderr:
        pytest.skip("no Albumentations here; pip install 'augsearch[bench]'")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (library == "2.0.8") == (found["version"] == "2.0.8")
    return found


@pytest.fixture(params=["2.0.8", "installed"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return said(request.param, _folder(request.param, tmp_path_factory))


_FOLDERS: dict[str, Path] = {}


def _folder(name: str, factory: pytest.TempPathFactory) -> Path:
    return _FOLDERS.setdefault(name, factory.mktemp("albumentations"))


def test_what_is_not_named_as_near_is_the_same(library: dict[str, Any]) -> None:
    for name in SAME:
        worst, share, mean = library["operations"][name]
        kind = OPERATIONS[name].kind
        if kind == "warp":  # ties between two pixels; shifts of whole pixels, one more or less
            assert share <= (1 if name.startswith("translate") else 0.05), name
        else:
            assert worst <= 2, name
            assert mean <= 1.2, name


def test_what_is_named_as_near_is_not_the_same(library: dict[str, Any]) -> None:
    for name in NEAR:
        assert library["operations"][name][1] > 0.01, name


def test_each_operation_is_drawn_as_often(library: dict[str, Any]) -> None:
    # Of grey 100: identity and grey leave it, invert makes 155, a shift by 50 makes 50 or 150.
    draws = {int(level): count / 2000 for level, count in library["draws"].items()}
    expected = {100: 0.5, 155: 0.25, 50: 0.125, 150: 0.125}
    assert draws.keys() == expected.keys()
    for level, share in expected.items():
        assert draws[level] == pytest.approx(share, abs=0.055)  # five standard deviations


def test_choices_of_their_own_are_drawn_as_often_and_as_strongly(library: dict[str, Any]) -> None:
    assert {one.what for one in made(RICH, FORM, approximate=True).differences} == {
        "gamma of -1 to -0.5",
        "brightness shift about 100 with sd 20",
    }
    theirs = [int(level) for level, count in library["rich"].items() for _ in range(count)]
    image = np.full((4000, 2, 2, 3), 100, np.uint8)
    ours = RICH.augment(image, np.random.default_rng(0))[:, 0, 0, 0].tolist()
    assert agree([level // 8 for level in ours], [level // 8 for level in theirs]) > 1e-5
    assert agree([level == 155 for level in ours], [level == 155 for level in theirs]) > 1e-5


@given(data=st.data(), ranges=st.sampled_from(["standard", "wide"]))
@settings(max_examples=15, deadline=None)
def test_any_choices_are_written_with_what_is_not_the_same(data: Any, ranges: Any) -> None:
    policy = Policy(num_ops=1, ranges=ranges, operations=data.draw(lists_of_choices(ranges)))
    document = json.loads(made(policy, FORM, approximate=True).text)
    (drawn,) = document["transform"]["transforms"]
    assert len(drawn["transforms"]) == len(policy.operations)
    assert all(0 < one["p"] <= 1 for one in drawn["transforms"])


def near(text: str) -> Any:
    """A document whose numbers are rounded."""
    return json.loads(text, parse_float=lambda number: round(float(number), 6) + 0.0)


@st.composite
def said_exactly(draw: Any) -> dict[str, Any]:
    """A choice that the transforms can say without steps."""
    name = draw(st.sampled_from(sorted(set(NODES) - {"affine", "perspective", "crop"})))
    own: dict[str, Any] = {"name": name, "probability": draw(st.sampled_from([0.0, 0.25, 1.0]))}
    if OPERATIONS[name].standard is not None:
        low, high = OPERATIONS[name].limits("standard")
        numbers = st.floats(low, high).map(lambda end: round(end, 3))
        # What changes nothing is the same for many operations.
        numbers = numbers.filter(lambda end: end != OPERATIONS[name].identity)
        ends = sorted(draw(st.tuples(numbers, numbers)))
        own["value"] = ends if name in EVEN and draw(st.booleans()) else ends[0]
        if OPERATIONS[name].signed:
            own["signed"] = draw(st.booleans())
    return own


@given(
    choices=st.lists(
        st.tuples(st.lists(said_exactly(), min_size=1, max_size=3), st.sampled_from([0.5, 1, 3])), min_size=1
    ),
    num_ops=st.integers(1, 3),
)
@settings(max_examples=30, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_choices_that_it_says_exactly_come_back(choices: Any, num_ops: int) -> None:
    operations = [
        {"sequence": owns, "weight": weight} if len(owns) > 1 else owns[0] | {"weight": weight}
        for owns, weight in choices
    ]
    policy = Policy(num_ops=num_ops, operations=operations)
    text = made(policy, FORM, approximate=True).text
    again = read(text).policy
    assert near(made(again, FORM, approximate=True).text) == near(text)
    assert (again.num_ops, len(again.operations)) == (num_ops, len(operations))


def test_ready_policies_come_back_as_they_draw() -> None:
    policy = Policy.named("autoaugment-imagenet")
    again = read(made(policy, FORM, approximate=True).text).policy
    size = Size(224, 320)
    theirs, ours = drawn(again, 4000, size), drawn(policy, 4000, size)
    # A colour moved by nothing is read as a brightness moved by nothing.
    moved = [
        [[one for one in each if one[1] or OPERATIONS[one[0]].standard is None] for each in draws]
        for draws in (theirs, ours)
    ]
    rounded = [[tuple((name, round(value, 3)) for name, value in each) for each in draws] for draws in moved]
    assert agree(*rounded) > 1e-4


def test_a_pipeline_of_someone_elses_is_read_where_a_policy_can_say_it() -> None:
    nodes = [
        {"__class_fullname__": "HorizontalFlip", "p": 0.5},
        {
            "__class_fullname__": "OneOf",
            "p": 1.0,
            "transforms": [
                {"__class_fullname__": "Affine", "p": 0.5, "rotate": [-15, 15], "interpolation": 1}
                | {"border_mode": 0, "fill": [0, 0, 0]},
                {"__class_fullname__": "ColorJitter", "p": 1, "brightness": [0.8, 1.2]}
                | {"contrast": [1, 1], "saturation": [1, 1], "hue": [0, 0]},
            ],
        },
    ]
    policy = read(json.dumps({"transform": {"__class_fullname__": "Compose", "transforms": nodes}})).policy
    rotate, brightness = policy.operations
    assert (policy.flip_horizontal, policy.num_ops, policy.interpolation) == (0.5, 1, "bilinear")
    assert (rotate.name, rotate.value, rotate.weight) == ("rotate", (-15, 15), 0.5)  # type: ignore[union-attr]
    assert brightness.value == pytest.approx((-0.2, 0.2))  # type: ignore[union-attr]


def test_what_the_libraries_save_again_is_read_as_the_same_policy(library: dict[str, Any]) -> None:
    for policy, saved in zip((USUAL, PARTS), library["saved"], strict=True):
        again = read(saved).policy
        assert again == policy.model_copy(
            update={"operations": again.operations} if not again.num_ops else {}
        )


def test_resized_crops_keep_parts_as_often_and_erasing_is_as_frequent(library: dict[str, Any]) -> None:
    assert library["shapes"] == [[224, 224, 3]]
    places = np.zeros((200, 200, 3), np.uint8)
    places[..., 0], places[..., 1] = np.arange(200), np.arange(200)[:, None]
    images = np.repeat(places[None], 3000, axis=0)
    whole = PARTS.model_copy(update={"erasing": None}).augment(images, np.random.default_rng(0))
    ours = [np.ptp(image[..., :2], axis=(0, 1)) // 20 for image in whole]
    # Where the border of a part was erased, the part looks smaller than it is.
    theirs = [
        np.array(each) // 20 for each, out in zip(library["kept"], library["erased"], strict=True) if not out
    ]
    assert agree([tuple(each) for each in ours], [tuple(each) for each in theirs]) > 1e-5
    shares = np.array(library["erased"])
    assert (shares > 0).mean() == pytest.approx(ERASING.probability, abs=0.05)  # five standard deviations
    assert shares[shares > 0].min() > 0.015
    assert 0.15 < shares.max() < 0.21


def read(text: str) -> Read:
    assert FORM.read
    return FORM.read(text)


@example(policy=Policy(num_ops=1, magnitude=0, operations=("shear_y",)))
@given(policy=any_policy)
@settings(max_examples=8, deadline=None)
def test_what_is_written_is_read_as_one_that_is_written_the_same(policy: Policy) -> None:
    kept = tuple(name for name in policy.operations if NEAR.get(name) != LEFT_OUT) or ("identity",)
    policy = policy.model_copy(update={"operations": kept, "mixing": None})
    written = made(policy, FORM, approximate=True)
    again = read(FORM.head(written.text, ["A head."])).policy
    assert made(again, FORM, approximate=True).text == written.text
    assert again.num_ops == policy.num_ops
    assert {name: getattr(again, name) for name in ("crop", "flip_horizontal", "quarter_turns")} == {
        name: getattr(policy, name) for name in ("crop", "flip_horizontal", "quarter_turns")
    }


@pytest.mark.parametrize(
    "policy",
    [
        *(USUAL, TRIVIALAUGMENT, Policy(num_ops=0, flip_vertical=0.25), PARTS),
        USUAL.model_copy(update={"resized_crop": ResizedCrop(), "erasing": Erasing(), "crop": 0.0}),
        Policy(num_ops=0, erasing=Erasing(largest=0.01 + SMALLEST_ERASED), fill=(1, 2, 3)),
    ],
)
def test_usual_policies_come_back_as_they_were(policy: Policy) -> None:
    again = read(made(policy, FORM, approximate=True).text).policy
    assert again == (policy if policy.num_ops else policy.model_copy(update={"operations": again.operations}))


@pytest.mark.parametrize(
    "choices",
    [
        [{"name": "invert", "weight": 9}, {"name": "grey"}],
        [{"name": "rotate", "magnitude": 9, "weight": 3}, {"name": "contrast", "magnitude": 9, "weight": 1}],
    ],
)
def test_weights_come_back(choices: list[dict[str, Any]]) -> None:
    policy = Policy.model_validate({"num_ops": 1, "operations": choices})
    again = read(made(policy, FORM).text).policy
    found: list[Any] = list(again.operations)
    weights = [one.weight for one in found]
    assert [one.name for one in found] == [one["name"] for one in choices]
    assert weights[0] / weights[1] == pytest.approx(choices[0]["weight"] / choices[1].get("weight", 1))


def test_what_it_cannot_say_is_refused_by_name() -> None:
    with pytest.raises(
        UserError, match=r"shear x: within a pixel .*; crop: shifted evenly .*; --approximate"
    ):
        made(USUAL, FORM)
    with pytest.raises(UserError, match=r"cutmix: left out"):
        made(Policy(num_ops=0, mixing=Mixing(kind="cutmix")), FORM)
    assert made(Policy(operations=("rotate", "invert")), FORM).differences == ()


WHOLE = made(Policy(num_ops=2, magnitude=9, operations=("rotate", "invert"), flip_horizontal=0.5), FORM).text


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("InvertImg", "Blur", "transform 2: Blur is nothing that a policy can say"),
        ("HorizontalFlip", "RandomCrop", "transform 1: RandomCrop is nothing"),
        ('"HorizontalFlip", "p": 0.5', '"HorizontalFlip", "p": 2', "flip_horizontal must be ≤ 1, got 2"),
        ('"HorizontalFlip", "p": 0.5', '"HorizontalFlip", "p": "x"', "transform 1: p must be a number"),
        ('"rotate": [9.0, 9.0]', '"rotate": [8.5, 8.5]', "OneOf is nothing that a policy can say"),
        ('"border_mode": 0', '"border_mode": 1', "border_mode or fill is none that a policy can say"),
        ('"transforms": [', '"transforms": 3, "x": [', "has no list of transforms"),
        ("{", "[", "not valid JSON"),
        (
            '"Compose", "p": 1.0',
            '"OneOf", "p": 1.0',
            "OneOf: the whole must be a Compose that is always",
        ),
        ('"Compose", "p": 1.0', '"Compose", "p": 0.5', "Compose: the whole must be a Compose that is always"),
    ],
)
def test_what_a_policy_cannot_say_is_refused_in_one_line(old: str, new: str, line: str) -> None:
    assert old in WHOLE
    with pytest.raises(UserError, match=line) as caught:
        read(WHOLE.replace(old, new))
    assert len(str(caught.value).splitlines()) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["transform", "transforms", "p", "__class_fullname__", "fill"]), inner
        )
    ),
    max_leaves=8,
)


@given(value=json_values, place=st.integers(0, 200), text=st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_json_is_a_policy_or_one_line(value: Any, place: int, text: str) -> None:
    small = WHOLE.replace('"OneOf"', json.dumps(value), 1)
    for one in (text, json.dumps(value), json.dumps({"transform": {"transforms": value}}), small):
        assert_policy_or_line(read, one)
    assert_policy_or_line(read, WHOLE[:place] + text + WHOLE[place:])


def test_a_resized_crop_is_said_and_erasing_comes_near() -> None:
    cropped = made(Policy(num_ops=0, resized_crop=ResizedCrop()), FORM)
    assert cropped.differences == ()
    assert cropped.notes[-1].startswith("the resized crop makes squares of 224 pixels")
    with pytest.raises(UserError, match="erasing: rectangles of drawn ratios"):
        made(Policy(num_ops=0, erasing=Erasing()), FORM)


def test_parts_are_enlarged_before_all_else_and_erased_after_it() -> None:
    document = json.loads(
        made(PARTS.model_copy(update={"flip_horizontal": 0.5}), FORM, approximate=True).text
    )
    crop, flip, erasing = document["transform"]["transforms"]
    for nodes, refused in (
        ([flip, crop], "transform 2: RandomResizedCrop is nothing"),
        ([erasing, flip], "transform 1: Erasing is nothing"),
        ([crop | {"p": 0.5}, flip], "transform 1: RandomResizedCrop is nothing"),
        ([crop | {"scale": [0.3, 0.9]}, flip], "transform 1: RandomResizedCrop is nothing"),
        ([flip, erasing | {"fill": "random"}], "transform 2: Erasing is nothing"),
    ):
        document["transform"]["transforms"] = nodes
        with pytest.raises(UserError, match=refused):
            read(json.dumps(document))
    document["transform"]["transforms"] = [crop | {"size": [160, 192]}, flip]
    assert read(json.dumps(document)).policy.resized_crop == PARTS.resized_crop
