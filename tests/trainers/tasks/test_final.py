"""The final model: what it is trained on, which epoch is kept, how it goes on, when the test part is read."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from augsearch.policies import Distillation, Mixing, Policy, PolicyFile, Semi, Training, Transfer, UserError
from augsearch.policies.regions import ResizedCrop
from augsearch.trainers.data.dataset import ImageData, Progress, Split
from augsearch.trainers.data.splits import Splits, split
from augsearch.trainers.data.unlabeled.dataset import Unlabeled, open_unlabeled
from augsearch.trainers.data.views import Decoded, OnDisk, Pixels
from augsearch.trainers.evaluation import inference
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.evaluation.metrics import METRICS, Scores, TrainingDivergedError, score
from augsearch.trainers.models.saved import load_model
from augsearch.trainers.semi import labeling as labelers
from augsearch.trainers.semi.labeler import Labeling
from augsearch.trainers.tasks import final as finals
from augsearch.trainers.tasks.final import FinalEpoch, FinalModel, train_final
from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan, SelectionSet, final_training_part
from augsearch.trainers.tasks.teacher import final_teacher
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.workspace.folder import Workspace
from tests.finished import finish
from tests.trainers.choice import chosen_of

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

CPU = torch.device("cpu")
CLASSES = ("cat", "cow", "dog", "hen", "pig")
PLAIN = PolicyFile(policy=Policy(num_ops=0))
MIXED = PolicyFile(policy=Policy(num_ops=1, magnitude=5, crop=0.5, mixing=Mixing(kind="cutmix")))


@pytest.fixture(scope="module")
def plain(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The study that others are compared with."""
    return source.study(tmp_path_factory.mktemp("plain"), teacher="tiny")


