"""The same images, labels and parts in the same order are the same data set, whatever form they come in."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augsearch.policies import UserError
from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.form import Form, Layout
from augsearch.trainers.data.images import open_images
from augsearch.trainers.data.sources.base import find_source
from augsearch.trainers.data.splits import split

CLASSES = ("cat", "dog")
Rows = list[tuple[str, str, str, bytes]]
"""Part, class, name and the file's bytes."""


def rows() -> Rows:
    rng = np.random.default_rng(0)
    made = []
    for part, count in (("train", 12), ("test", 3)):
        for name in CLASSES:
            for number in range(count):
                shape = (24, 20, 3) if number % 3 else (20, 28)
                buffer = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(buffer, "PNG")
                made.append((part, name, f"{number:02}.png", buffer.getvalue()))
    return made


def as_folder(root: Path) -> str:
    for part, name, file, content in rows():
        path = root / "pets" / part / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(root / "pets")


def as_table(root: Path) -> str:
    as_folder(root)
    lines = [f"{part}/{name}/{file},{name},{part}" for part, name, file, _ in rows()]
    (root / "pets.csv").write_text("\n".join(["file,label,split", *lines]))
    return str(root / "pets.csv")


def as_zip(root: Path) -> str:
    with zipfile.ZipFile(root / "pets.zip", "w") as archive:
        for part, name, file, content in reversed(rows()):
            archive.writestr(f"pets/{part}/{name}/{file}", content)
    return str(root / "pets.zip")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def as_tar(root: Path) -> str:
    with tarfile.open(root / "pets.tar", "w") as tar:
        for part, name, file, content in rows():
            add(tar, f"./{part}/{name}/{file}", content)
    return str(root / "pets.tar")


def as_shards(root: Path) -> str:
    (root / "shards").mkdir()
    for part in ("train", "test"):
        own = [row for row in rows() if row[0] == part]
        for shard in range(2):
            with tarfile.open(root / "shards" / f"{part}-{shard:04}.tar", "w") as tar:
                some = own[: len(own) // 2] if shard == 0 else own[len(own) // 2 :]
                for number, (_, name, _, content) in enumerate(some):
                    add(tar, f"{number:05}.png", content)
                    if number % 2:
                        add(tar, f"{number:05}.cls", name.encode())
                    else:
                        add(tar, f"{number:05}.json", f'{{"label": "{name}"}}'.encode())
    return str(root / "shards")


def datasets_of(part: str) -> object:
    datasets = pytest.importorskip("datasets", reason="pip install 'augsearch[hf]'")
    own = [row for row in rows() if row[0] == part]
    features = datasets.Features(
        {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=list(CLASSES))}
    )
    return datasets.Dataset.from_dict(
        {
            "picture": [{"bytes": content, "path": file} for _, _, file, content in own],
            "kind": [name for _, name, _, _ in own],
        },
        features=features,
    )


def as_saved(root: Path) -> str:
    datasets = pytest.importorskip("datasets", reason="pip install 'augsearch[hf]'")
    both = datasets.DatasetDict({part: datasets_of(part) for part in ("train", "test")})
    both.save_to_disk(str(root / "saved"))
    return str(root / "saved")


def as_parquet(root: Path) -> str:
    (root / "hub" / "data").mkdir(parents=True)
    for part in ("train", "test"):
        datasets_of(part).to_parquet(root / "hub" / "data" / f"{part}-00000-of-00001.parquet")  # type: ignore[attr-defined]
    return str(root / "hub")


def as_imagefolder(root: Path) -> str:
    pytest.importorskip("datasets", reason="pip install 'augsearch[hf]'")
    return f"hf:{as_folder(root)}"


