"""timm's flags: what timm makes of them, and reading them back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from augsearch.policies import OPERATIONS, TRIVIALAUGMENT, Mixing, Policy, UserError
from augsearch.policies.choices import in_order
from augsearch.policies.exchange.form import Read, forms
from augsearch.policies.exchange.timm_aa import NAMES, ORIGINALS, OTHERWISE, THREE
from augsearch.policies.planner import DrawnOperation
from augsearch.policies.regions import Erasing, ResizedCrop
from tests.policies.exchange.drawn import DRAWS, agree, assert_policy_or_line, made, mixings, photos

FORM = forms()["timm"]
USUAL = Policy(num_ops=2, magnitude=9, crop=1.0, flip_horizontal=0.5)


def read(text: str) -> Read:
    assert FORM.read
    return FORM.read(text)


def flags(policy: Policy) -> dict[str, str]:
    lines = made(policy, FORM, approximate=True).text.splitlines()
    return {line.split()[0]: line.partition(" ")[2] for line in lines}


def timm() -> Any:
    return pytest.importorskip("timm.data", reason="timm is not here; pip install 'augsearch[timm]'")


def test_timm_makes_of_aa_what_the_policy_says() -> None:
    timm()
    from timm.data.auto_augment import rand_augment_transform

    made_of = rand_augment_transform(flags(USUAL)["--aa"], {})
    assert made_of.num_layers == 2
    assert {operation.name for operation in made_of.ops} - {"SolarizeAdd"} == set(NAMES.values())
    assert {(operation.prob, operation.magnitude, operation.magnitude_std) for operation in made_of.ops} == {
        (1.0, 3, 0.0)
    }
    evenly = rand_augment_transform(flags(TRIVIALAUGMENT)["--aa"], {})
    assert (evenly.num_layers, evenly.ops[0].magnitude, evenly.ops[0].magnitude_std) == (1, 10, float("inf"))


def test_its_operations_do_the_same_but_for_those_that_are_named() -> None:
    timm()
    assert FORM.stand_in
    policy = Policy(operations=tuple(NAMES), fill=(128, 128, 128))
    for name in NAMES:
        share = 0.0
        for image in photos():
            for magnitude in (9, 24):
                for negative in (False, True) if OPERATIONS[name].signed else (False,):
                    change = FORM.stand_in(policy, name, magnitude, negative)
                    assert change
                    own = policy.apply((DrawnOperation(name, magnitude, negative, ()),), image)
                    share = max(share, float((np.abs(own.astype(int) - change(image)) > 1).mean()))
        if name in OTHERWISE:
            assert share > 0.001, name
        else:  # of warps, ties between two pixels
            assert share <= {"warp": 0.03}.get(OPERATIONS[name].kind, 0), name


def test_flips_are_made_as_often() -> None:
    data = timm()
    said = flags(Policy(num_ops=0, flip_horizontal=0.25))
    transform = data.create_transform(
        8,
        is_training=True,
        hflip=float(said["--hflip"]),
        vflip=float(said["--vflip"]),
        color_jitter=float(said["--color-jitter"]),
        scale=tuple(map(float, said["--scale"].split())),
        ratio=tuple(map(float, said["--ratio"].split())),
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 0] = 255
    torch.manual_seed(0)
    picture = PILImage.fromarray(image)
    theirs = [bool(transform(picture)[0, 0, 0] < 0.5) for _ in range(2000)]
    policy = Policy(num_ops=0, flip_horizontal=0.25)
    ours = [bool(policy.draw(DRAWS, np.random.default_rng(0)).operations(index)) for index in range(2000)]
    assert agree(ours, theirs) > 0.001


def test_mixing_is_as_timms_mixup_takes_it() -> None:
    data = timm()
    said = flags(Policy(num_ops=0, mixing=Mixing(kind="cutmix", alpha=0.5, probability=0.25)))
    mixup = data.Mixup(
        mixup_alpha=float(said.get("--mixup", 0)),
        cutmix_alpha=float(said["--cutmix"]),
        prob=float(said["--mixup-prob"]),
        num_classes=3,
    )
    assert (mixup.mixup_alpha, mixup.cutmix_alpha, mixup.mix_prob) == (0, 0.5, 0.25)


@given(horizontal=st.floats(0, 1), vertical=st.floats(0, 1), mixing=st.none() | mixings)
@settings(max_examples=40, deadline=None)
def test_what_timm_can_say_comes_back_as_it_was(horizontal: float, vertical: float, mixing: Any) -> None:
    policy = Policy(num_ops=0, flip_horizontal=horizontal, flip_vertical=vertical, mixing=mixing)
    found = read(FORM.head(made(policy, FORM).text, ["A head."]))
    assert found.policy == policy
    assert found.differences == ()


@given(num_ops=st.integers(1, 8), level=st.integers(0, 10))
@settings(max_examples=20, deadline=None)
def test_timms_own_operations_come_back_as_they_were(num_ops: int, level: int) -> None:
    policy = Policy(num_ops=num_ops, magnitude=3 * level, operations=tuple(NAMES))
    found = read(made(policy, FORM, approximate=True).text)
    assert found.policy == policy
    assert {one.what for one in found.differences} == {"SolarizeAdd", *OTHERWISE}


def rands(probability: float, level: int, **strength: Any) -> Policy:
    """timm's operations, each with the same things of its own."""
    return Policy(
        num_ops=3,
        magnitude=3 * level,
        operations=[
            {"name": name, "probability": probability}
            | (strength if OPERATIONS[name].standard is not None else {})
            for name in NAMES
        ],
    )


