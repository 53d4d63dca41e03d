"""The registry: an operation is one decorated function, and joins what it says and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from torchvision.transforms import v2

from augsearch.policies import OPERATION_SETS, OPERATIONS, RANDAUGMENT, Policy
from augsearch.policies.effects import IDENTITY_ENTRIES, Table
from augsearch.policies.registry import OperationSet, operation

every_operation = pytest.mark.parametrize("name", OPERATIONS)


@every_operation
def test_every_operation_says_in_which_sets_it_is_and_is_in_no_other(name: str) -> None:
    sets = OPERATIONS[name].sets
    assert sets
    assert sets == ("basic",) or set(sets) == {one for one, names in OPERATION_SETS.items() if name in names}
    assert [one for one in get_args(OperationSet) if one in sets] == list(sets)


@every_operation
def test_every_operation_knows_its_place_and_name(name: str) -> None:
    assert list(OPERATIONS)[OPERATIONS[name].index] == OPERATIONS[name].name == name


@pytest.mark.parametrize("name", OPERATION_SETS)
def test_a_set_has_its_operations_once_and_in_the_order_of_declaration(name: str) -> None:
    assert list(OPERATION_SETS[name]) == [one for one in OPERATIONS if one in OPERATION_SETS[name]]


def test_randaugment_is_exactly_the_fourteen_operations_of_torchvision_in_their_order() -> None:
    theirs = [*v2.RandAugment()._AUGMENTATION_SPACE]
    assert ["".join(word.capitalize() for word in name.split("_")) for name in RANDAUGMENT] == theirs
    assert len(RANDAUGMENT) == 14
    assert OPERATION_SETS["randaugment"] == RANDAUGMENT == Policy().operations


def test_the_registry_keeps_its_order_on_which_draws_depend() -> None:
    order = (
        *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color"),
        *("contrast", "sharpness", "posterize", "solarize", "auto_contrast", "equalize", "invert"),
        *("brightness_shift", "gamma", "hue", "channel_shuffle", "grey", "gaussian_blur", "zoom_in"),
        *("zoom_out", "cutout", "flip_horizontal", "flip_vertical", "rotate_90", "rotate_180", "rotate_270"),
        *("crop", "affine", "perspective"),
    )
    assert tuple(OPERATIONS)[: len(order)] == order


def declare(name: str, **arguments: Any) -> None:
    def invented() -> Table:
        """Do nothing."""
        return Table(IDENTITY_ENTRIES)

    invented.__name__ = name
    operation("table", **arguments)(invented)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("invented", {}, TypeError, "sets"),
        ("invented", {"sets": ()}, ValueError, "sets must be some of randaugment, .* got none"),
        ("invented", {"sets": ("color", "wide")}, ValueError, "sets must be some of .* got color$"),
        ("rotate", {"sets": ("wide",)}, ValueError, "there is an operation rotate already"),
    ],
)
def test_a_declaration_that_can_not_be_meant_changes_nothing(
    name: str, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = dict(OPERATIONS), dict(OPERATION_SETS)
    with pytest.raises(error, match=message):
        declare(name, **arguments)
    assert before == (OPERATIONS, OPERATION_SETS)


TOY = """
import sys

import numpy as np

from augsearch.policies import OPERATION_SETS, OPERATIONS, RANDAUGMENT, Policy, PolicyFile, write_policy
from augsearch.policies.effects import IDENTITY_ENTRIES, Table
from augsearch.policies.registry import Range, operation

images = np.full((4, 8, 8, 3), 200, np.uint8)
wide = OPERATION_SETS["wide"]
rotate = Policy(operations=("rotate",)).augment(images, np.random.default_rng(0))  # before it is declared


@operation("table", Range(0, 60), unit="grey levels", identity=0, sets=("wide", "colour"))
def darken(levels: float) -> Table:
    \"\"\"Subtract as many grey levels.\"\"\"
    return Table(np.maximum(IDENTITY_ENTRIES.astype(int) - int(levels), 0).astype(np.uint8))


assert OPERATIONS["darken"].sets == ("colour", "wide")
assert OPERATION_SETS["wide"] == (*wide, "darken")
assert OPERATION_SETS["colour"][-1] == "darken"
assert "darken" not in OPERATION_SETS["geometry"] + OPERATION_SETS["randaugment"] + RANDAUGMENT

policy = Policy(num_ops=1, magnitude=30, operations=("darken",))
write_policy(PolicyFile(policy=policy), sys.argv[1])
policy = Policy.load(sys.argv[1])
assert (policy.augment(images, np.random.default_rng(0)) == 140).all()
again = Policy(operations=("rotate",)).augment(images, np.random.default_rng(0))
np.testing.assert_array_equal(again, rotate)

from augsearch.search.cli import main

for command in (["operations"], ["operations", "--json"], ["preview", sys.argv[1], "-o", "sheet.png"]):
    main(command, standalone_mode=False)
"""


def test_an_operation_declared_elsewhere_works_everywhere(tmp_path: Path) -> None:
    """In a process of its own: an operation can't be taken back."""
    command = [sys.executable, "-c", TOY, str(tmp_path / "policy.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = (line for line in done.stdout.splitlines() if line.startswith(" darken"))
    assert row.split() == ["darken", "table", "0", "to", "60", "levels", "c", "w"]
    assert '"summary": "Subtract as many grey levels."' in done.stdout
    assert (tmp_path / "sheet.png").is_file()
