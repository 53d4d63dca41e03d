"""A final model scored on held-out images: by its best epoch, taken up where it stopped, seed by seed."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from augsearch.policies import Policy, PolicyFile
from augsearch.trainers.data.splits import Splits
from augsearch.trainers.data.views import Decoded
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.evaluation.metrics import METRICS, score
from augsearch.trainers.models.saved import load_model
from augsearch.trainers.tasks.final import train_final
from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan, SelectionSet
from augsearch.trainers.tasks.final_score import train_and_score
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.workspace.folder import Workspace, write_workspace

if TYPE_CHECKING:
    from tests.trainers.conftest import Source


@pytest.fixture(scope="module")
def workspace(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return source.study(tmp_path_factory.mktemp("scored"))


def job_of(workspace: Workspace, path: Path, seed: int | None = 5) -> FinalJob:
    pixels = Decoded(workspace.data.images)
    rows = workspace.validation
    return FinalJob(
        workspace.folder,
        PolicyFile(policy=Policy(num_ops=1, magnitude=5)),
        FinalPlan(model="tiny", recipe=Recipe(epochs=2, precision="float32")),
        pixels,
        workspace.train,
        path,
        selection=SelectionSet(pixels, rows, workspace.data.labels[rows]),
        seed=seed,
    )


def held_out(workspace: Workspace) -> SelectionSet:
    rows = workspace.confirmation
    return SelectionSet(Decoded(workspace.data.images), rows, workspace.data.labels[rows])


@pytest.mark.parametrize("metric", METRICS)
def test_the_score_is_that_of_the_model_it_leaves(workspace: Workspace, tmp_path: Path, metric: str) -> None:
    job = job_of(workspace, tmp_path / "model.safetensors")
    # As an engine hands it to a worker.
    result = train_and_score(*pickle.loads(pickle.dumps((job, held_out(workspace), metric))))
    model, _ = load_model(job.path)
    rows = workspace.confirmation
    logits = predict(model, workspace.data.images[rows], torch.device("cpu"))
    known = score(logits, workspace.data.labels[rows])
    assert result.accuracy == known.accuracy
    assert result.log_loss == pytest.approx(known.log_loss)
    assert (result.correct == known.correct).all()
    assert result.score == METRICS[metric].score(known)
    assert result.by_image.mean() == pytest.approx(result.score, abs=2e-3)  # kept as float16
    assert result.images == 2 * len(workspace.train)


def test_images_that_belong_together_are_told_of(workspace: Workspace, tmp_path: Path) -> None:
    job, data = job_of(workspace, tmp_path / "model.safetensors"), workspace.data
    assert train_and_score(job, held_out(workspace), "accuracy").groups is None
    groups = np.arange(len(data.labels)) // 3
    grouped = replace(data, cache=tmp_path / "grouped")
    shutil.copytree(data.cache, grouped.cache)
    np.save(grouped.cache / "groups.npy", groups)
    nothing = np.empty(0, np.int64)
    splits = Splits(workspace.train, workspace.validation, workspace.confirmation, nothing, nothing)
    there = write_workspace(tmp_path / "work", grouped, splits, workspace.proxy)
    own = replace(job, workspace=there.folder, path=tmp_path / "other.safetensors")
    found = train_and_score(own, held_out(workspace), "accuracy").groups
    assert found is not None
    expected = groups[workspace.confirmation]
    np.testing.assert_array_equal(found[:, None] == found, expected[:, None] == expected)
    # Of other images than the confirmation's nothing is said: their groups are not known here.
    others = SelectionSet(job.pixels, workspace.confirmation[1:], data.labels[workspace.confirmation[1:]])
    assert train_and_score(own, others, "accuracy").groups is None


def test_a_training_that_stopped_goes_on_with_the_same_result(workspace: Workspace, tmp_path: Path) -> None:
    whole = train_and_score(
        job_of(workspace, tmp_path / "whole.safetensors"), held_out(workspace), "log-loss"
    )
    stopped = job_of(workspace, tmp_path / "stopped.safetensors")
    torch.set_num_threads(1)
    events = train_final(stopped)
    next(events)
    events.close()
    assert stopped.checkpoint.exists()
    result = train_and_score(stopped, held_out(workspace), "log-loss")
    assert result.log_loss == whole.log_loss
    assert result.images == whole.images
    assert not stopped.checkpoint.exists()


def test_another_seed_is_another_training_and_none_is_the_workspaces(
    workspace: Workspace, tmp_path: Path
) -> None:
    job = job_of(workspace, tmp_path / "model.safetensors", seed=None)
    same = replace(job, seed=workspace.proxy.seed)
    other = replace(job, seed=workspace.proxy.seed + 1)
    assert job.seeds() == same.seeds() != other.seeds()
    assert len({job.key(), same.key(), other.key()}) == 3
    first = train_and_score(same, held_out(workspace), "log-loss")
    second = train_and_score(
        replace(other, path=tmp_path / "other.safetensors"), held_out(workspace), "log-loss"
    )
    assert not np.isclose(first.log_loss, second.log_loss, rtol=1e-6)
