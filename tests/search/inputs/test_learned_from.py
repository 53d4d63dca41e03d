"""A model that has learned from what others are scored on is found out."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from augsearch.policies import Distillation, Policy, PolicyFile, Training, UserError, write_policy
from augsearch.search.console import Display
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.pipelines.train import train_from_file
from augsearch.search.settings.files import load_settings
from augsearch.search.settings.settings import Settings
from augsearch.trainers.data.content import content_keys
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.learned import Keys, learned_from
from augsearch.trainers.models.saved import save_model
from augsearch.trainers.models.spec import ModelSpec

SPEC = ModelSpec(name="tiny", channels=1, image_size=16, classes=("0", "1", "2"), mean=(128.0,), std=(60.0,))
NOTHING = {"mixing": None, "temperature": None, "alpha": None, "teacher_view": None}
PLAIN = Training()
DISTILS = Training(distillation=Distillation(temperature=2, alpha=0.5))


def told(data: str, **fields: Any) -> Settings:
    return load_settings(None, {"data": data, "teacher": "none", **fields})


def opened(data: str, *, searched: bool = True, **fields: Any) -> tuple[Data, str]:
    said = io.StringIO()
    display = Display(Console(file=said, width=300))
    return open_data(told(data, **fields), display, searched=searched), said.getvalue()


def model_of(keys: Keys | None, path: str = "given.safetensors") -> str:
    """A model that says it has learned from these images."""
    save_model(build_model(SPEC, 0), SPEC, Path(path), {}, keys)
    return path


def keys_of(source: str, data: Data) -> Keys:
    return content_keys(source, data.images)


def trained(data: str, output: str, training: Training = PLAIN, **fields: Any) -> Path:
    """The model that ``augsearch train`` leaves."""
    policy = Path(f"{output}.policy.json")
    write_policy(PolicyFile(policy=Policy(num_ops=0), training=training), policy)
    settings = told(data, final_model="tiny", final_epochs=1, output=Path(output), **fields)
    return Path(train_from_file(settings, policy, NOTHING, Display(Console(file=io.StringIO())))["model"])


def test_a_final_model_says_what_it_has_learned_from(stripes: str) -> None:
    model = trained(stripes, "first")
    data, _ = opened(stripes)
    parts, keys = data.splits, keys_of(stripes, data)
    rows = np.concatenate([parts.train, parts.validation, parts.confirmation])
    said = learned_from(model)
    assert said is not None
    np.testing.assert_array_equal(said, np.sort(keys[rows]))
    assert not np.isin(keys[parts.test], said).any()


def test_the_model_of_an_earlier_run_is_no_teacher_of_a_search_on_the_same_images(stripes: str) -> None:
    model = trained(stripes, "first")
    with pytest.raises(UserError) as caught:
        opened(stripes, teacher=str(model))
    assert str(caught.value) == (
        f"--teacher {model} has learned from 18 of 18 validation images and 18 of 18 confirmation images: "
        "scores on those would flatter; give another teacher, or --teacher self"
    )
    # Neither a copy of the data in another place nor another size hides it.
    copy = shutil.copyfile(stripes, "copy.npz")
    with pytest.raises(UserError, match="18 of 18 validation images"):
        opened(copy, teacher=str(model), image_size=12)
    # Of another division it has learned from test images too.
    with pytest.raises(UserError, match=r"and \d+ of 24 test images"):
        opened(stripes, teacher=str(model), seed=1)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"proxy_model": "given.safetensors", "final_model": "tiny"}, "--proxy-model given"),
        ({"proxy_model": "torchvision:resnet18", "weights": "given.safetensors"}, "--weights given"),
        (
            {"teacher": "torchvision:resnet18", "teacher_weights": "given.safetensors"},
            "--teacher-weights given",
        ),
    ],
)
def test_so_are_weights(stripes: str, flags: dict[str, str], named: str) -> None:
    data, _ = opened(stripes)
    model_of(keys_of(stripes, data)[data.splits.validation])
    with pytest.raises(UserError, match=rf"^{named}.* learned from 18 of 18 validation images: "):
        opened(stripes, **flags)


@pytest.mark.parametrize("flag", ["--final-model", "--first-teacher", "--teacher", "--weights"])
def test_what_the_final_model_starts_from_must_not_know_test_images(stripes: str, flag: str) -> None:
    data, _ = opened(stripes)
    keys, parts = keys_of(stripes, data), data.splits
    field = flag.removeprefix("--").replace("-", "_")
    flags: dict[str, str] = {field: model_of(keys[parts.test[:1]])}
    if flag == "--weights":
        flags["final_model"] = "torchvision:resnet18"
    for searched in (True, False):
        with pytest.raises(UserError, match=rf"^{flag} given.* learned from 1 of 24 test images: "):
            opened(stripes, searched=searched, **flags)
    # Where nothing is searched, the other parts are for training and for the choice of an epoch.
    model_of(keys[np.concatenate([parts.train, parts.validation, parts.confirmation])])
    assert "learned" not in opened(stripes, searched=False, **flags)[1]


def test_policies_are_not_compared_on_a_network_that_knows_the_images(stripes: str) -> None:
    data, _ = opened(stripes)
    model = model_of(keys_of(stripes, data)[data.splits.confirmation])
    with pytest.raises(
        UserError, match=r"18 of 18 confirmation images.*another --final-model, or --final-seeds 0"
    ):
        opened(stripes, final_model=model)
    assert "learned" not in opened(stripes, final_model=model, final_seeds=0)[1]
    with pytest.raises(UserError, match="18 of 18 confirmation images"):
        opened(stripes, final_model=model, final_seeds=0, refine=True)


def test_few_images_are_left_out_and_that_is_said(stripes: str) -> None:
    whole, _ = opened(stripes)
    keys, parts = keys_of(stripes, whole), whole.splits
    known = np.concatenate([parts.train[:9], parts.validation[[2, 11]], parts.confirmation[[0]]])
    model = model_of(keys[known])
    data, said = opened(stripes, teacher=model)
    assert "left out 2 of 18 validation images: --teacher given.safetensors has learned from them" in said
    assert "left out 1 of 18 confirmation images: --teacher given.safetensors has learned from them" in said
    np.testing.assert_array_equal(data.splits.validation, np.delete(parts.validation, [2, 11]))
    np.testing.assert_array_equal(data.workspace.validation, data.splits.validation)
    np.testing.assert_array_equal(data.workspace.confirmation, parts.confirmation[1:])
    np.testing.assert_array_equal(data.splits.train, parts.train)
    np.testing.assert_array_equal(data.splits.test, parts.test)
    # All of a class are too many, even where they are few.
    many = Path("many.npz")
    with np.load(stripes) as arrays:
        np.savez(
            many,
            images=np.concatenate([arrays["images"], 255 - arrays["images"][:8]]),
            labels=np.concatenate([arrays["labels"], [3] * 8]),
        )
    more, _ = opened(str(many))
    label = more.images.labels[more.splits.validation]
    model = model_of(keys_of(str(many), more)[more.splits.validation[label == 3]])
    with pytest.raises(UserError, match=r"has learned from 1 of \d+ validation images: "):
        opened(str(many), teacher=model)


def test_copies_of_what_is_trained_on_here_are_no_secret(stripes: str) -> None:
    with np.load(stripes) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    data, _ = opened(stripes)
    parts = data.splits
    images[parts.test[0]] = images[parts.train[0]]
    labels[parts.test[0]] = labels[parts.train[0]]
    np.savez("copies.npz", images=images, labels=labels)
    again, _ = opened("copies.npz")
    keys = keys_of("copies.npz", again)
    both = set(keys[again.splits.train].tolist()) & set(keys[again.splits.test].tolist())
    assert both
    _, said = opened("copies.npz", teacher=model_of(keys[again.splits.train]))
    assert "learned" not in said


def test_with_a_target_it_is_the_target_that_must_be_new(stripes: str) -> None:
    with np.load(stripes) as arrays:
        np.savez("field.npz", images=255 - arrays["images"][::2], labels=arrays["labels"][::2])
    base, _ = opened(stripes)
    keys = keys_of(stripes, base)
    # An older model of the same images knows nothing of the target.
    known = np.concatenate([base.splits.train, base.splits.validation, base.splits.confirmation])
    aimed, said = opened(stripes, validation=Path("field.npz"), teacher=model_of(keys[known]))
    assert "learned" not in said
    assert aimed.target is not None
    of_target = content_keys("field.npz", aimed.target.data)
    model = model_of(of_target[aimed.target.validation[:2]])
    less, said = opened(stripes, validation=Path("field.npz"), teacher=model)
    assert "left out 2 of 30 validation images" in said
    assert less.target is not None
    np.testing.assert_array_equal(less.target.validation, aimed.target.validation[2:])
    model_of(of_target[aimed.target.confirmation])
    with pytest.raises(UserError, match="has learned from 30 of 30 confirmation images"):
        opened(stripes, validation=Path("field.npz"), teacher=model)


def test_a_model_from_before_is_taken_with_a_warning(stripes: str) -> None:
    _, said = opened(stripes, teacher=model_of(None))
    assert said.startswith(
        "--teacher given.safetensors does not say which images it has learned from (older versions and "
        "export-model leave that out): whether validation or test images are among them can't be checked\n"
    )


def test_weights_from_elsewhere_are_taken_without_a_word(stripes: str) -> None:
    import torch

    torch.save({"weight": torch.zeros(3)}, "given.pth")
    flags = {"proxy_model": "torchvision:resnet18", "weights": "given.pth"}
    assert "given" not in opened(stripes, **flags)[1]


def test_what_a_teacher_knew_its_student_knows(stripes: str) -> None:
    strangers = np.arange(5, dtype=np.uint64)
    teacher = model_of(strangers)
    student = learned_from(trained(stripes, "taught", DISTILS, teacher=teacher))
    plain = learned_from(trained(stripes, "plain"))
    assert student is not None
    assert plain is not None
    np.testing.assert_array_equal(np.setdiff1d(student, plain), strangers)