@given(
    probability=st.integers(0, 100).map(lambda share: share / 100),
    level=st.integers(0, 10),
    spread=st.integers(0, 100).map(lambda share: share / 8),
)
@settings(max_examples=20, deadline=None)
def test_probabilities_and_normal_draws_come_back_as_they_were(
    probability: float, level: int, spread: float
) -> None:
    own: dict[str, Any] = {"magnitude": 3 * level, "sd": 3 * spread} if spread else {}
    policy = rands(probability, level, **own)
    if probability == 1 and not spread:
        policy = policy.model_copy(update={"operations": tuple(NAMES)})
    assert read(made(policy, FORM, approximate=True).text).policy == policy


@pytest.mark.parametrize(
    ("text", "prob", "magnitude", "std"),
    [
        ("rand-m9-mstd0.5-inc1", 0.5, 9, 0.5),
        ("rand-m7-p0.3-mstd101-inc1", 0.3, 7, float("inf")),
        ("rand-m4-n3-p1-mstd2.25-inc1", 1, 4, 2.25),
    ],
)
def test_what_is_read_of_timms_own_strings_is_the_same_to_timm(
    text: str, prob: float, magnitude: int, std: float
) -> None:
    timm()
    from timm.data.auto_augment import rand_augment_transform

    again = flags(read(text).policy)["--aa"]
    for one in (text, again):
        for operation in rand_augment_transform(one, {}).ops:
            said = (operation.prob, operation.magnitude, operation.magnitude_std)
            assert said == pytest.approx((prob, magnitude, std))


@pytest.mark.parametrize("name", ORIGINALS)
def test_timms_autoaugment_is_read_as_it_is(name: str) -> None:
    timm()
    from timm.data.auto_augment import auto_augment_transform

    policy = read(f"--aa {name}").policy
    assert flags(policy)["--aa"] == name
    theirs = auto_augment_transform(name, {"img_mean": (0, 0, 0)}).policy
    names = {"Posterize": "posterize", "Solarize": "solarize", "ShearX": "shear_x"}
    for choice, sub_policy in zip(policy.operations, theirs, strict=True):
        for own, operation in zip(in_order(choice), sub_policy, strict=True):
            known = {value: key for key, value in NAMES.items()}
            short = operation.name.removesuffix("Original").removesuffix("Increasing")
            assert own.name == known.get(operation.name, names.get(short, short.lower()))
            assert own.probability == operation.prob
            values = own.values("standard")
            if values:
                (argument,) = operation.level_fn(operation.magnitude, {})
                around = 1 if short in ("Color", "Contrast", "Sharpness") else 0
                expected = argument / 255 if short == "Solarize" else argument - around
                assert abs(values[0]) == pytest.approx(abs(expected))
                assert own.negated or values[0] == pytest.approx(expected)


def test_ready_policies_are_said_by_their_names_with_what_differs() -> None:
    with pytest.raises(UserError, match=r"magnitudes: in tenths of the range and not in ninths"):
        made(Policy.named("autoaugment-imagenet"), FORM)
    assert flags(Policy.named("autoaugment-imagenet"))["--aa"] == "original"
    three = flags(Policy.named("3-augment"))
    assert (three["--aa"], three["--color-jitter"]) == (THREE, "0.3")
    assert read("--aa 3a --color-jitter 0.3").policy.operations == Policy.named("3-augment").operations
    with pytest.raises(UserError, match=r"timm can't say sequences"):
        made(Policy.named("autoaugment-svhn"), FORM, approximate=True)


@pytest.mark.parametrize(
    "operation",
    [
        {"name": "rotate", "magnitude": (3, 9)},
        {"name": "rotate", "value": 9},
        {"name": "rotate", "magnitude": 9, "weight": 2},
        {"name": "rotate", "magnitude": 9, "sd": 400},
        {"name": "rotate", "magnitude": 9, "signed": False},
        {"name": "rotate", "magnitude": 9, "probability": 0.5},
        {"sequence": ["rotate", "invert"]},
    ],
)
def test_choices_that_timm_has_no_section_for_are_refused(operation: Any) -> None:
    with pytest.raises(UserError, match=r"timm can't say sequences, or operations with a weight"):
        made(Policy(operations=[operation, "color"]), FORM, approximate=True)


