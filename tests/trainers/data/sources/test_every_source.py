"""What every source of images keeps to, those that are added later included; and one that a test adds."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from augsearch.policies import TRIVIALAUGMENT, PolicyFile, UserError, write_policy
from augsearch.search.cli import main
from augsearch.trainers.data import sources
from augsearch.trainers.data.dataset import ImageData, Split
from augsearch.trainers.data.images import image_paths, open_images
from augsearch.trainers.data.sources.base import SourceKind, find_source, source_kinds
from augsearch.trainers.system.registry import declared_in

SIDE = 8


class Example(NamedTuple):
    """A data set of a kind, ready to open, and what may become of it."""

    source: str | None
    change: Callable[[], object] | None = None
    """Makes it another data set, if that is possible."""
    damage: Callable[[], str] | None = None
    """Makes one image unreadable and tells its name, if that is possible."""


def pixels(count: int, side: int = 12) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def folder(root: Path) -> Example:
    for number, image in enumerate(pixels(8)):
        path = root / "pets" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    some = root / "pets" / "dog" / "3.png"

    def damage() -> str:
        some.write_bytes(some.read_bytes()[:40])
        return "dog/3.png"

    return Example(str(root / "pets"), some.unlink, damage)


def archive(root: Path) -> Example:
    path = root / "pets.npz"
    labels = np.array([0, 1, 0, 1, 0, 1, -1, -1])

    def save(count: int, broken: int | None = None) -> str:
        images = pixels(8)[:count] / 255
        if broken is not None:
            images[broken] = np.nan
        np.savez(path, images=images, labels=labels[:count], unlabeled_truth=labels[:2])
        return f"index {broken}"

    save(8)
    return Example(str(path), lambda: save(6), lambda: save(8, broken=2))


def embedded(root: Path) -> Example:
    return Example(None)


def torchvision(root: Path) -> Example:
    raw = root / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 20), ("t10k", 10)):
        for kind, array in (
            ("images-idx3", pixels(count, 28)[..., 0]),
            ("labels-idx1", np.arange(count) % 10),
        ):
            values = array.astype(np.uint8)
            header = np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes()
            (raw / f"{name}-{kind}-ubyte").write_bytes(header + values.tobytes())
    return Example("torchvision:FashionMNIST", (raw / "more").touch)


def manifest(root: Path) -> Example:
    lines = ["file,label,split"]
    for number, image in enumerate(pixels(8)):
        (root / "images").mkdir(exist_ok=True)
        Image.fromarray(image).save(root / "images" / f"{number}.png")
        lines.append(f"{number}.png,{('cat', 'dog', '')[number % 3]},")
    path = root / "pets.csv"
    path.write_text("\n".join(lines))
    some = root / "images" / "3.png"

    def damage() -> str:
        some.write_bytes(some.read_bytes()[:40])
        return "3.png"

    return Example(str(path), lambda: path.write_text("\n".join(lines[:-2])), damage)


def zipped(root: Path) -> Example:
    """A zip file of the folder above."""
    inside = Path(folder(root).source or "")
    path = root / "pets.zip"

    def pack(most: int = 8) -> None:
        with zipfile.ZipFile(path, "w") as packed:
            for image in sorted(inside.rglob("*.png"))[:most]:
                packed.write(image, image.relative_to(inside))

    def damage() -> str:
        (inside / "dog" / "3.png").write_bytes((inside / "dog" / "3.png").read_bytes()[:40])
        pack()
        return "dog/3.png"

    pack()
    return Example(str(path), lambda: pack(7), damage)


def shards(root: Path) -> Example:
    path = root / "pets-0000.tar"

    def pack(count: int = 8, broken: int | None = None) -> str:
        with tarfile.open(path, "w") as tar:
            for number, image in enumerate(pixels(8)[:count]):
                buffer = io.BytesIO()
                Image.fromarray(image).save(buffer, "PNG")
                content = buffer.getvalue()[:40] if number == broken else buffer.getvalue()
                label = ("cat", "dog", "")[number % 3].encode()
                for suffix, held in (("png", content), ("cls", label)):
                    info = tarfile.TarInfo(f"{number}.{suffix}")
                    info.size = len(held)
                    tar.addfile(info, io.BytesIO(held))
        return f"{path.name}/{broken}.png"

    pack()
    return Example(str(path), lambda: pack(7), lambda: pack(broken=3))


def saved(root: Path) -> Example:
    datasets = pytest.importorskip("datasets", reason="pip install 'augsearch[hf]'")
    path = root / "pets"

    def save(broken: int | None = None) -> str:
        contents = []
        for number, image in enumerate(pixels(8)):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            contents.append(buffer.getvalue()[:40] if number == broken else buffer.getvalue())
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
        rows = {
            "image": [{"bytes": content, "path": None} for content in contents],
            "label": [("cat", "dog", None)[number % 3] for number in range(8)],
        }
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(path))
        return f"index {broken}"

    save()
    return Example(str(path), (path / "more").touch, lambda: save(broken=3))


EXAMPLES: dict[str, Callable[[Path], Example]] = {
    "folders": folder,
    "arrays": archive,
    "manifests": manifest,
    "archives": zipped,
    "shards": shards,
    "hugging_face": saved,
    "embedded": embedded,
    "torchvision": torchvision,
}
"""By the name of the file that declares the kind; a new one is tested as soon as it has an example here."""


@pytest.fixture(params=declared_in(sources.__name__, "KIND", SourceKind))
def example(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    monkeypatch.setenv("AUGSEARCH_DATA", str(tmp_path / "data"))
    assert request.param in EXAMPLES, "give it an example above"
    return EXAMPLES[request.param](tmp_path)


def opened(example: Example, cache: Path, **options: object) -> ImageData:
    return open_images(example.source, image_size=SIDE, cache=cache, **options)  # type: ignore[arg-type]


def test_no_two_kinds_are_asked_at_once() -> None:
    orders = [kind.order for kind in source_kinds()]
    assert orders == sorted(set(orders))


def test_one_kind_knows_it_and_no_other(example: Example) -> None:
    assert len([kind for kind in source_kinds() if kind.find(example.source)]) == 1
    assert find_source(example.source).name


def test_finding_it_and_its_signature_load_no_library_that_is_slow(example: Example) -> None:
    code = (
        "import sys; from augsearch.trainers.data.sources.base import find_source\n"
        "find_source(sys.argv[1] if len(sys.argv) > 1 else None).signature()\n"
        "slow = {'torch', 'torchvision', 'optuna', 'mlflow'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    given = [] if example.source is None else [example.source]
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_its_signature_is_the_same_until_it_changes(example: Example) -> None:
    before = find_source(example.source).signature()
    assert find_source(example.source).signature() == before
    if example.change is not None:
        example.change()
        assert find_source(example.source).signature() != before


def test_its_samples_come_in_the_same_order_and_are_as_it_says(example: Example) -> None:
    source = find_source(example.source)
    first, second = (list(source.open().samples(SIDE)) for _ in range(2))
    assert len(first) == source.open().total
    classes = len(source.open().classes)
    for one, other in zip(first, second, strict=True):
        assert (one.file, one.label, one.split) == (other.file, other.label, other.split)
        assert one.pixels is not None
        assert other.pixels is not None
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.pixels.dtype == np.uint8
        assert one.pixels.shape[:2] == (SIDE, SIDE)
        assert one.pixels.shape[2] in (1, 3)
        assert -1 <= one.label < classes
        assert (one.label == -1) == (one.split is Split.UNLABELED)
    assert len({one.file for one in first}) == len(first)
    assert 8 <= source.open().side(64) <= 64


def test_its_images_are_files_where_it_says_so(example: Example, tmp_path: Path) -> None:
    data, source = opened(example, tmp_path / "cache"), find_source(example.source)
    paths = image_paths(example.source, data)
    assert (paths is None) == (source.folder is None)
    assert all(path.is_file() for path in paths or ())
    size = source.size()
    assert size is None or min(size) >= SIDE


def test_what_it_knows_of_images_without_a_label_fits_them(example: Example, tmp_path: Path) -> None:
    data = opened(example, tmp_path / "cache")
    truth = find_source(example.source).unlabeled_truth(data.files)
    if truth is not None:
        assert truth.shape == data.labels.shape
        assert (truth[data.labels >= 0] == -1).all()
        assert ((truth >= -1) & (truth < len(data.classes))).all()


def test_it_is_decoded_once(example: Example, tmp_path: Path) -> None:
    calls: list[int] = []
    first = opened(example, tmp_path / "cache", progress=lambda done, _: calls.append(done))
    decoded = len(calls)
    again = opened(example, tmp_path / "cache", progress=lambda done, _: calls.append(done))
    assert decoded > 0
    assert len(calls) == decoded
    assert (again.cache, again.fingerprint) == (first.cache, first.fingerprint)


def test_stopped_while_it_is_decoded_it_is_opened_again_as_if_nothing_had_been(
    example: Example, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(example, tmp_path / "cache", progress=stop)
    assert not list((tmp_path / "cache").iterdir())
    again, fresh = opened(example, tmp_path / "cache"), opened(example, tmp_path / "other")
    assert again.fingerprint == fresh.fingerprint
    assert again.files == fresh.files


def test_an_image_that_cannot_be_read_is_named_or_left_out(example: Example, tmp_path: Path) -> None:
    if example.damage is None:
        pytest.skip("none of its images can be damaged alone")
    name = example.damage()
    with pytest.raises(UserError, match=f"cannot read {name}"):
        opened(example, tmp_path / "cache")
    data = opened(example, tmp_path / "cache", skip_bad_images=True)
    assert len(data.skipped) == 1
    assert data.skipped[0].startswith(f"{name}: ")
    assert name not in data.files


# One that a test adds, by one file.

TOY = '''
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from augsearch.trainers.data.dataset import Split
from augsearch.trainers.data.sources.base import Sample, SourceKind


@dataclass(frozen=True)
class Stripes:
    """Upright and lying stripes, as many as its name says; found and opened at once."""

    total: int
    name: str = "stripes"
    folder: None = None
    classes: tuple[str, ...] = ("lying", "upright")

    def signature(self):
        return f"stripes {self.total}"

    def open(self):
        return self

    def side(self, largest):
        return 16

    def size(self):
        return 16, 16

    def samples(self, size):
        for number in range(self.total):
            image = np.zeros((size, size, 1), np.uint8)
            image[:: 2 + number % 3] = 200
            label = number % 2
            yield Sample(str(number), image.swapaxes(0, label), label, Split.ANY)

    def unlabeled_folder(self):
        return None

    def unlabeled_truth(self, files):
        return None


def find(source):
    number = (source or "").removeprefix("stripes:")
    return Stripes(int(number)) if number.isdigit() else None


KIND = SourceKind(order=40, given_as="stripes:NUMBER", find=find)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file in the package of sources, put there by somebody else."""
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "stripes.py").write_text(TOY)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path / "added")])
    yield tmp_path
    sys.modules.pop("augsearch.trainers.data.sources.stripes", None)


def test_a_source_is_added_by_one_file(toy: Path) -> None:
    data = open_images("stripes:30", image_size=None, cache=toy / "cache")
    assert (data.name, data.classes) == ("stripes", ("lying", "upright"))
    assert data.images.shape == (30, 16, 16, 1)
    assert data.labels.tolist() == [0, 1] * 15
    with pytest.raises(UserError, match=r"nowhere: give .*an \.npz file or stripes:NUMBER"):
        open_images("nowhere", image_size=None, cache=toy / "cache")


def test_commands_take_a_source_that_was_added(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy)
    write_policy(PolicyFile(policy=TRIVIALAUGMENT), toy / "policy.json")
    run = CliRunner().invoke(main, ["preview", "policy.json", "stripes:30", "-o", "sheet.png"])
    assert run.exit_code == 0, run.stderr
    assert (toy / "sheet.png").is_file()
