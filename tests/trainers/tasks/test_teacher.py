"""The teacher: made once, of its students' images alone, and silent on the test part."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from augsearch.policies import Distillation, Policy, UserError
from augsearch.policies.regions import ResizedCrop
from augsearch.trainers.data.views import FileImages, LabeledImages, OnDisk
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.evaluation.metrics import Logits, TrainingDivergedError
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.learned import learned_from
from augsearch.trainers.models.saved import load_model, save_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.tasks import teacher as teachers
from augsearch.trainers.tasks import threads
from augsearch.trainers.tasks.fold import evaluate
from augsearch.trainers.tasks.inputs import spec_for
from augsearch.trainers.tasks.teacher import StudentView, Teacher, final_teacher, fold_teacher, load_teacher
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup
from augsearch.trainers.workspace.candidate import SELF, Candidate
from augsearch.trainers.workspace.folder import Workspace, write_workspace
from augsearch.trainers.workspace.folds import Fold, Stage

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

CPU = torch.device("cpu")
CLASSES = ("cat", "cow", "dog", "hen", "pig")
SMALL, TINY = ("small", "none"), ("tiny", "none")
SAME = Distillation(temperature=4, alpha=0.9)
CLEAN = Distillation(temperature=4, alpha=0.9, teacher_view="clean")


@pytest.fixture(scope="module")
def study(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A study whose teachers are trained."""
    return source.study(tmp_path_factory.mktemp("taught"), teacher="tiny")


@pytest.fixture(scope="module")
def taught(study: Workspace, source: Source) -> Teacher:
    """The teacher of its final training."""
    return teaching(study, source.splits.train, 12)


def teaching(
    workspace: Workspace,
    images: NDArray[np.int64],
    epochs: int = 1,
    student: tuple[str, str] = SMALL,
) -> Teacher:
    """The teacher of a final training, as the next process would have it."""
    teachers._loaded.cache_clear()
    return final_teacher(workspace, student, images, epochs, CPU)


def said(teacher: Teacher, images: NDArray[np.uint8]) -> Logits:
    return predict(teacher.network, images, CPU)


