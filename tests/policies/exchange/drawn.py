"""What the tests of exchange share: any policy, real photos, modules loaded as elsewhere."""

from __future__ import annotations

import sys
import types
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from sklearn.datasets import load_sample_image

from augsearch.policies import OPERATIONS, Mixing, Policy, PolicyFile, UserError
from augsearch.policies.backends.opencv.prepared import Image
from augsearch.policies.exchange.form import Form, Read, Written, written

DRAWS = 10_000

shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])
mixings = st.builds(
    Mixing, kind=st.sampled_from(["cutmix", "mixup"]), alpha=st.floats(0.01, 10), probability=st.floats(0, 1)
)
operations = st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, unique=True).map(tuple)
any_policy = st.builds(
    Policy,
    num_ops=st.integers(1, 8),
    magnitude=st.integers(0, 30) | st.just("random"),
    ranges=st.sampled_from(["standard", "wide"]),
    operations=operations,
    crop=shares,
    flip_horizontal=shares,
    flip_vertical=shares,
    quarter_turns=shares,
    mixing=st.none() | mixings,
    interpolation=st.sampled_from(["nearest", "bilinear"]),
    border=st.sampled_from(["fill", "reflect"]),
    fill=st.tuples(*[st.integers(0, 255)] * 3),
)


def photos() -> list[Image]:
    """Parts of scikit-learn's two photos, one of them square."""
    return [
        np.ascontiguousarray(load_sample_image("flower.jpg")[100:164, 250:346]),
        np.ascontiguousarray(load_sample_image("china.jpg")[100:164, 250:314]),
    ]


def made(policy: Policy, form: Form, *, approximate: bool = False) -> Written:
    return written(PolicyFile(policy=policy), form, approximate=approximate)


def loaded(text: str, name: str = "exported") -> Any:
    """The module that an exported text is."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    return module


def agree(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The p of a chi-squared test that two samples of anything hashable are of one distribution."""
    first, second = Counter(ours), Counter(theirs)
    keys = sorted(first | second, key=repr)
    table = np.array([[first[key] for key in keys], [second[key] for key in keys]])
    rare = table.sum(axis=0) < 10
    if rare.any():
        table = np.column_stack((table[:, ~rare], table[:, rare].sum(axis=1)))
    return float(chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0


def assert_policy_or_line(read: Callable[[str], Read], text: str) -> None:
    """Any text is a policy, or an error in one line."""
    try:
        found = read(text)
    except UserError as error:
        message = str(error)
    else:
        message = "read"
        assert isinstance(found.policy, Policy)
    assert len(message.splitlines()) == 1
