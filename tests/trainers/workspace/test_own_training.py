"""How a training of the user's own is known again: alike in every process, and never as another one."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from augsearch.policies import UserError
from augsearch.trainers.system.hashing import hex_hash
from augsearch.trainers.workspace.own_training import function_of, is_importable, own_training


def train(data: Any, policy: Any, seed: int, rate: float = 0.1) -> Any: ...


def deeper(data: Any, policy: Any, seed: int, depth: int = 3) -> Any: ...


def made(held: Any) -> Callable[..., Any]:
    def train_fold(data: Any, policy: Any, seed: int) -> Any:
        return held

    return train_fold


def made_by_default(rate: float) -> Callable[..., Any]:
    def train_fold(data: Any, policy: Any, seed: int, rate: float = rate) -> Any: ...

    return train_fold


def decorated(rate: float) -> Callable[..., Any]:
    @functools.wraps(train)
    def train_fold(*given: Any) -> Any:
        return train(*given, rate=rate)

    return train_fold


class Trainer:
    """A training with a state."""

    def __init__(self, **state: Any) -> None:
        vars(self).update(state)

    def __call__(self, data: Any, policy: Any, seed: int) -> Any: ...

    def fit(self, data: Any, policy: Any, seed: int) -> Any: ...


def around_itself(rate: float) -> Callable[..., Any]:
    held: list[Any] = [rate]
    held.append(held)
    return made(held)


TWINS: dict[str, Callable[[float], Callable[..., Any]]] = {
    "partial": lambda rate: functools.partial(train, rate=rate),
    "partial of a partial": lambda rate: functools.partial(functools.partial(train, seed=1), rate=rate),
    "closure": made,
    "default": made_by_default,
    "decorated": decorated,
    "instance": lambda rate: Trainer(rate=rate),
    "method": lambda rate: Trainer(rate=rate).fit,
    "function in a closure": lambda rate: made(functools.partial(train, rate=rate)),
    "lists and dictionaries": lambda rate: made({"rates": [rate, (1, 2)]}),
    "set": lambda rate: made({"a", "b", "c", rate}),
    "array": lambda rate: made(np.full(5, rate)),
    "object": lambda rate: made(SimpleNamespace(rate=rate)),
    "random numbers": lambda rate: made(np.random.default_rng(int(100 * rate))),
    "what holds itself": around_itself,
}


@pytest.mark.parametrize("made_of", TWINS.values(), ids=TWINS)
def test_one_that_holds_something_else_is_another(made_of: Callable[[float], Callable[..., Any]]) -> None:
    one, same, other = (own_training(made_of(rate)) for rate in (0.1, 0.1, 0.2))
    assert one == same
    assert one.function == other.function
    assert one.code != other.code
    assert not is_importable(one)


def test_partials_of_different_functions_are_different() -> None:
    first, second = own_training(functools.partial(train)), own_training(functools.partial(deeper))
    assert first.function.endswith("test_own_training:train")
    assert first != second
    assert first != own_training(train)


def test_functions_that_are_held_are_told_apart() -> None:
    codes = {own_training(made(held)).code for held in (np.sin, np.cos, len, np, Trainer, train, None)}
    assert len(codes) == 7


def test_a_plain_function_is_known_by_its_source_alone_as_ever() -> None:
    source = b"def train(data: Any, policy: Any, seed: int, rate: float = 0.1) -> Any: ...\n"
    assert own_training(train).code == hex_hash(source, size=6)
    without = own_training(Trainer())
    assert without.code != own_training(Trainer(rate=0.1)).code


def test_each_is_called_by_what_it_is_known_by() -> None:
    functions = [made(0.1), made(0.2), functools.partial(train, rate=0.1), functools.partial(train, rate=0.2)]
    for own, function in [(own_training(function), function) for function in functions]:
        assert function_of(own) is function


def test_a_function_that_notes_what_it_is_given_stays_the_same() -> None:
    notes: list[int] = []
    function = made(notes)
    before = own_training(function)
    notes.append(1)
    assert own_training(function) == before


@pytest.mark.parametrize("held", [threading.Lock(), (number for number in ())], ids=["lock", "generator"])
def test_what_cannot_be_told_from_another_is_refused_in_one_line(held: Any) -> None:
    for given in (
        made(held),
        Trainer(lock=held),
        Trainer(lock=held).fit,
        functools.partial(train, rate=held),
    ):
        with pytest.raises(
            UserError, match=r"^train_fold .* holds an instance of \w+\.\w+, which can't"
        ) as said:
            own_training(given)
        assert "\n" not in str(said.value)


def test_objects_that_all_know_each_other_are_told_at_once() -> None:
    """Of 60 there are more ways through than could ever be walked."""
    crowd = [SimpleNamespace(others=[]) for _ in range(60)]
    for one in crowd:
        one.others = crowd
    assert own_training(made(crowd)) == own_training(made(crowd))


def test_another_process_knows_it_as_the_same(tmp_path: Path) -> None:
    (tmp_path / "of_mine.py").write_text(
        "import functools\n"
        "import torch\n"
        "from augsearch.trainers.workspace.own_training import own_training\n"
        "class Trainer:\n"
        "    def __init__(self, held):\n"
        "        self.held = held\n"
        "    def __call__(self, data, policy, seed):\n"
        "        pass\n"
        "def made(held):\n"
        "    return lambda data, policy, seed: held\n"
        "torch.manual_seed(0)\n"
        "held = {'names': {'ant', 'bee', 'cat', 'dog'}, 'layer': torch.nn.Linear(2, 3), 'function': made}\n"
        "for function in (Trainer(held), made(held), functools.partial(made, held)):\n"
        "    print(own_training(function))\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "of_mine.py"], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(3)
    }
    assert len(found) == 1
    assert len(set(found.pop().splitlines())) == 3
