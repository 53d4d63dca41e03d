"""The teacher: made once, of the training part alone, and silent on the test part."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from augsearch.policies import Distillation, Policy, UserError
from augsearch.trainers import teachers
from augsearch.trainers.folds import Candidate, Fold, Stage, Workspace, write_workspace
from augsearch.trainers.inputs import spec_for
from augsearch.trainers.models import ModelSpec, build_model, load_model, save_model
from augsearch.trainers.proxy import evaluate
from augsearch.trainers.scores import Logits, predict
from augsearch.trainers.teachers import listened_to, load_teacher, prepare_teacher

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

CPU = torch.device("cpu")
CLASSES = ("cat", "cow", "dog", "hen", "pig")
SAME = Distillation(temperature=4, alpha=0.9)
CLEAN = Distillation(temperature=4, alpha=0.9, teacher_view="clean")


@pytest.fixture(scope="module")
def taught(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A study whose teacher was trained for it."""
    workspace = source.study(tmp_path_factory.mktemp("taught"), teacher="tiny")
    assert prepare_teacher(workspace.folder) > 0
    return workspace


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teachers that are trained for one epoch only."""
    monkeypatch.setattr(teachers, "default_epochs", lambda images: 1)


def logits_of(workspace: Workspace) -> Logits:
    return np.asarray(np.load(workspace.teacher_logits))


def test_a_teacher_says_nothing_of_test_images(taught: Workspace, source: Source) -> None:
    logits = logits_of(taught)
    assert logits.shape == (320, 5)
    assert logits.dtype == np.float32
    assert np.isfinite(logits[source.known]).all()
    assert np.isnan(logits[source.splits.test]).all()
    assert np.isnan(logits[source.splits.unlabeled]).all()


def test_a_teacher_learns_from_the_training_part_alone(
    taught: Workspace, source: Source, tmp_path: Path
) -> None:
    other = source.scrambled("test", "validation", "confirmation").study(tmp_path, teacher="tiny")
    prepare_teacher(other.folder)
    train = source.splits.train
    assert logits_of(other)[train].tobytes() == logits_of(taught)[train].tobytes()
    # It is a teacher worth listening to, on images that it has not seen too.
    validation = source.splits.validation
    assert (logits_of(taught)[validation].argmax(1) == source.labels[validation]).mean() > 0.9


def test_a_trained_teacher_is_kept_with_its_logits(taught: Workspace, source: Source) -> None:
    model, spec = load_model(taught.teacher_model)
    assert spec == spec_for(taught, "tiny")
    expected = predict(model, source.images[source.known], CPU)
    np.testing.assert_array_equal(logits_of(taught)[source.known], expected)
    left = {file.name for file in taught.folder.iterdir()}
    assert left == {"parts.npz", "workspace.json", "teacher.npy"}
    kept = {file.suffix for file in taught.teacher_model.parent.iterdir()}
    assert kept == {".safetensors", ".json", ".lock"}


def beside(workspace: Workspace, source: Source, name: str, **changed: Any) -> Workspace:
    """Another study of the same images in the same place."""
    proxy = workspace.proxy.model_copy(update=changed)
    return write_workspace(workspace.folder.with_name(name), workspace.data, source.splits, proxy)


def test_studies_of_the_same_images_share_a_teacher(taught: Workspace, source: Source) -> None:
    before = taught.teacher_model.stat()
    other = beside(taught, source, "longer", epochs=9, model="small", fold_size=20)
    assert other.teacher_model == taught.teacher_model
    prepare_teacher(other.folder)
    after = taught.teacher_model.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert logits_of(other).tobytes() == logits_of(taught).tobytes()


@pytest.mark.parametrize("changed", [{"teacher": "small"}, {"seed": 4}, {"teacher_weights": "hub"}])
def test_a_teacher_that_would_be_another_is_not_shared(
    taught: Workspace, source: Source, changed: dict[str, Any]
) -> None:
    assert beside(taught, source, "else", **changed).teacher_model != taught.teacher_model


def test_a_teacher_of_other_images_is_not_shared(taught: Workspace, source: Source, tmp_path: Path) -> None:
    names = {taught.teacher_model.name}
    names.add(source.scrambled("train").study(tmp_path / "a", teacher="tiny").teacher_model.name)
    # Another division: what was held out from the one must not be known to the other.
    splits = source.splits
    swapped = source._replace(
        splits=type(splits)(
            train=splits.validation,
            validation=splits.train,
            confirmation=splits.confirmation,
            test=splits.test,
            unlabeled=splits.unlabeled,
        )
    )
    names.add(swapped.study(tmp_path / "b", teacher="tiny").teacher_model.name)
    assert len(names) == 3


def test_studies_that_want_the_same_teacher_at_once_train_it_once(
    source: Source, tmp_path: Path, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    train_teacher = teachers._train_teacher

    def counted(workspace: Workspace, device: torch.device) -> None:
        trained.append(workspace.folder)
        train_teacher(workspace, device)

    monkeypatch.setattr(teachers, "_train_teacher", counted)
    first = source.study(tmp_path, teacher="tiny")
    studies = [first, *(beside(first, source, f"{number}", epochs=number) for number in (5, 6, 7))]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(prepare_teacher, [study.folder for study in studies]))
    assert len(trained) == 1
    assert len({logits_of(study).tobytes() for study in studies}) == 1


@pytest.mark.parametrize("gone", [".safetensors", ".json"])
def test_a_trained_teacher_that_is_gone_is_trained_again(
    source: Source, tmp_path: Path, hasty: None, gone: str
) -> None:
    workspace = source.study(tmp_path, teacher="tiny")
    prepare_teacher(workspace.folder)
    said = logits_of(workspace)
    teachers._teacher_network.cache_clear()
    workspace.teacher_model.with_suffix(gone).unlink()
    prepare_teacher(beside(workspace, source, "other", epochs=5).folder)
    assert load_teacher(workspace.teacher_model, CLASSES)
    workspace.teacher_model.unlink()
    network, _ = listened_to(workspace, SAME, CPU)
    assert network is not None
    np.testing.assert_array_equal(predict(network, source.images[source.known], CPU), said[source.known])


def test_weights_make_a_teacher_good_in_fewer_epochs(
    taught: Workspace, source: Source, tmp_path: Path, hasty: None
) -> None:
    def right(**settings: Any) -> float:
        workspace = source.study(tmp_path / str(len(settings)), teacher="tiny", **settings)
        prepare_teacher(workspace.folder)
        validation = source.splits.validation
        return float((logits_of(workspace)[validation].argmax(1) == source.labels[validation]).mean())

    assert right() < 0.8
    assert right(teacher_weights=str(taught.teacher_model)) > 0.9


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
    prepare_teacher(workspace.folder)
    expected = predict(load_model(path)[0], source.images[source.known], CPU)
    np.testing.assert_array_equal(logits_of(workspace)[source.known], expected)
    assert np.isnan(logits_of(workspace)[source.splits.test]).all()
    assert workspace.teacher_model == path
    assert path.stat().st_mtime_ns == before
    assert not (workspace.folder.parent / "teachers").exists()


def test_a_teacher_that_knows_the_classes_in_another_order_is_understood(
    source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "teacher.safetensors"
    others = ("hen", "cat", "pig", "dog", "cow")
    save_teacher(path, classes=others)
    workspace = source.study(tmp_path, teacher=str(path))
    prepare_teacher(workspace.folder)
    own_words = predict(load_model(path)[0], source.images[source.known], CPU)
    said = logits_of(workspace)[source.known]
    for number, name in enumerate(CLASSES):
        np.testing.assert_array_equal(said[:, number], own_words[:, others.index(name)])
    network, _ = listened_to(workspace, SAME, CPU)
    assert network is not None
    np.testing.assert_array_equal(predict(network, source.images[source.known], CPU), said)


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
        lambda: prepare_teacher(workspace.folder),
        lambda: load_teacher(path, CLASSES),
        lambda: listened_to(workspace, SAME, CPU),
        lambda: listened_to(workspace, CLEAN, CPU),
    ):
        with pytest.raises(UserError) as error:
            attempt()
        assert str(error.value).startswith(f"teacher {path}: {said}")
        assert str(error.value).endswith("or --teacher none")
        assert "\n" not in str(error.value)
    assert not workspace.teacher_logits.exists()


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
    prepare_teacher(workspace.folder)
    said = logits_of(workspace)[source.known]
    assert np.isfinite(said).all()
    assert (said.std(axis=0) > 0).all()
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
        prepare_teacher(workspace.folder)
    assert "\n" not in str(error.value)


def test_a_teacher_whose_weights_cannot_be_fetched_is_named_in_one_line(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No network: the proxy is a port where nobody listens.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    workspace = source.study(tmp_path, teacher="torchvision:squeezenet1_1", teacher_weights="hub")
    with pytest.raises(
        UserError, match=r"the weights of torchvision:squeezenet1_1 could not be fetched \(.+\);"
    ) as error:
        prepare_teacher(workspace.folder)
    assert "\n" not in str(error.value)
    assert not workspace.teacher_logits.exists()


def test_a_teacher_is_made_only_where_one_is_asked_for_and_missing(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    save_teacher(path)
    workspace = source.study(tmp_path, teacher=str(path))
    assert listened_to(workspace, None, CPU) == (None, None)
    assert not workspace.teacher_logits.exists()
    network, made = listened_to(workspace, CLEAN, CPU)
    assert network is None
    assert made is not None
    np.testing.assert_array_equal(made, logits_of(workspace))
    network, logits = listened_to(workspace, SAME, CPU)
    assert logits is None
    assert network is not None
    assert not network.training
    path.unlink()
    _, again = listened_to(workspace, CLEAN, CPU)
    np.testing.assert_array_equal(again, made)
    with pytest.raises(UserError, match=r"teacher\.safetensors: no such file"):
        listened_to(workspace, SAME, CPU)
