"""A final training on a machine that has none of the driver's files: the same score, from what was sent."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augsearch.policies import Distillation, Policy, PolicyFile, Semi, Training, Transfer
from augsearch.policies.regions import ResizedCrop
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.splits import Splits, split
from augsearch.trainers.data.unlabeled import dataset
from augsearch.trainers.data.unlabeled.dataset import HowOpened, open_unlabeled
from augsearch.trainers.data.views import Decoded, OnDisk
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.saved import save_model
from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan, SelectionSet
from augsearch.trainers.tasks.final_score import train_and_score
from augsearch.trainers.tasks.inputs import spec_for
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.workspace.apart import told_apart
from augsearch.trainers.workspace.candidate import ProxySettings
from augsearch.trainers.workspace.folder import Workspace, write_workspace
from augsearch.trainers.workspace.manifest import pack
from augsearch.trainers.workspace.node_cache import materialise

SIDE = 20
CROPPED = Policy(num_ops=1, magnitude=5, resized_crop=ResizedCrop(smallest=0.5))
TAUGHT = Training(
    distillation=Distillation(temperature=2, alpha=0.5, teacher_view="clean"),
    transfer=Transfer(mode="full"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Photos of three colours, 40 by 30 pixels, and some without a label."""
    rng = np.random.default_rng(0)
    for number in range(66):
        colour = np.eye(3)[number % 3] * 60 + rng.normal(90, 40, (30, 40, 3))
        folder = "unlabeled" if number >= 54 else ("red", "green", "blue")[number % 3]
        path = tmp_path / "driver" / "photos" / folder / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colour.clip(0, 255).astype(np.uint8)).save(path)
    return tmp_path / "driver"


@pytest.fixture
def studied(root: Path) -> tuple[Workspace, Splits]:
    data = open_images(str(root / "photos"), image_size=8, cache=root / "cache")
    splits = split(data.labels, data.given, classes=data.classes, seed=0)
    proxy = ProxySettings(model="tiny", epochs=1, fold_size=20, seed=3, device="cpu", teacher="self")
    return write_workspace(root / "work", data, splits, proxy), splits


def job_on(workspace: Workspace, splits: Splits, root: Path, pixels: OnDisk | Decoded) -> FinalJob:
    """Under a teacher that is trained, from weights that were given."""
    model = root / "start.safetensors"
    spec = spec_for(workspace, "tiny")
    save_model(build_model(spec, seed=1), spec, model, {})
    labels = workspace.data.labels
    return FinalJob(
        workspace.folder,
        PolicyFile(policy=CROPPED, training=TAUGHT),
        FinalPlan(model=str(model), weights=str(model), recipe=Recipe(epochs=2, precision="float32")),
        pixels,
        splits.train,
        workspace.folder / "final models" / "one.safetensors",
        selection=SelectionSet(pixels, splits.validation, labels[splits.validation]),
        seed=5,
    )


def photos(workspace: Workspace, root: Path, **kept: Path) -> OnDisk:
    return OnDisk([root / "photos" / file for file in workspace.data.files], SIDE, 3, **kept)


def held_out(job: FinalJob, workspace: Workspace, splits: Splits) -> SelectionSet:
    return SelectionSet(job.pixels, splits.confirmation, workspace.data.labels[splits.confirmation])


def sent_to(home: Path, job: FinalJob, scored: SelectionSet) -> tuple[FinalJob, SelectionSet]:
    """What a worker of a machine is given that has no more than what was sent to it."""
    apart, files = told_apart((job, scored))
    packed = pack(job.workspace)

    def read(file: object) -> Iterator[bytes]:
        content = packed.contents[file.key]  # type: ignore[attr-defined]
        yield content if isinstance(content, bytes) else content.read_bytes()

    folder = materialise(packed.manifest, home, read)
    for name, path in files.items():
        place = folder / "needed" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    sent = pickle.dumps(apart)
    job.workspace.parent.rename(job.workspace.parent.with_name("hidden"))
    there, scored_there = pickle.loads(sent).arguments(folder, folder / "needed")
    return there, scored_there


def test_the_score_is_the_same_where_only_what_was_sent_is_left(
    studied: tuple[Workspace, Splits], root: Path, tmp_path: Path
) -> None:
    workspace, splits = studied
    job = job_on(workspace, splits, root, photos(workspace, root, kept_in=root / "cache"))
    scored = held_out(job, workspace, splits)
    here = train_and_score(job, scored, "log-loss")
    there = train_and_score(*sent_to(tmp_path / "home", job, scored), "log-loss")
    unlike = {"seconds": 0.0}
    assert there.to_json() | unlike == here.to_json() | unlike
    assert list((tmp_path / "home").rglob("kept/photos-*"))


def test_no_more_travels_than_is_read_and_nothing_of_the_test_part(
    studied: tuple[Workspace, Splits], root: Path
) -> None:
    workspace, splits = studied
    pixels = photos(workspace, root)
    job = job_on(workspace, splits, root, pixels)
    _, files = told_apart((job, held_out(job, workspace, splits)))
    read = [*splits.train, *splits.validation, *splits.confirmation]
    given = [root / "start.safetensors", root / "start.json"]
    assert len(splits.test)
    assert sorted(files.values()) == sorted([*(pixels.paths[row] for row in read), *given])


@pytest.mark.parametrize("decoded", [True, False])
def test_images_without_labels_go_along(
    studied: tuple[Workspace, Splits],
    root: Path,
    tmp_path: Path,
    decoded: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace, splits = studied
    if not decoded:
        monkeypatch.setattr(dataset, "MOST_DECODED", 0)
    source, cache = str(root / "photos"), root / "cache"
    large = open_images(source, image_size=SIDE, cache=cache)
    how = HowOpened(side=SIDE)
    found = open_unlabeled(source, workspace.data, splits, folder=None, cache=cache, how=how)
    assert found is not None
    assert isinstance(found.pixels, Decoded if decoded else OnDisk)
    semi = Semi.model_validate({"technique": "fixmatch"})
    job = replace(
        job_on(workspace, splits, root, Decoded(large.images)),
        file=PolicyFile(policy=CROPPED, training=Training(semi=semi)),
        plan=FinalPlan(model="tiny", recipe=Recipe(epochs=2, precision="float32")),
        unlabeled=found,
    )
    scored = held_out(job, workspace, splits)
    here = train_and_score(job, scored, "log-loss")
    far = sent_to(tmp_path / "home", job, scored)
    there = train_and_score(*far, "log-loss")
    unlike = {"seconds": 0.0}
    assert there.to_json() | unlike == here.to_json() | unlike
    assert far[0].unlabeled is not None
    assert far[0].unlabeled.files(3) == "image 3"