FORMS: dict[str, Callable[[Path], str]] = {
    "table": as_table,
    "zip": as_zip,
    "tar": as_tar,
    "shards": as_shards,
    "saved": as_saved,
    "parquet": as_parquet,
    "imagefolder": as_imagefolder,
}


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Path:
    """Where ``datasets`` keeps what it reads."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf", raising=False)
    return tmp_path


def opened(source: str, cache: Path, form: Form | None = None) -> ImageData:
    return open_images(source, image_size=16, cache=cache, form=form or Form())


@pytest.mark.parametrize("form", FORMS)
def test_images_splits_and_fingerprint_are_those_of_the_folder(form: str, at_home: Path) -> None:
    (at_home / "folder").mkdir()
    folder = opened(as_folder(at_home / "folder"), at_home / "cache")
    other = opened(FORMS[form](at_home), at_home / "other")
    assert other.fingerprint == folder.fingerprint
    np.testing.assert_array_equal(other.images, folder.images)
    assert other.classes == folder.classes == CLASSES
    assert other.given.tolist() == folder.given.tolist() == [Split.TRAIN] * 24 + [Split.TEST] * 6
    parts = [split(data.labels, data.given, classes=CLASSES, seed=3).digests() for data in (folder, other)]
    assert parts[0] == parts[1]


def test_arrays_of_the_decoded_images_are_the_same_data_set(tmp_path: Path) -> None:
    folder = opened(as_folder(tmp_path), tmp_path / "cache")
    path = tmp_path / "pets.npz"
    np.savez(path, images=folder.images, labels=folder.labels, classes=CLASSES, parts=folder.given)
    arrays = opened(str(path), tmp_path / "cache")
    np.testing.assert_array_equal(arrays.images, folder.images)
    assert arrays.labels.tolist() == folder.labels.tolist()
    assert arrays.given.tolist() == folder.given.tolist()


# What only archives, shards and data sets of Hugging Face have.


def test_an_archive_keeps_to_the_rules_for_folders(tmp_path: Path) -> None:
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for part, name, file, content in rows():
            archive.writestr(f"Pets/{part}ing_set/{name}/{file}", content)
        archive.writestr("Pets/README.md", "of pets")
        archive.writestr("__MACOSX/Pets/._01.png", b"nothing")
    data = opened(str(path), tmp_path / "cache")
    assert data.classes == CLASSES
    assert any("1 .md" in note for note in data.notes)
    assert not any(str(tmp_path.parent / "tmp") in note for note in data.notes)


def test_what_leads_out_of_an_archive_is_passed_over_and_nothing_is_written(tmp_path: Path) -> None:
    path, content = tmp_path / "in" / "pets.tar", rows()[0][3]
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for _, name, file, image in rows()[:24]:
            add(tar, f"{name}/{file}", image)
        for evil in ("../../evil.png", "/evil.png", "cat/../../../evil.png"):
            add(tar, evil, content)
        link = tarfile.TarInfo("dog/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data = opened(str(path), tmp_path / "cache")
    assert len(data.labels) == 24
    assert any("passed over 4 members" in note for note in data.notes)
    assert not list(tmp_path.parent.rglob("evil.png"))


def test_an_archive_that_is_damaged_or_compressed_is_one_line(tmp_path: Path) -> None:
    whole = Path(as_zip(tmp_path)).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.zip is no archive, or is damaged"):
        find_source(str(tmp_path / "cut.zip")).open()
    with tarfile.open(tmp_path / "pets.tar.gz", "w:gz") as tar:
        add(tar, "cat/1.png", rows()[0][3])
    with pytest.raises(UserError, match="compressed as a whole"):
        find_source(str(tmp_path / "pets.tar.gz")).open()
    content = Path(as_tar(tmp_path)).read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"cut\.tar is no archive, or is damaged"):
        find_source(str(tmp_path / "cut.tar")).open()


def test_a_damaged_image_in_an_archive_is_named(tmp_path: Path) -> None:
    path = Path(as_zip(tmp_path))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("pets/train/cat/03.png")
    start = info.header_offset + 30 + len(info.filename)
    content[start + 40 : start + 80] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read pets/train/cat/03\.png \(damaged in the archive"):
        opened(str(path), tmp_path / "cache")


def test_shards_by_number_fields_and_groups(tmp_path: Path) -> None:
    for shard in range(2):
        with tarfile.open(tmp_path / f"pets-{shard:03}.tar", "w") as tar:
            for number, (_, name, _, content) in enumerate(rows()[12 * shard : 12 * shard + 12]):
                fields = f'{{"label": 7, "species": "{name}", "patient": {number // 2}}}'
                add(tar, f"{number}.png", content)
                add(tar, f"{number}.json", fields.encode())
    form = Form(layout=Layout(label_column="species", group_column="patient"))
    data = opened(str(tmp_path / "pets-{000..001}.tar"), tmp_path / "cache", form)
    assert data.classes == CLASSES
    assert data.groups is not None
    assert len(set(data.groups.tolist())) == 6
    with pytest.raises(UserError, match=r"there is no file .*pets-002\.tar"):
        find_source(str(tmp_path / "pets-{000..002}.tar"))


def test_images_of_a_shard_without_a_label_are_unlabeled(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "pets.tar", "w") as tar:
        for number, (_, name, _, content) in enumerate(rows()[:24]):
            add(tar, f"a/{number}.png", content)
            if number % 6:
                add(tar, f"a/{number}.cls", name.encode())
    data = opened(str(tmp_path / "pets.tar"), tmp_path / "cache")
    assert (data.labels < 0).sum() == 4
    assert ((data.given == Split.UNLABELED) == (data.labels < 0)).all()


def test_columns_of_a_hugging_face_set_may_be_named(at_home: Path) -> None:
    source = as_saved(at_home)
    form = Form(layout=Layout(label_column="colour"))
    with pytest.raises(UserError, match=r"has no column colour \(--label-column\): it has picture, kind"):
        opened(source, at_home / "cache", form)
    with pytest.raises(UserError, match="could not be loaded from the hub"):
        opened("hf:nobody/nothing-of-that-name", at_home / "cache")


def test_names_in_an_archive_may_be_written_otherwise(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for part, name, file, content in rows():
            archive.writestr(f"./{part}//{name}/./{file}", content)
    with tarfile.open(tmp_path / "pets.tar", "w") as tar:
        for part, name, file, content in rows():
            add(tar, f"{part}//{name}/{file}", content)
    (tmp_path / "folder").mkdir()
    folder = opened(as_folder(tmp_path / "folder"), tmp_path / "cache")
    for suffix in ("zip", "tar"):
        data = opened(str(tmp_path / f"pets.{suffix}"), tmp_path / suffix)
        assert data.fingerprint == folder.fingerprint


def test_a_field_of_groups_that_no_shard_has_is_refused_and_images_without_one_stand_alone(
    tmp_path: Path,
) -> None:
    with tarfile.open(tmp_path / "pets.tar", "w") as tar:
        for number, (_, name, _, content) in enumerate(rows()[:24]):
            patient = ("null", "7")[number % 2]
            add(tar, f"{number}.png", content)
            add(tar, f"{number}.json", f'{{"label": "{name}", "patient": {patient}}}'.encode())
    path = str(tmp_path / "pets.tar")
    groups = opened(path, tmp_path / "cache", Form(layout=Layout(group_column="patient"))).groups
    assert groups is not None
    assert sorted(np.unique(groups, return_counts=True)[1].tolist()) == [*[1] * 12, 12]
    with pytest.raises(UserError, match=r"no \.json has a field patiant \(--group-column\)"):
        opened(path, tmp_path / "cache", Form(layout=Layout(group_column="patiant")))


def test_labels_of_an_unlabeled_part_are_not_looked_at(at_home: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="pip install 'augsearch[hf]'")
    (at_home / "shards").mkdir()
    for part, names in (("train", CLASSES), ("unlabeled", ("cat", "fox"))):
        with tarfile.open(at_home / "shards" / f"{part}-0.tar", "w") as tar:
            for number, (_, _, _, content) in enumerate(rows()[:10]):
                add(tar, f"{number}.png", content)
                add(tar, f"{number}.cls", names[number % 2].encode())
    train = datasets_of("train")
    both = datasets.DatasetDict({"train": train, "unlabeled": train, "test": datasets_of("test")})
    both.save_to_disk(str(at_home / "saved"))
    both["unlabeled"] = train.remove_columns("kind")  # type: ignore[attr-defined]
    both.save_to_disk(str(at_home / "without"))
    for source in ("shards", "saved", "without"):
        data = opened(str(at_home / source), at_home / source / "cache")
        assert data.classes == CLASSES
        unlabeled = data.given == Split.UNLABELED
        assert (data.labels[unlabeled] == -1).all()
        assert (data.labels[~unlabeled] >= 0).all()
        assert unlabeled.any()


def test_each_part_of_a_hugging_face_set_says_what_its_numbers_mean(at_home: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="pip install 'augsearch[hf]'")
    train, test = datasets_of("train"), datasets_of("test")
    dogs = datasets.ClassLabel(names=["dog"])
    alone = test.filter(lambda row: row["kind"] == 1)  # type: ignore[attr-defined]
    alone = alone.map(lambda row: {"kind": 0}).cast_column("kind", dogs)
    datasets.DatasetDict({"train": train, "test": alone}).save_to_disk(str(at_home / "encoded"))
    data = opened(str(at_home / "encoded"), at_home / "cache")
    assert data.classes == CLASSES
    assert {CLASSES[label] for label in data.labels[data.given == Split.TEST]} == {"dog"}
    plain = test.cast_column("kind", datasets.Value("int64"))  # type: ignore[attr-defined]
    datasets.DatasetDict({"train": train, "test": plain}).save_to_disk(str(at_home / "plain"))
    with pytest.raises(UserError, match="column kind names its classes, but for part test"):
        opened(str(at_home / "plain"), at_home / "cache")
    without = test.remove_columns("kind")  # type: ignore[attr-defined]
    datasets.DatasetDict({"train": train, "test": without}).save_to_disk(str(at_home / "without"))
    with pytest.raises(UserError, match="its part test has no column kind: add it, or remove that part"):
        opened(str(at_home / "without"), at_home / "cache")