def test_what_it_cannot_say_is_named() -> None:
    with pytest.raises(UserError, match=r"operations identity: never drawn; .*SolarizeAdd; .*--approximate"):
        made(USUAL, FORM)
    with pytest.raises(UserError, match=r"magnitude 10: timm's 3, which is 9"):
        made(USUAL.model_copy(update={"magnitude": 10}), FORM)
    with pytest.raises(UserError, match=r"magnitude random: .*wide ranges: the standard ones"):
        made(TRIVIALAUGMENT, FORM)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("rand-m9-mstd0.5-inc1", []),
        ("--aa rand-m9-n3-p1-mstd101-inc1", []),
        ("--hflip 0.5 --reprob 0.25", ["--reprob"]),
        ("--scale 0.08 1.0 --ratio 0.75 1.33", []),
        ("--scale 0.08 0.9 --ratio 0.5 2", ["--scale", "--ratio"]),
        ("--scale 0.6 1.0 --ratio 1 1", ["--scale"]),
        ("--aa=rand-m9-p1", ["inc0"]),
    ],
)
def test_what_a_policy_cannot_say_of_flags_is_named(text: str, what: list[str]) -> None:
    named = [one.what for one in read(text).differences]
    assert [one for one in named if one not in ("SolarizeAdd", *OTHERWISE)] == what


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("--lr 0.1", "--lr is no flag that augsearch import knows"),
        ("--aa v0", "--aa v0: only rand-…, original, originalr and 3a become policies"),
        ("--aa original-m3", "m3 is no section of original"),
        ("--aa rand-w9", "w9 is no section of rand"),
        ("--aa rand-m9-m8", "m8 is no section"),
        ("--aa rand-m11", "m must be a whole number from 0 to 10"),
        ("--aa rand-n99", "num_ops must be ≤ 8, got 99"),
        ("--hflip", "--hflip must be a number, got nothing"),
        ("--hflip x", "--hflip must be a number, got x"),
        ("--scale 0.5", "--scale must be 2 numbers, got 0.5"),
        ("--scale 0.5 1.0 --ratio 1 1 1", "--ratio must be 2 numbers, got 1 1 1"),
        ("--hflip 2", "flip_horizontal must be ≤ 1, got 2"),
        ("--hflip 0.5 --hflip 0.5", "--hflip is there twice"),
        ("--mixup 0.2 --cutmix 1", "--mixup and --cutmix are both on"),
        ("--mixup -1", "--mixup: alpha must be > 0"),
        ("--aa 'rand", "no flags"),
        ("hello", "hello stands before any flag"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        read(text)


pieces = st.sampled_from(
    [
        "--aa",
        "rand-",
        "original",
        "3a",
        "-mstd",
        "-p0.5",
        "m9",
        "-n",
        "inc1",
        "--hflip",
        "--scale",
        " ",
        "=",
        "nan",
        "1e999",
        "-",
        "'",
    ]
)


@given(text=st.lists(pieces | st.text(max_size=4)).map("".join))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_policy_or_one_line(text: str) -> None:
    assert_policy_or_line(read, text)


def test_parts_are_enlarged_as_timm_does_and_what_it_erases_otherwise_is_named() -> None:
    policy = Policy.named("flip-resized-crop").model_copy(update={"resized_crop": ResizedCrop(smallest=0.3)})
    written = made(policy, FORM)
    assert written.differences == ()
    assert "--scale 0.3 1.0\n--ratio 0.75 1.3333333333333333\n" in written.text
    assert read(written.text).policy == policy
    erased = policy.model_copy(update={"erasing": Erasing(probability=0.4)})
    with pytest.raises(UserError, match="erasing: up to a third of the area, filled with the mean colour"):
        made(erased, FORM)
    text = made(erased, FORM, approximate=True).text
    assert "--reprob 0.4 --remode const\n" in text
    assert read(text).policy == erased


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--mixup 0.2", True),
        ("--aa rand-m9-mstd0.5-inc1 --hflip 0.5", True),
        ("--aa rand-m9-mstd0.5-inc1 --hflip 0.5 --scale 0.08 1.0", False),
        ("rand-m9-mstd0.5-inc1", False),
        (made(Policy(num_ops=0, flip_horizontal=0.5), FORM).text, False),
    ],
)
def test_what_timm_does_where_nothing_is_said_is_told(flags: str, told: bool) -> None:
    assert any("mirrors half of the images" in note for note in read(flags).notes) == told