def test_a_teacher_learns_from_its_students_images_alone(
    taught: Teacher, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, train = counted(monkeypatch), source.splits.train
    other = source.scrambled("test", "validation", "confirmation").study(tmp_path, teacher="tiny")
    again = teaching(other, train, 12)
    np.testing.assert_array_equal(trained[0].images, source.images[train])
    np.testing.assert_array_equal(trained[0].labels, source.labels[train])
    assert trained[0].epochs == 12
    np.testing.assert_array_equal(said(again, source.images), said(taught, source.images))
    # It is a teacher worth listening to, on images that it has not seen too.
    validation = source.splits.validation
    right = said(taught, source.images[validation]).argmax(1) == source.labels[validation]
    assert right.mean() > 0.9


def test_a_trained_teacher_is_kept_with_what_it_took(
    study: Workspace, taught: Teacher, source: Source
) -> None:
    model, spec = load_model(taught.path)
    assert spec == spec_for(study, "tiny")
    np.testing.assert_array_equal(predict(model, source.images, CPU), said(taught, source.images))
    assert {file.name for file in study.folder.iterdir()} == {"parts.npz", "workspace.json"}
    assert taught.path.parent == study.final_teachers
    assert {file.suffix for file in study.final_teachers.iterdir()} == {".safetensors", ".json", ".lock"}
    again = teaching(study, source.splits.train, 12)
    assert (again.images, again.seconds) == (taught.images, taught.seconds)
    assert taught.images % 12 == 0
    assert 0.9 * len(source.splits.train) < taught.images / 12 <= len(source.splits.train)
    assert taught.seconds > 0


def beside(workspace: Workspace, source: Source, name: str, **changed: Any) -> Workspace:
    """Another study of the same images in the same place."""
    proxy = workspace.proxy.model_copy(update=changed)
    return write_workspace(workspace.folder.with_name(name), workspace.data, source.splits, proxy)


def test_studies_of_the_same_images_share_a_teacher(
    study: Workspace, taught: Teacher, source: Source
) -> None:
    before = taught.path.stat()
    other = beside(study, source, "longer", epochs=9, model="small", fold_size=20)
    again = teaching(other, source.splits.train, 12, TINY)
    assert again.path == taught.path
    after = again.path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize("changed", [{"teacher": "small"}, {"seed": 4}, {"teacher": SELF}])
def test_a_teacher_that_would_be_another_is_not_shared(
    study: Workspace, taught: Teacher, source: Source, changed: dict[str, Any]
) -> None:
    train = source.splits.train[:40]
    names = {teaching(one, train).path.name for one in (study, beside(study, source, "else", **changed))}
    names |= {teaching(study, source.splits.train[1:41]).path.name, teaching(study, train, 2).path.name}
    begun = beside(study, source, "begun", teacher_weights=str(taught.path))
    names.add(teaching(begun, train).path.name)
    names.add(
        teaching(source.scrambled("train").study(study.folder.parent / "b", teacher="tiny"), train).path.name
    )
    assert len(names) == 6


def test_to_teach_oneself_is_to_be_ones_own_network(source: Source, tmp_path: Path) -> None:
    workspace = source.study(tmp_path, teacher=SELF, model="small")
    assert load_model(teaching(workspace, source.splits.train, student=TINY).path)[1].name == "tiny"
    assert load_model(teaching(workspace, source.splits.train, student=SMALL).path)[1].name == "small"
    assert load_model(taught_by(workspace, Fold(Stage.SEARCH, 0)).path)[1].name == "small"


def test_a_student_that_starts_from_a_model_has_a_teacher_that_does(
    study: Workspace, taught: Teacher, source: Source, tmp_path: Path
) -> None:
    start = str(taught.path)
    workspace = source.study(tmp_path, teacher=SELF, model=start, weights=start, epochs=1)
    assert workspace.given_teacher is None
    teacher = taught_by(workspace, Fold(Stage.SEARCH, 0))
    assert teacher.images == 48
    validation = source.splits.validation
    right = said(teacher, source.images[validation]).argmax(1) == source.labels[validation]
    assert right.mean() > 0.9


def test_who_learns_for_long_from_few_labels_has_a_teacher_that_does_not(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, trained = source.study(tmp_path, teacher="tiny"), counted(monkeypatch)
    monkeypatch.setattr(teachers, "default_final_epochs", lambda images: 3)
    teaching(workspace, source.splits.train, 600)
    assert (trained[0].epochs, len(trained[0].images)) == (3, len(source.splits.train))


def test_the_teacher_of_a_final_training_sees_what_its_student_sees(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, paths = source.splits.train, []
    for number, image in enumerate(source.images):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).resize((80, 70)).save(paths[-1])
    workspace = source.study(tmp_path, teacher=SELF)
    setups: list[tuple[TrainingSetup, int]] = []
    run = teachers.train

    def remembered(learner: Any, setup: TrainingSetup) -> Any:
        setups.append((setup, torch.get_num_threads()))
        return run(learner, setup)

    monkeypatch.setattr(teachers, "train", remembered)
    monkeypatch.setattr(threads, "quickest_threads", lambda step: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    recipe = Recipe(batch_size=16, accumulation=2, precision="float32", learning_rate=0.001)
    keys = np.arange(9, dtype=np.uint64)
    half, less = ResizedCrop(smallest=0.5), ResizedCrop(smallest=0.4)
    view = StudentView(OnDisk(paths, 72, 3), recipe, input_size=48, learned=keys, resized_crop=half)
    found = final_teacher(workspace, TINY, train, 1, CPU, view)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)
    (setup, used), *_ = setups
    assert isinstance(setup.data, FileImages)
    assert (setup.policy.resized_crop, setup.data.files.side, used) == (half, 72, 2)
    np.testing.assert_array_equal(setup.data.chosen, train)
    assert (setup.recipe.batch_size, setup.recipe.accumulation, setup.recipe.precision) == (16, 2, "float32")
    assert setup.recipe.learning_rate is None
    spec = load_model(found.path)[1]
    assert (spec.image_size, spec.side) == (72, 48)
    np.testing.assert_array_equal(learned_from(found.path), keys)
    # Whoever sees otherwise has another teacher; who sees the same has this one.
    for other in (
        replace(view, resized_crop=less),
        replace(view, pixels=OnDisk(paths, 64, 3)),
        replace(view, input_size=40),
        replace(view, recipe=recipe.model_copy(update={"batch_size": 8})),
        replace(view, learned=None),
    ):
        final_teacher(workspace, TINY, train, 1, CPU, other)
    assert len(setups) == 5


def test_trainings_that_want_the_same_teacher_at_once_train_it_once(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = counted(monkeypatch)
    first = source.study(tmp_path, teacher="tiny")
    studies = [first, *(beside(first, source, f"{number}", epochs=number) for number in (5, 6, 7))]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: teaching(one, source.splits.train), studies))
    assert len(trained) == 1
    assert len({said(teacher, source.images).tobytes() for teacher in found}) == 1


@dataclass
class Training:
    """Of a teacher: what it learned from, and for how long."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    epochs: int
    seed: int


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Training]:
    """The trainings of teachers from now on."""
    trained: list[Training] = []
    train = teachers.train

    def remembered(learner: Any, setup: TrainingSetup) -> Any:
        assert isinstance(setup.data, LabeledImages)
        trained.append(Training(setup.data.images, setup.data.labels, setup.recipe.epochs, setup.seed))
        return train(learner, setup)

    monkeypatch.setattr(teachers, "train", remembered)
    return trained


def taught_by(workspace: Workspace, fold: Fold) -> Teacher:
    teachers._loaded.cache_clear()
    return fold_teacher(workspace, fold, CPU)


@pytest.mark.parametrize("stage", list(Stage))
def test_the_teacher_of_a_fold_learns_from_that_folds_images_and_no_other(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    workspace, trained = source.study(tmp_path, teacher="tiny", fold_size=40, epochs=3), counted(monkeypatch)
    folds = [Fold(stage, index) for index in range(3)]
    for fold in folds:
        taught_by(workspace, fold)
    for fold, training in zip(folds, trained, strict=True):
        chosen = workspace.training_subset(fold)
        np.testing.assert_array_equal(training.images, source.images[chosen])
        np.testing.assert_array_equal(training.labels, source.labels[chosen])
        assert training.epochs == 3
    students = {seed for fold in folds for seed in fold.seeds(3)}
    assert len({training.seed for training in trained} - students) == 3


def test_all_who_ask_the_teacher_of_a_fold_share_it_and_say_what_it_took(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, trained = source.study(tmp_path, teacher="tiny"), counted(monkeypatch)
    policy, fold = Policy(num_ops=0), Fold(Stage.CONFIRMATION, 7)
    candidates = [Candidate(policy=policy, distillation=asked) for asked in (SAME, CLEAN)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda one: evaluate(workspace.folder, one, fold), 2 * candidates))
    assert len(trained) == 1
    # 50 images are 6 steps of 8, in each of 2 epochs.
    assert [result.teacher_images for result in results] == [96] * 4
    assert len({result.teacher_seconds for result in results}) == 1
    assert results[0].teacher_seconds > 0
    assert {result.images for result in results} == {96}
    alone = evaluate(workspace.folder, Candidate(policy=policy), fold)
    assert (alone.teacher_images, alone.teacher_seconds) == (0, 0)


def test_the_teacher_of_a_fold_that_is_gone_comes_again_the_same(source: Source, tmp_path: Path) -> None:
    workspace, fold = source.study(tmp_path, teacher="tiny"), Fold(Stage.SEARCH, 1)
    before = taught_by(workspace, fold)
    shutil.rmtree(workspace.fold_teachers)
    after = taught_by(workspace, fold)
    assert after.images == before.images
    np.testing.assert_array_equal(said(after, source.images), said(before, source.images))
    other = taught_by(workspace, Fold(Stage.CONFIRMATION, 1))
    assert (said(other, source.images) != said(before, source.images)).any()


def test_a_teacher_whose_training_diverges_says_so(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(*_: Any, **__: Any) -> Any:
        raise TrainingDivergedError("the loss is nan in epoch 2")
        yield

    monkeypatch.setattr(teachers, "train", diverged)
    workspace, fold = source.study(tmp_path, teacher="tiny"), Fold(Stage.SEARCH, 0)
    with pytest.raises(TrainingDivergedError, match=r"^the teacher's training: the loss is nan in epoch 2$"):
        evaluate(workspace.folder, Candidate(policy=Policy(num_ops=0), distillation=SAME), fold)
    with pytest.raises(UserError, match=r"^the teacher's training: the loss is nan in epoch 2; give "):
        teaching(workspace, source.splits.train)
    assert not list(workspace.fold_teachers.glob("*.safetensors"))


@pytest.mark.parametrize("gone", [".safetensors", ".json"])
def test_a_trained_teacher_that_is_gone_is_trained_again(source: Source, tmp_path: Path, gone: str) -> None:
    workspace, train = source.study(tmp_path, teacher="tiny"), source.splits.train
    before = teaching(workspace, train)
    before.path.with_suffix(gone).unlink()
    after = teaching(workspace, train)
    assert after.path == before.path
    assert load_teacher(after.path, CLASSES)
    np.testing.assert_array_equal(said(after, source.images), said(before, source.images))


def test_weights_make_a_teacher_good_in_fewer_epochs(taught: Teacher, source: Source, tmp_path: Path) -> None:
    def right(**settings: Any) -> float:
        workspace = source.study(tmp_path / str(len(settings)), teacher="tiny", **settings)
        validation = source.splits.validation
        teacher = teaching(workspace, source.splits.train, 1)
        return float((said(teacher, source.images[validation]).argmax(1) == source.labels[validation]).mean())

    assert right() < 0.8
    assert right(teacher_weights=str(taught.path)) > 0.9


def save_teacher(path: Path, **fields: object) -> ModelSpec:
    """An untrained network in a file."""
    spec = ModelSpec.model_validate(
        {
            "name": "small",
            "channels": 3,
            "image_size": 8,
            "classes": CLASSES,
            "mean": (100.0,) * 3,
            "std": (50.0,) * 3,
            **fields,
        }
    )
    save_model(build_model(spec, seed=1), spec, path, {})
    return spec


def test_a_teacher_from_a_file_speaks_as_the_network_in_it(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    save_teacher(path)
    before = path.stat().st_mtime_ns
    workspace = source.study(tmp_path, teacher=str(path))
    expected = predict(load_model(path)[0], source.images, CPU)
    for teacher in (teaching(workspace, source.splits.train), taught_by(workspace, Fold(Stage.SEARCH, 3))):
        np.testing.assert_array_equal(said(teacher, source.images), expected)
        assert (teacher.path, teacher.images, teacher.seconds) == (path, 0, 0)
        assert not teacher.network.training
    assert path.stat().st_mtime_ns == before
    assert not workspace.fold_teachers.exists()
    assert not workspace.final_teachers.exists()


def test_a_teacher_that_knows_the_classes_in_another_order_is_understood(
    source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "teacher.safetensors"
    others = ("hen", "cat", "pig", "dog", "cow")
    save_teacher(path, classes=others)
    own_words = predict(load_model(path)[0], source.images, CPU)
    teacher = teaching(source.study(tmp_path, teacher=str(path)), source.splits.train)
    translated = said(teacher, source.images)
    for number, name in enumerate(CLASSES):
        np.testing.assert_array_equal(translated[:, number], own_words[:, others.index(name)])


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("cat", "dog"), "its classes are cat, dog, the data's cat, cow, dog, hen, pig; "),
        (("cat", "cow", "dog", "hen", "fox"), "its classes are cat, cow, dog, hen, fox, the data's cat, "),
        ((*CLASSES, "yak", "zho"), "its classes are cat, cow, dog, hen, pig and 2 more, the data's "),
    ],
)
def test_a_teacher_of_other_classes_is_refused_by_name(
    source: Source, tmp_path: Path, classes: tuple[str, ...], said: str
) -> None:
    path = tmp_path / "teacher.safetensors"
    save_teacher(path, classes=classes)
    workspace = source.study(tmp_path, teacher=str(path))
    for attempt in (
        lambda: load_teacher(path, CLASSES),
        lambda: teaching(workspace, source.splits.train),
        lambda: taught_by(workspace, Fold(Stage.SEARCH, 0)),
    ):
        with pytest.raises(UserError) as error:
            attempt()
        assert str(error.value).startswith(f"teacher {path}: {said}")
        assert str(error.value).endswith("or --teacher none")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"image_size": 16},
        {"image_size": 5},
        {"channels": 1, "mean": (100,), "std": (50,)},
        {"channels": 1, "mean": (100,), "std": (50,), "image_size": 20},
    ],
    ids=str,
)
@pytest.mark.parametrize("grey", [False, True])
def test_a_teacher_of_another_size_or_colour_is_understood(
    source: Source, tmp_path: Path, fields: dict[str, object], grey: bool
) -> None:
    if grey:
        source = source._replace(images=source.images[..., :1])
    path = tmp_path / "teacher.safetensors"
    save_teacher(path, **fields)
    workspace = source.study(tmp_path, teacher=str(path), epochs=1)
    logits = said(teaching(workspace, source.splits.train), source.images)
    assert np.isfinite(logits).all()
    assert (logits.std(axis=0) > 0).all()
    losses = set()
    for distillation in (SAME, CLEAN, None):
        candidate = Candidate(policy=Policy(num_ops=1), distillation=distillation)
        result = evaluate(workspace.folder, candidate, Fold(Stage.SEARCH, 0))
        losses.add(result.log_loss)
    assert len(losses) == 3
    assert np.isfinite(list(losses)).all()


@pytest.mark.parametrize(
    ("teacher", "said"),
    [("nowhere.safetensors", "no such file"), ("resnet50", "unknown model 'resnet50'; built in are tiny, ")],
)
def test_a_teacher_that_there_is_not_is_refused(
    source: Source, tmp_path: Path, teacher: str, said: str
) -> None:
    workspace = source.study(tmp_path, teacher=teacher)
    with pytest.raises(UserError, match=said) as error:
        teaching(workspace, source.splits.train)
    assert "\n" not in str(error.value)


def test_a_teacher_whose_weights_cannot_be_fetched_is_named_in_one_line(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    workspace = source.study(tmp_path, teacher="torchvision:squeezenet1_1", teacher_weights="hub")
    with pytest.raises(
        UserError,
        match=r"the weights of torchvision:squeezenet1_1 are in no cache and could not be fetched \(.+\);",
    ) as error:
        teaching(workspace, source.splits.train)
    assert "\n" not in str(error.value)
    assert not list(workspace.final_teachers.glob("*.safetensors"))