@pytest.fixture(scope="module")
def with_teacher(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A study with a teacher."""
    return source.study(tmp_path_factory.mktemp("taught"), teacher="tiny")


def plan_of(epochs: int = 2, patience: int | None = None, **recipe: Any) -> FinalPlan:
    return FinalPlan(model="tiny", patience=patience, recipe=Recipe(epochs=epochs, **recipe))


def start(
    workspace: Workspace,
    splits: Splits,
    path: Path,
    file: PolicyFile = PLAIN,
    epochs: int = 2,
    limit: int | None = None,
    plan: FinalPlan | None = None,
    pixels: Pixels | None = None,
    target: SelectionSet | None = None,
) -> Generator[FinalEpoch, None, FinalModel]:
    return train_final(
        FinalJob(
            workspace.folder,
            file,
            plan or plan_of(epochs),
            pixels or Decoded(workspace.data.images),
            final_training_part(splits, limit),
            path,
            card={"policy_file": "policy.json"},
            selection=target,
        )
    )


def weights(path: Path) -> bytes:
    return path.read_bytes()


def card_of(final: FinalModel) -> dict[str, object]:
    document = json.loads(final.path.with_suffix(".json").read_text("utf-8"))
    assert isinstance(document, dict)
    return document


def scored(path: Path, data: ImageData, part: npt.NDArray[np.int64]) -> Scores:
    """Scores of a saved model, without any of the code under test that chooses images."""
    model, _ = load_model(path)
    return score(predict(model, data.images[part], CPU), data.labels[part])


def losses(epochs: list[FinalEpoch]) -> list[float]:
    return [epoch.training.loss for epoch in epochs]


def test_every_epoch_is_yielded_and_the_model_left_with_its_card(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "made on demand" / "model.safetensors"
    epochs, final = finish(start(plain, source.splits, path, MIXED, epochs=3))
    assert [epoch.training.epoch for epoch in epochs] == [1, 2, 3]
    assert all(len(epoch.validation.correct) == len(source.splits.confirmation) for epoch in epochs)
    assert final.path == path
    assert final.images == sum(epoch.training.images for epoch in epochs)
    assert final.seconds > 0
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.json", "model.safetensors"]
    card = card_of(final)
    assert card["policy_file"] == "policy.json"
    assert card["training"] == {
        "best_epoch": final.best_epoch,
        "epochs": 3,
        "trained_on": final.trained_on,
        "validation_accuracy": final.validation.accuracy,
    }
    assert card["model"] == json.loads(final.spec.model_dump_json())
    assert "test" not in card


def test_the_latest_epoch_that_chance_may_make_the_second_best_on_the_confirmation_part_is_kept(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    epochs, final = finish(start(plain, source.splits, tmp_path / "model.safetensors", epochs=4))
    best = chosen_of(epochs)
    assert final.best_epoch == best.training.epoch
    kept = scored(final.path, plain.data, source.splits.confirmation)
    assert kept.correct.tolist() == best.validation.correct.tolist() == final.validation.correct.tolist()
    assert kept.log_loss == pytest.approx(best.validation.log_loss, rel=1e-6)


def test_with_a_target_the_epoch_that_is_best_on_that_is_kept(source: Source, tmp_path: Path) -> None:
    # What its labels say is learned less and less well.
    study = source.aimed(tmp_path, mislabeled=True)
    assert study.target is not None
    rows = study.target.confirmation
    labels = study.target.labels(rows)
    target = SelectionSet(Decoded(study.target.data.images), rows, labels)
    path = tmp_path / "model.safetensors"
    epochs, final = finish(start(study, source.splits, path, epochs=5, target=target))
    assert all(len(epoch.validation.correct) == len(rows) for epoch in epochs)
    best = chosen_of(epochs)
    assert final.best_epoch == best.training.epoch < 5
    model, _ = load_model(final.path)
    kept = score(predict(model, study.target.images(rows), CPU), labels)
    assert kept.correct.tolist() == best.validation.correct.tolist()
    # The training is what it would be without.
    others, _ = finish(start(study, source.splits, tmp_path / "other.safetensors", epochs=5))
    assert losses(others) == losses(epochs)


def test_a_later_epoch_that_is_worse_is_not_kept(source: Source, tmp_path: Path) -> None:
    # The more is learned, the less agrees with a confirmation part that has the labels wrong.
    contrary = source.mislabeled("confirmation").study(tmp_path)
    epochs, final = finish(start(contrary, source.splits, tmp_path / "model.safetensors", epochs=5))
    best = chosen_of(epochs)
    assert final.best_epoch == best.training.epoch < 5
    assert best.validation.accuracy > epochs[-1].validation.accuracy
    kept = scored(final.path, contrary.data, source.splits.confirmation)
    assert kept.correct.tolist() == best.validation.correct.tolist()
    assert kept.log_loss == pytest.approx(best.validation.log_loss, rel=1e-6)


def test_of_epochs_that_are_equally_right_the_latest_is_kept(source: Source, tmp_path: Path) -> None:
    # Colours without noise are all recognised, long before the last epoch.
    colours = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0], [0, 0, 0]], np.uint8)
    images = np.tile(colours[source.labels][:, None, None], (1, 8, 8, 1))
    easy = source._replace(images=images).study(tmp_path)
    epochs, final = finish(start(easy, source.splits, tmp_path / "model.safetensors", epochs=6))
    right = [epoch for epoch in epochs if epoch.validation.accuracy == 1]
    assert len(right) > 1
    assert final.best_epoch == right[-1].training.epoch


def test_an_epoch_that_is_more_often_right_is_kept_though_it_is_too_sure(
    source: Source, tmp_path: Path
) -> None:
    # Where every other label is wrong, who has learned is right about half, and surprised by the rest.
    labels = source.labels.copy()
    rows = source.splits.confirmation[::2]
    labels[rows] = (labels[rows] + 1) % 5
    half = source._replace(labels=labels).study(tmp_path)
    epochs, final = finish(start(half, source.splits, tmp_path / "model.safetensors", epochs=8))
    assert final.best_epoch == chosen_of(epochs).training.epoch
    assert min(epoch.validation.log_loss for epoch in epochs) < final.validation.log_loss


@pytest.mark.parametrize("metric", list(METRICS))
def test_the_epoch_is_chosen_by_the_metric_of_the_run(source: Source, tmp_path: Path, metric: str) -> None:
    # Where every other label is wrong, the surest are surprised most: log-loss chooses an early epoch.
    labels = source.labels.copy()
    rows = source.splits.confirmation[::2]
    labels[rows] = (labels[rows] + 1) % 5
    half = source._replace(labels=labels).study(tmp_path)
    plan = plan_of(8).model_copy(update={"metric": metric})
    epochs, final = finish(start(half, source.splits, tmp_path / "model.safetensors", plan=plan))
    assert final.best_epoch == chosen_of(epochs, metric).training.epoch
    assert [epoch.training.epoch for epoch in epochs if epoch.best][-1] == final.best_epoch
    figures = card_of(final)["training"]
    assert isinstance(figures, dict)
    if metric == "log-loss":
        most_right = max(epochs, key=lambda epoch: (epoch.validation.accuracy, -epoch.validation.log_loss))
        assert final.best_epoch < most_right.training.epoch
        assert figures["selected_by"] == "log-loss"
        assert figures["validation_log_loss"] == final.validation.log_loss
        # It is what early stopping waits for too, and a checkpoint of another metric is of no use.
        impatient = plan.model_copy(update={"patience": 1})
        few, _ = finish(start(half, source.splits, tmp_path / "other.safetensors", plan=impatient))
        lowest = min(epochs, key=lambda epoch: epoch.validation.log_loss)
        assert len(few) <= lowest.training.epoch + 1
    elif metric == "accuracy":
        assert "selected_by" not in figures


def test_a_training_by_another_metric_begins_anew(plain: Workspace, source: Source, tmp_path: Path) -> None:
    def keys(**fields: Any) -> str:
        plan = plan_of(4).model_copy(update=fields)
        labeled = final_training_part(source.splits, None)
        return FinalJob(
            plain.folder, PLAIN, plan, Decoded(plain.data.images), labeled, tmp_path / "model.safetensors"
        ).key()

    assert len({keys(metric=metric) for metric in METRICS}) == len(METRICS)
    assert keys(metric="accuracy") == keys()


def test_the_same_file_and_seed_train_the_same_model_to_the_last_bit(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    epochs, _ = finish(start(plain, source.splits, one, MIXED))
    others, _ = finish(start(plain, source.splits, other, MIXED))
    assert losses(epochs) == losses(others)
    assert weights(one) == weights(other)


def test_the_policy_of_the_file_is_obeyed(plain: Workspace, source: Source, tmp_path: Path) -> None:
    epochs, _ = finish(start(plain, source.splits, tmp_path / "plain.safetensors", PLAIN))
    others, _ = finish(start(plain, source.splits, tmp_path / "mixed.safetensors", MIXED))
    assert losses(epochs) != losses(others)


def test_training_never_reads_the_test_part(plain: Workspace, source: Source, tmp_path: Path) -> None:
    other = source.scrambled("test").study(tmp_path)
    assert other.data.fingerprint != plain.data.fingerprint
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    epochs, final = finish(start(plain, source.splits, one, MIXED))
    others, final_of_other = finish(start(other, source.splits, two, MIXED))
    assert losses(epochs) == losses(others)
    assert [epoch.validation.log_loss for epoch in epochs] == [epoch.validation.log_loss for epoch in others]
    assert weights(one) == weights(two)
    assert card_of(final) == card_of(final_of_other)


def test_the_confirmation_part_chooses_the_epoch_and_is_not_trained_on(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    other = source.scrambled("confirmation").study(tmp_path)
    epochs, _ = finish(start(plain, source.splits, tmp_path / "one.safetensors"))
    others, _ = finish(start(other, source.splits, tmp_path / "two.safetensors"))
    assert losses(epochs) == losses(others)
    assert epochs[-1].validation.log_loss != others[-1].validation.log_loss


def test_train_and_validation_are_both_trained_on(plain: Workspace, source: Source, tmp_path: Path) -> None:
    splits = source.splits
    both = final_training_part(splits, None)
    assert both.tolist() == sorted([*splits.train, *splits.validation])
    epochs, final = finish(start(plain, splits, tmp_path / "one.safetensors"))
    assert final.trained_on == len(both) == 195
    for part in ("train", "validation"):
        other = source.mislabeled(part).study(tmp_path / part)
        others, _ = finish(start(other, splits, tmp_path / "two.safetensors"))
        assert losses(epochs) != losses(others)


def test_a_limit_is_of_all_that_is_trained_on(source: Source, tmp_path: Path) -> None:
    given = np.where(source.labels < 0, Split.UNLABELED, Split.ANY).astype(np.int8)
    splits = split(source.labels, given, classes=CLASSES, seed=0, limit=60)
    limited = source._replace(splits=splits)
    assert final_training_part(splits, 60).tolist() == splits.train.tolist()
    epochs, final = finish(
        start(limited.study(tmp_path / "one"), splits, tmp_path / "one.safetensors", limit=60)
    )
    assert final.trained_on == 60
    assert all(epoch.training.images <= 60 for epoch in epochs)
    # The validation part is not trained on then.
    other = limited.scrambled("validation").study(tmp_path / "two")
    finish(start(other, splits, tmp_path / "two.safetensors", limit=60))
    assert weights(tmp_path / "one.safetensors") == weights(tmp_path / "two.safetensors")


def test_the_test_writes_its_figures_on_the_card(plain: Workspace, source: Source, tmp_path: Path) -> None:
    _, final = finish(start(plain, source.splits, tmp_path / "model.safetensors", epochs=6))
    before, saved = card_of(final), weights(final.path)
    tested = finals.test_final(plain, source.splits, final, Decoded(plain.data.images))
    test, expected = tested.scores, scored(final.path, plain.data, source.splits.test)
    assert test.correct.tolist() == expected.correct.tolist()
    assert test.accuracy > 0.9
    assert tested.logits.shape == (len(source.splits.test), 5)
    assert (tested.logits.argmax(1) == source.labels[source.splits.test]).tolist() == test.correct.tolist()
    assert card_of(final) == {
        **before,
        "test": {
            "images": len(source.splits.test),
            "accuracy": test.accuracy,
            "log_loss": test.log_loss,
            "ece": test.ece,
            "macro_f1": test.macro_f1,
        },
    }
    assert weights(final.path) == saved


def test_the_test_is_on_the_test_part(plain: Workspace, source: Source, tmp_path: Path) -> None:
    _, final = finish(start(plain, source.splits, tmp_path / "model.safetensors", epochs=6))

    def correct(workspace: Workspace) -> npt.NDArray[np.bool_]:
        pixels = Decoded(workspace.data.images)
        return finals.test_final(workspace, source.splits, final, pixels).scores.correct

    right = correct(plain)
    assert not (right & correct(source.mislabeled("test").study(tmp_path))).any()
    for part in ("train", "validation", "confirmation"):
        elsewhere = source.scrambled(part).study(tmp_path / part)
        assert correct(elsewhere).tolist() == right.tolist()


def test_the_distillation_of_the_file_is_obeyed_and_its_teacher_made_if_missing(
    source: Source, tmp_path: Path
) -> None:
    workspace = source.study(tmp_path, teacher="tiny")
    epochs, _ = finish(start(workspace, source.splits, tmp_path / "alone.safetensors"))
    assert not workspace.final_teachers.exists()

    def distilled(**fields: Any) -> list[float]:
        file = PLAIN.model_copy(update={"training": Training(distillation=Distillation(**fields))})
        taught, final = finish(start(workspace, source.splits, tmp_path / "taught.safetensors", file))
        assert final.teacher is not None
        assert final.teacher.parent == workspace.final_teachers
        assert final.teacher_images == final.images
        assert np.isfinite([*losses(taught), final.validation.log_loss]).all()
        return losses(taught)

    heard = distilled(temperature=4, alpha=0.9)
    assert heard != losses(epochs)
    assert len(list(workspace.final_teachers.glob("*.safetensors"))) == 1
    assert distilled(temperature=2, alpha=0.9) != heard
    assert distilled(temperature=4, alpha=0) == pytest.approx(losses(epochs), rel=1e-5)
    # Nothing is done to these images: the teacher says the same of them whenever it is asked.
    assert distilled(temperature=4, alpha=0.9, teacher_view="clean") == pytest.approx(heard, rel=1e-2)


def test_each_image_hears_what_the_teacher_says_of_it(source: Source, tmp_path: Path) -> None:
    labels = source.labels.copy()
    rows = final_training_part(source.splits, None)
    labels[rows] = (labels[rows] + 1) % 5
    honest = source.study(tmp_path / "honest", teacher="tiny")
    knows = final_teacher(honest, ("tiny", "none"), rows, 20, CPU).path
    misled = source._replace(labels=labels).study(tmp_path, teacher=str(knows))
    # The labels are all wrong, but the teacher knows better, and is all that is listened to.
    distillation = Distillation(temperature=2, alpha=1, teacher_view="clean")
    file = PLAIN.model_copy(update={"training": Training(distillation=distillation)})
    epochs, _ = finish(start(misled, source.splits, tmp_path / "taught.safetensors", file, epochs=8))
    assert epochs[-1].validation.accuracy > 0.9
    epochs, _ = finish(start(misled, source.splits, tmp_path / "alone.safetensors", PLAIN, epochs=8))
    assert epochs[-1].validation.accuracy < 0.1


def taught(**fields: Any) -> PolicyFile:
    """MIXED under a teacher."""
    return MIXED.model_copy(update={"training": Training(distillation=Distillation(**fields))})


TRAININGS: dict[str, tuple[PolicyFile, FinalPlan]] = {
    "plain": (PLAIN, plan_of(4)),
    "mixed, with an average of the weights": (MIXED, plan_of(4, ema=0.9)),
    "beside a teacher of the same views": (taught(temperature=4, alpha=0.5), plan_of(4, ema=0.8)),
    "beside a teacher of the originals": (
        taught(temperature=4, alpha=0.5, teacher_view="clean"),
        plan_of(4, accumulation=2, batch_size=16),
    ),
    "until it gets no better": (MIXED, plan_of(12, patience=1)),
}


def stop_after(training: Generator[FinalEpoch, None, FinalModel], epochs: int) -> None:
    for _ in range(epochs):
        next(training)
    training.close()


def outcome(epochs: list[FinalEpoch], final: FinalModel) -> tuple[object, ...]:
    """All that a training leaves but its times."""
    figures = {**dataclasses.asdict(final), "path": None, "seconds": None, "validation": None}
    validation = final.validation.log_loss, final.validation.correct.tolist()
    return figures, validation, weights(final.path), card_of(final), epochs[-1].training.loss


@pytest.mark.parametrize("name", TRAININGS)
def test_stopped_after_any_epoch_it_ends_as_if_it_had_not_been(
    with_teacher: Workspace, source: Source, tmp_path: Path, name: str
) -> None:
    workspace, (file, plan) = with_teacher, TRAININGS[name]
    whole = finish(start(workspace, source.splits, tmp_path / "whole" / "model.safetensors", file, plan=plan))
    epochs = len(whole[0])
    assert epochs == whole[1].epochs
    for stop in range(1, epochs + 1):
        path = tmp_path / str(stop) / "model.safetensors"
        stop_after(start(workspace, source.splits, path, file, plan=plan), stop)
        rest, final = finish(start(workspace, source.splits, path, file, plan=plan))
        assert [epoch.training.epoch for epoch in rest] == list(range(stop + 1, epochs + 1))
        assert outcome(whole[0][:stop] + rest, final) == outcome(*whole)
        assert final.seconds > 0
        assert sorted(file.name for file in path.parent.iterdir()) == ["model.json", "model.safetensors"]


def test_stopped_after_every_epoch_it_ends_as_if_it_had_not_been(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    whole = finish(start(plain, source.splits, tmp_path / "whole.safetensors", MIXED, epochs=5))
    for _ in range(4):
        stop_after(start(plain, source.splits, tmp_path / "parts.safetensors", MIXED, epochs=5), 1)
    rest, final = finish(start(plain, source.splits, tmp_path / "parts.safetensors", MIXED, epochs=5))
    assert len(rest) == 1
    assert outcome(rest, final) == outcome(*whole)


KILLED = """
import pickle, sys
import torch
from augsearch.trainers.tasks.final import train_final
torch.set_num_threads(1)
job = pickle.load(open(sys.argv[1], "rb"))
for epoch in train_final(job):
    print(epoch.training.epoch, flush=True)
    if epoch.training.epoch == 23:
        sys.stdin.read()  # for the kill, if it comes late
"""


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "parts" / "model.safetensors"
    pixels, labeled = Decoded(np.array(plain.data.images)), final_training_part(source.splits, None)
    job = FinalJob(plain.folder, MIXED, plan_of(24, ema=0.9), pixels, labeled, path)
    (tmp_path / "arguments").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "arguments")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "5\n" in iter(process.stdout.readline, "")
        process.kill()
    assert process.returncode == -signal.SIGKILL
    load_model(path)
    rest, final = finish(train_final(job))
    assert 1 < rest[0].training.epoch <= 24  # the first is always kept, later ones now and then
    whole = finish(train_final(dataclasses.replace(job, path=tmp_path / "whole" / "model.safetensors")))
    assert outcome(rest, final) == outcome(*whole)
    # What was half written stays behind at most, and under a name that is hidden.
    assert {file.name for file in path.parent.iterdir() if not file.name.startswith(".")} == {
        "model.json",
        "model.safetensors",
    }


def test_from_files_it_goes_on_too_with_any_number_of_threads(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, files = source.study(tmp_path / "study"), saved(source, tmp_path / "files")
    pixels = OnDisk(files, 12, 3)

    def cropped(name: str, threads: int) -> Generator[FinalEpoch, None, FinalModel]:
        hands = ThreadPoolExecutor(threads)
        monkeypatch.setattr("augsearch.trainers.system.threads._hands", lambda: hands)
        return start(workspace, source.splits, tmp_path / f"{name}.safetensors", MIXED, 3, pixels=pixels)

    whole = finish(cropped("whole", 4))
    assert whole[1].spec.image_size == 12
    stop_after(cropped("parts", 1), 1)
    (tmp_path / "files").rename(tmp_path / "gone")
    with pytest.raises(UserError, match="which could be read before"):
        list(cropped("parts", 4))
    (tmp_path / "gone").rename(tmp_path / "files")
    rest, final = finish(cropped("parts", 1))
    assert len(rest) == 2
    assert outcome(rest, final) == outcome(*whole)


OTHERWISE: dict[str, dict[str, Any]] = {
    "policy": {"file": MIXED},
    "distillation": {"file": taught(temperature=4, alpha=0.5)},
    "epochs": {"plan": plan_of(5)},
    "learning rate": {"plan": plan_of(4, learning_rate=0.01)},
    "patience": {"plan": plan_of(4, patience=4)},
    "network": {"plan": FinalPlan(model="small", recipe=Recipe(epochs=4))},
    "input size": {"plan": FinalPlan(model="tiny", input_size=16, recipe=Recipe(epochs=4))},
    "images": {"limit": 200},
    "size": {"pixels": 12},
}


@pytest.mark.parametrize("changed", OTHERWISE)
def test_another_training_begins_anew(
    with_teacher: Workspace, source: Source, tmp_path: Path, changed: str
) -> None:
    workspace = with_teacher
    usual = {"file": PLAIN, "plan": plan_of(4)}
    other = {**usual, **OTHERWISE[changed]}
    if "pixels" in other:
        other["pixels"] = Decoded(np.resize(workspace.data.images, (320, 12, 12, 3)))
    fresh = finish(start(workspace, source.splits, tmp_path / "fresh.safetensors", **other))
    path = tmp_path / "model.safetensors"
    stop_after(start(workspace, source.splits, path, **usual), 3)
    epochs, final = finish(start(workspace, source.splits, path, **other))
    assert epochs[0].training.epoch == 1
    assert outcome(epochs, final) == outcome(*fresh)


def test_other_images_begin_anew_though_the_study_lies_where_it_lay(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    stop_after(start(source.study(tmp_path / "one"), source.splits, path, epochs=4), 2)
    other = source.scrambled("confirmation").study(tmp_path / "other")
    assert next(start(other, source.splits, path, epochs=4)).training.epoch == 1


@pytest.mark.parametrize("average_flips", [False, True])
def test_one_that_was_stopped_after_its_last_epoch_is_told_of_alike(
    plain: Workspace, source: Source, tmp_path: Path, average_flips: bool
) -> None:
    plan = plan_of(2).model_copy(update={"average_flips": average_flips})
    _, whole = finish(start(plain, source.splits, tmp_path / "whole.safetensors", plan=plan))
    path = tmp_path / "model.safetensors"
    stop_after(start(plain, source.splits, path, plan=plan), 2)
    epochs, final = finish(start(plain, source.splits, path, plan=plan))
    assert epochs == []
    assert final.validation.log_loss == pytest.approx(whole.validation.log_loss, rel=1e-5)
    assert final.validation.accuracy == whole.validation.accuracy


def test_more_processes_than_images_in_a_step_are_refused_before_any_starts(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    many = plan_of(1, batch_size=4).model_copy(update={"processes": 5})
    with pytest.raises(UserError, match="--processes 5: a step has 4 images; give no more than that"):
        next(start(plain, source.splits, tmp_path / "model.safetensors", plan=many))


def test_the_model_that_is_kept_averages_mirror_images_where_that_is_asked_for(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    plan = plan_of(1)
    path, other = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    _, usual = finish(start(plain, source.splits, path, plan=plan))
    mirrored = plan.model_copy(update={"average_flips": True})
    epochs, final = finish(start(plain, source.splits, other, plan=mirrored))
    assert weights(other) == weights(path)
    assert (usual.spec.average_flips, final.spec.average_flips) == (False, True)
    assert "average_flips" not in path.with_suffix(".json").read_text()
    images = plain.data.images[source.splits.test]
    alone = load_model(path)[0]
    averaged = (predict(alone, images, CPU) + predict(alone, images[:, :, ::-1], CPU)) / 2
    tested = finals.test_final(plain, source.splits, final, Decoded(plain.data.images))
    np.testing.assert_allclose(tested.logits, averaged, atol=1e-5)
    assert epochs[0].validation.accuracy == usual.validation.accuracy  # its epoch is chosen without


def test_another_random_crop_begins_anew(source: Source, tmp_path: Path) -> None:
    workspace, files = source.study(tmp_path / "study"), saved(source, tmp_path / "files")
    path = tmp_path / "model.safetensors"

    def cropped(smallest: float) -> Generator[FinalEpoch, None, FinalModel]:
        file = PolicyFile(policy=Policy(num_ops=0, resized_crop=ResizedCrop(smallest=smallest)))
        return start(workspace, source.splits, path, file, epochs=4, pixels=OnDisk(files, 8, 3))

    stop_after(cropped(0.3), 1)
    assert next(cropped(0.3)).training.epoch == 2
    assert next(cropped(0.9)).training.epoch == 1


def saved(source: Source, folder: Path) -> list[Path]:
    """The images as files."""
    folder.mkdir()
    files = [folder / f"{index}.png" for index in range(len(source.images))]
    for file, pixels in zip(files, source.images, strict=True):
        Image.fromarray(pixels).save(file)
    return files


def test_weights_that_changed_in_their_file_begin_anew(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        finish(start(plain, source.splits, tmp_path / f"{name}.safetensors", epochs=1 + (name == "second")))
    used = tmp_path / "weights.safetensors"
    file = PLAIN.model_copy(update={"training": Training(transfer=Transfer(mode="full"))})
    plan = plan_of(4).model_copy(update={"weights": str(used)})
    path = tmp_path / "model.safetensors"
    used.write_bytes(weights(tmp_path / "first.safetensors"))
    stop_after(start(plain, source.splits, path, file, plan=plan), 2)
    assert next(start(plain, source.splits, path, file, plan=plan)).training.epoch == 3
    used.write_bytes(weights(tmp_path / "second.safetensors"))
    assert next(start(plain, source.splits, path, file, plan=plan)).training.epoch == 1


def saved_by_torch(document: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(document, buffer)
    return buffer.getvalue()


class Stranger:
    """What a checkpoint must not hold."""


DAMAGE = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "noise": lambda content: b"hello" * 100,
    "a list": lambda content: pickle.dumps([1, 2], protocol=2),
    "an object": lambda content: pickle.dumps(Stranger(), protocol=2),
    "empty document": lambda content: saved_by_torch({}),
    "torn": lambda content: content[:2000] + content[4000:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_begins_anew(
    plain: Workspace, source: Source, tmp_path: Path, damage: str
) -> None:
    whole = finish(start(plain, source.splits, tmp_path / "whole.safetensors"))
    path = tmp_path / "parts" / "model.safetensors"
    stop_after(start(plain, source.splits, path), 1)
    (checkpoint,) = path.parent.glob(".*checkpoint")
    checkpoint.write_bytes(DAMAGE[damage](checkpoint.read_bytes()))
    epochs, final = finish(start(plain, source.splits, path))
    assert len(epochs) == 2
    assert outcome(epochs, final) == outcome(*whole)


def test_without_the_best_model_the_checkpoint_is_of_no_use(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    stop_after(start(plain, source.splits, path, epochs=3), 2)
    path.unlink()
    epochs, final = finish(start(plain, source.splits, path, epochs=3))
    assert len(epochs) == 3
    assert final.path.exists()


def test_the_best_model_so_far_lies_there_from_the_first_epoch_on(source: Source, tmp_path: Path) -> None:
    contrary = source.mislabeled("confirmation").study(tmp_path)
    path = tmp_path / "model" / "model.safetensors"
    epochs: list[FinalEpoch] = []
    for epoch in start(contrary, source.splits, path, epochs=5):
        epochs.append(epoch)
        chosen = chosen_of(epochs)
        assert epoch.best == (chosen is epoch)
        best = chosen.validation
        kept = scored(path, contrary.data, source.splits.confirmation)
        assert kept.correct.tolist() == best.correct.tolist()
        assert kept.log_loss == pytest.approx(best.log_loss, rel=1e-6)
        assert json.loads(path.with_suffix(".json").read_text())["policy_file"] == "policy.json"
    assert not epoch.best


def test_of_an_average_of_the_weights_the_average_is_what_is_kept(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    epochs, _ = finish(start(plain, source.splits, one, plan=plan_of(3)))
    averaged, final = finish(start(plain, source.splits, other, plan=plan_of(3, ema=0.9)))
    assert losses(epochs) == losses(averaged)
    assert weights(one) != weights(other)
    kept = scored(final.path, plain.data, source.splits.confirmation)
    assert kept.log_loss == pytest.approx(final.validation.log_loss, rel=1e-6)


@pytest.mark.parametrize("patience", [1, 3])
def test_it_stops_after_as_many_epochs_without_a_better_one_as_it_is_told(
    source: Source, tmp_path: Path, patience: int
) -> None:
    contrary = source.mislabeled("confirmation").study(tmp_path)
    path = tmp_path / "model.safetensors"
    epochs, final = finish(start(contrary, source.splits, path, plan=plan_of(30, patience)))
    peak = max(epochs, key=lambda epoch: (epoch.validation.accuracy, -epoch.validation.log_loss))
    assert final.epochs == len(epochs) == peak.training.epoch + patience < 30
    assert final.best_epoch == chosen_of(epochs).training.epoch
    kept = scored(path, contrary.data, source.splits.confirmation)
    assert kept.log_loss == pytest.approx(epochs[final.best_epoch - 1].validation.log_loss, rel=1e-6)
    # The schedule is the whole one's: the epochs until then are the same.
    without = start(contrary, source.splits, tmp_path / "without.safetensors", plan=plan_of(30))
    assert [next(without).training.loss for _ in epochs] == losses(epochs)
    assert next(without).training.epoch == len(epochs) + 1


@pytest.mark.parametrize(("rate", "at_once"), [(1e30, True), (300.0, False)])
def test_a_loss_that_is_no_number_ends_it_and_leaves_the_best_model(
    plain: Workspace, source: Source, tmp_path: Path, rate: float, at_once: bool
) -> None:
    path = tmp_path / "model.safetensors"
    training = start(plain, source.splits, path, plan=plan_of(12, learning_rate=rate, precision="float32"))
    epochs = []
    with pytest.raises(TrainingDivergedError, match="lower the learning rate"):
        epochs.extend(training)  # which keeps what came before the error
    assert (epochs == []) == at_once
    assert path.exists() == (not at_once)
    if not at_once:
        best = chosen_of(epochs)
        kept = scored(path, plain.data, source.splits.confirmation)
        assert kept.log_loss == pytest.approx(best.validation.log_loss, rel=1e-6)


def semi_of(technique: str, **fields: Any) -> PolicyFile:
    """MIXED beside unlabeled images: all of them, as of five classes the likeliest has a fifth at least."""
    semi = Semi.model_validate({"technique": technique, "threshold": 0.2, **fields})
    return MIXED.model_copy(update={"training": Training(semi=semi)})


BESIDE: dict[str, tuple[PolicyFile, FinalPlan]] = {
    "pseudo": (semi_of("pseudo", rounds=2, class_cap=1.5), plan_of(4)),
    "pseudo by an average of the weights, soft": (semi_of("pseudo", labels="soft"), plan_of(3, ema=0.8)),
    "pseudo by a teacher": (semi_of("pseudo", labeler="teacher"), plan_of(3)),
    "pseudo until it gets no better": (semi_of("pseudo", rounds=5), plan_of(6, patience=1)),
    "fixmatch": (semi_of("fixmatch"), plan_of(3)),
    "fixmatch with thresholds of classes": (semi_of("fixmatch", per_class=True), plan_of(4, ema=0.8)),
    "distillation": (semi_of("distillation"), plan_of(3)),
}
"""Trainings beside unlabeled images."""


def more_images(count: int = 100, seed: int = 7) -> Unlabeled:
    """Images like the source's; every fifth of them must not be learned from."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(5, size=count)
    colours = np.array([[130, 60, 60], [60, 130, 60], [60, 60, 130], [120, 110, 40], [90, 90, 90]])
    images = (colours[truth][:, None, None] + rng.normal(20, 45, (count, 8, 8, 3))).clip(0, 255)
    chosen = np.flatnonzero(np.arange(count) % 5)
    names = [str(row) for row in range(count)]
    return Unlabeled(
        "more", Decoded(images.astype(np.uint8)), chosen, truth, 0, count, str(seed), names, None, None
    )


def beside(
    workspace: Workspace,
    splits: Splits,
    path: Path,
    training: tuple[PolicyFile, FinalPlan],
    unlabeled: Unlabeled | None,
    progress: Progress | None = None,
    **options: Any,
) -> Generator[FinalEpoch | Labeling, None, FinalModel]:
    file, plan = training
    pixels = Decoded(workspace.data.images)
    return train_final(
        FinalJob(
            workspace.folder,
            file,
            plan,
            pixels,
            final_training_part(splits, None),
            path,
            unlabeled=unlabeled,
            **options,
        ),
        progress,
    )


def told(labeling: Labeling) -> tuple[object, ...]:
    """All but the time it took."""
    arrays = labeling.labels, labeling.confidence, labeling.chosen, labeling.by_class, labeling.gained
    figures = labeling.number, labeling.after, labeling.changed, labeling.accuracy
    return (*figures, *(array.tolist() for array in arrays))


def ended(events: list[FinalEpoch | Labeling], final: FinalModel) -> tuple[object, ...]:
    """``outcome``, and every labeling."""
    epochs = [event for event in events if isinstance(event, FinalEpoch)]
    labelings = [told(event) for event in events if isinstance(event, Labeling)]
    assert [told(labeling) for labeling in final.labelings] == labelings
    rest = outcome(epochs, dataclasses.replace(final, labelings=())) if epochs else None
    return rest, weights(final.path), final.images, final.unlabeled, labelings


@pytest.mark.parametrize("name", BESIDE)
def test_beside_unlabeled_images_the_seed_decides_the_model_to_the_last_bit(
    with_teacher: Workspace, source: Source, tmp_path: Path, name: str
) -> None:
    whole, again, alone = (tmp_path / one / "model.safetensors" for one in ("whole", "again", "alone"))
    events, final = finish(beside(with_teacher, source.splits, whole, BESIDE[name], more_images()))
    assert ended(events, final) == ended(
        *finish(beside(with_teacher, source.splits, again, BESIDE[name], more_images()))
    )
    finish(beside(with_teacher, source.splits, alone, (MIXED, BESIDE[name][1]), None))
    assert weights(whole) != weights(alone)
    epochs = [event.training for event in events if isinstance(event, FinalEpoch)]
    assert final.unlabeled == sum(epoch.unlabeled for epoch in epochs) > 0
    assert final.images == sum(epoch.images for epoch in epochs)
    assert final.trained_on == 195


@pytest.mark.parametrize("name", BESIDE)
def test_beside_unlabeled_images_it_ends_as_if_it_had_never_stopped(
    with_teacher: Workspace, source: Source, tmp_path: Path, name: str
) -> None:
    training = BESIDE[name]
    path = tmp_path / "whole" / "model.safetensors"
    whole = finish(beside(with_teacher, source.splits, path, training, more_images()))
    labels = [stop for stop, event in enumerate(whole[0], 1) if isinstance(event, Labeling)]
    # After any labeling, before it, and at the end.
    for stop in sorted({1, *labels[-3:], *(number - 1 for number in labels[-3:]), len(whole[0])} - {0}):
        path = tmp_path / str(stop) / "model.safetensors"
        stopped = beside(with_teacher, source.splits, path, training, more_images())
        before = [next(stopped) for _ in range(stop)]
        stopped.close()
        rest, final = finish(beside(with_teacher, source.splits, path, training, more_images()))
        trained = sum(isinstance(event, FinalEpoch) for event in (*before, *rest))
        assert trained == sum(isinstance(event, FinalEpoch) for event in whole[0])
        assert ended(rest, final)[1:] == ended(*whole)[1:]
        assert card_of(final) == card_of(whole[1])
        assert final.validation.log_loss == whole[1].validation.log_loss
        assert sorted(file.name for file in path.parent.iterdir()) == ["model.json", "model.safetensors"]


class Killed(BaseException):
    """As a signal would."""


@pytest.mark.parametrize("name", ["pseudo", "pseudo by a teacher"])
def test_stopped_within_a_labeling_it_asks_about_the_others_alone(
    with_teacher: Workspace, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(labelers, "CHUNK", 32)
    path = tmp_path / "whole" / "model.safetensors"
    whole = finish(beside(with_teacher, source.splits, path, BESIDE[name], more_images()))
    chunks = 3 * len(whole[1].labelings)
    for stop in range(chunks):
        asked = [0]

        def until_killed(*arguments: Any, stop: int = stop, asked: list[int] = asked) -> Any:
            if asked[0] == stop:
                raise Killed
            asked[0] += 1
            return predict(*arguments)

        path = tmp_path / str(stop) / "model.safetensors"
        monkeypatch.setattr(inference, "predict", until_killed)
        with pytest.raises(Killed):
            finish(beside(with_teacher, source.splits, path, BESIDE[name], more_images()))
        asked[0] = -100
        events, final = finish(beside(with_teacher, source.splits, path, BESIDE[name], more_images()))
        assert asked[0] == chunks - stop - 100
        assert ended(events, final)[1:] == ended(*whole)[1:]


def test_labels_outlive_no_lost_checkpoint(
    plain: Workspace, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    stopped = beside(plain, source.splits, path, BESIDE["pseudo"], more_images())
    next(event for event in stopped if isinstance(event, Labeling))
    stopped.close()
    assert (tmp_path / ".model.labels.db").exists()
    (tmp_path / ".model.checkpoint").unlink()
    asked: list[int] = []
    monkeypatch.setattr(inference, "predict", lambda *given: asked.append(0) or predict(*given))
    _, final = finish(beside(plain, source.splits, path, BESIDE["pseudo"], more_images()))
    assert len(asked) == len(final.labelings)


@pytest.mark.parametrize("technique", ["pseudo", "fixmatch", "distillation"])
def test_without_unlabeled_images_it_is_the_plain_training_and_goes_on_from_its_checkpoint(
    with_teacher: Workspace, source: Source, tmp_path: Path, technique: str
) -> None:
    training = (semi_of(technique), plan_of(3))
    none = dataclasses.replace(more_images(), chosen=np.empty(0, np.int64))
    whole = finish(start(with_teacher, source.splits, tmp_path / "plain.safetensors", MIXED, 3))
    for name, unlabeled in (("none", None), ("empty", none)):
        path = tmp_path / name / "model.safetensors"
        stop_after(start(with_teacher, source.splits, path, MIXED, 3), 1)
        card = {"card": {"policy_file": "policy.json"}}
        rest, final = finish(beside(with_teacher, source.splits, path, training, unlabeled, **card))
        assert [event.training.epoch for event in rest if isinstance(event, FinalEpoch)] == [2, 3]
        assert outcome(rest, final) == outcome(*whole)
        assert sorted(file.name for file in path.parent.iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize("changed", ["images", "technique", "threshold", "chosen", "crops"])
def test_other_unlabeled_images_or_uses_of_them_begin_anew(
    plain: Workspace, source: Source, tmp_path: Path, changed: str
) -> None:
    usual = {"training": BESIDE["fixmatch"], "unlabeled": more_images()}
    other: dict[str, Any] = {
        "images": {"unlabeled": more_images(seed=8)},
        "technique": {"training": (semi_of("pseudo"), plan_of(3))},
        "threshold": {"training": (semi_of("fixmatch", threshold=0.5), plan_of(3))},
        "chosen": {"unlabeled": dataclasses.replace(more_images(), chosen=more_images().chosen[1:])},
        "crops": {"unlabeled": dataclasses.replace(more_images(), pixels=MadeOtherwise(more_images()))},
    }[changed]
    path = tmp_path / "model.safetensors"
    for going_on in (1, 2):
        running = beside(plain, source.splits, path, **usual)
        assert next(event.training.epoch for event in running if isinstance(event, FinalEpoch)) == going_on
        running.close()
    running = beside(plain, source.splits, path, **{**usual, **other})
    assert next(event.training.epoch for event in running if isinstance(event, FinalEpoch)) == 1


class MadeOtherwise(Decoded):
    """The same pixels, as if other crops of their files were taken."""

    def __init__(self, like: Unlabeled) -> None:
        assert isinstance(like.pixels, Decoded)
        super().__init__(like.pixels.images)

    @property
    def made_by(self) -> str:
        return "otherwise"


@pytest.mark.parametrize("name", ["pseudo", "pseudo by a teacher"])
def test_labels_are_those_of_the_clean_images_in_evaluation_mode(
    with_teacher: Workspace, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    looked: list[npt.NDArray[np.uint8]] = []
    modes: list[bool] = []

    def spied(model: torch.nn.Module, images: npt.NDArray[np.uint8], *rest: Any) -> Any:
        looked.append(images.copy())
        hooks = [
            module.register_forward_pre_hook(lambda module, _: modes.append(module.training))
            for module in model.modules()
        ]
        logits = predict(model, images, *rest)
        for hook in hooks:
            hook.remove()
        return logits

    monkeypatch.setattr(inference, "predict", spied)
    more = more_images()
    path = tmp_path / "model.safetensors"
    _, final = finish(beside(with_teacher, source.splits, path, BESIDE[name], more))
    assert isinstance(more.pixels, Decoded)
    assert len(looked) == len(final.labelings) > 0
    assert all(np.array_equal(images, more.pixels.images[more.chosen]) for images in looked)
    assert modes
    assert not any(modes)


def test_true_labels_are_for_the_report_alone(plain: Workspace, source: Source, tmp_path: Path) -> None:
    more = more_images()
    blind = dataclasses.replace(more, truth=np.full_like(more.truth, -1))
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    _, final = finish(beside(plain, source.splits, one, BESIDE["pseudo"], more))
    _, without = finish(beside(plain, source.splits, other, BESIDE["pseudo"], blind))
    assert weights(one) == weights(other)
    assert [labeling.accuracy for labeling in without.labelings] == [None, None]
    for labeling in final.labelings:
        right = labeling.labels[labeling.chosen] == more.truth[more.chosen][labeling.chosen]
        assert labeling.accuracy == (pytest.approx(right.mean()) if len(right) else None)


def test_the_card_says_how_it_learned_from_unlabeled_images(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    _, final = finish(beside(plain, source.splits, path, BESIDE["pseudo"], more_images()))
    training = card_of(final)["training"]
    assert isinstance(training, dict)
    chosen = [len(one.chosen) for one in final.labelings if one.after < final.best_epoch]
    assert training["unlabeled"] == {
        "technique": "pseudo",
        "images": 80,
        "chosen": chosen[-1] if chosen else 0,
    }


def test_unlabeled_images_have_a_policy_of_their_own(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    trained = {}
    for name, policy in (("own", PLAIN.policy), ("same", MIXED.policy), ("none", None)):
        path = tmp_path / f"{name}.safetensors"
        finish(
            beside(
                plain, source.splits, path, (semi_of("fixmatch", policy=policy), plan_of(2)), more_images()
            )
        )
        trained[name] = weights(path)
    assert trained["own"] != trained["same"] == trained["none"]


@pytest.mark.parametrize("technique", ["pseudo", "fixmatch"])
def test_unlabeled_images_that_cannot_be_read_are_left_out(
    plain: Workspace, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, technique: str
) -> None:
    monkeypatch.setattr(
        "augsearch.trainers.data.unlabeled.dataset.MOST_DECODED", 0
    )  # so that files are read as they come
    folder = tmp_path / "unlabeled"
    folder.mkdir()
    images = more_images().pixels.images  # type: ignore[attr-defined]
    for index, pixels in enumerate(images[:40]):
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    bad = [3, 17, 30]
    for index in bad:
        (folder / f"{index:02}.png").write_bytes(b"no image %d" % index)
    more = open_unlabeled(
        None,
        plain.data,
        source.splits,
        folder=folder,
        cache=tmp_path / "cache",
    )
    assert more is not None
    assert len(more.chosen) == 40
    training = (semi_of(technique, threshold=0.0), plan_of(3))
    whole = finish(beside(plain, source.splits, tmp_path / "whole" / "model.safetensors", training, more))
    assert len(more.unreadable) == 3
    for labeling in whole[1].labelings:
        assert np.flatnonzero(labeling.labels < 0).tolist() == bad
        assert labeling.chosen.tolist() == [row for row in range(40) if row not in bad]
    path = tmp_path / "parts" / "model.safetensors"
    stopped = beside(plain, source.splits, path, training, more)
    next(stopped)
    stopped.close()
    assert ended(*finish(beside(plain, source.splits, path, training, more)))[1:] == ended(*whole)[1:]


def test_several_processes_do_not_learn_from_unlabeled_images(
    plain: Workspace, source: Source, tmp_path: Path
) -> None:
    file, plan = BESIDE["fixmatch"]
    four = plan.model_copy(update={"processes": 4})
    refused = beside(plain, source.splits, tmp_path / "model.safetensors", (file, four), more_images())
    with pytest.raises(UserError) as error:
        next(refused)
    assert str(error.value) == (
        "--processes 4: learning from unlabeled images runs in one process; "
        "leave --processes out, or give --semi none"
    )


def test_self_training_is_not_done_here(plain: Workspace, source: Source, tmp_path: Path) -> None:
    training = (semi_of("self-training"), plan_of(2))
    with pytest.raises(ValueError, match="train_students"):
        next(beside(plain, source.splits, tmp_path / "model.safetensors", training, more_images()))
