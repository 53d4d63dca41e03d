"""``--validation``: what is said of it, what it decides, and how a study depends on it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from augsearch.policies import Policy, PolicyFile, UserError, write_policy
from augsearch.search.console import Display
from augsearch.search.final.plan import final_key, final_pixels, final_selection_set
from augsearch.search.inputs.identity import identity_of
from augsearch.search.inputs.prepare import open_data
from augsearch.search.inputs.run_data import Data
from augsearch.search.pipelines.run import run
from augsearch.search.settings.files import load_settings
from augsearch.search.settings.settings import Settings
from augsearch.search.studies.study import entries, load_study, open_storage
from augsearch.trainers.data.views import Decoded, OnDisk


def settings_of(data: str, **fields: Any) -> Settings:
    usual = {"trials": 6, "folds": 1, "confirm_folds": 2, "epochs": 1, "workers": 1, "final_epochs": 1}
    networks = {"proxy_model": "tiny", "final_model": "tiny", "teacher": "none"}
    return load_settings(None, {"data": data, **usual, **networks, **fields})


def opened(settings: Settings) -> tuple[Data, str]:
    said = io.StringIO()
    return open_data(settings, Display(Console(file=said))), said.getvalue()


@pytest.fixture
def dusk(stripes: str) -> str:
    """30 of the stripes, darker; the last is as it was, the one before a copy of another."""
    with np.load(stripes) as held:
        images, labels = held["images"][::4] // 2, held["labels"][::4]
        images[-2] = images[-3]
        images[-1] = held["images"][-1]
    np.savez("dusk.npz", images=images, labels=labels)
    return "dusk.npz"


def test_it_is_said_what_counts_and_what_is_left_out(stripes: str, dusk: str) -> None:
    data, said = opened(settings_of(stripes, validation=dusk))
    assert data.target is not None
    known = np.concatenate([data.splits.train, data.splits.validation, data.splits.test])
    copied = 119 in known
    line = next(line for line in said.splitlines() if line.startswith("optimising for dusk.npz"))
    counts = f"{len(data.target.validation)} images for the search, {len(data.target.confirmation)} for"
    assert counts in line
    assert ("1 left out that are also in train, validation or test" in line) == copied
    assert "1 left out that repeat others" in line
    assert len(data.target.used) == 29 - copied
    assert "optimising for" not in opened(settings_of(stripes))[1]


def test_a_class_without_an_image_is_said(stripes: str) -> None:
    with np.load(stripes) as held:
        np.savez("two.npz", images=held["images"][:80:5] // 3, labels=held["labels"][:80:5])
    assert "; of some classes there are none (2)" in opened(settings_of(stripes, validation="two.npz"))[1]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("done", ["drop", "merge"])
def test_what_becomes_of_rare_classes_becomes_of_the_targets(stripes: str, done: str, named: bool) -> None:
    """Of the third class of the stripes only few are left to train on; the target has it in full."""
    names = np.array(["a", "b", "c", "d"]) if named else np.arange(4)
    with np.load(stripes) as held:
        images, labels = held["images"], held["labels"] + (np.arange(120) >= 100)
    few = np.r_[:83, 100:103]
    np.savez("few.npz", images=images[few], labels=names[labels[few]])
    np.savez("dusk.npz", images=images[::4] // 2, labels=names[labels[::4]])
    settings = settings_of("few.npz", validation="dusk.npz", min_per_class=5, rare_classes=done)
    data, said = opened(settings)
    assert data.target is not None
    assert data.images.classes == (*map(str, names[:2]), *(["other"] if done == "merge" else []))
    assert len(data.target.used) == (20 if done == "drop" else 30)
    assert ("; 10 left out of classes that are too rare in the data" in said) == (done == "drop")


def test_bad_images_are_skipped_if_they_may_be(stripes: str) -> None:
    with np.load(stripes) as held:
        images = held["images"][::4] / 300
    images[3] = np.nan
    np.savez("holes.npz", images=images, labels=np.arange(120)[::4] // 40)
    with pytest.raises(
        UserError, match=r"^validation images: holes: cannot read index 3 .*--skip-bad-images"
    ):
        opened(settings_of(stripes, validation="holes.npz"))
    _, said = opened(settings_of(stripes, validation="holes.npz", skip_bad_images=True))
    assert "skipped index 3" in said


def test_a_study_knows_its_target_by_content_and_one_of_old_has_none(stripes: str, dusk: str) -> None:
    def identity(**fields: Any) -> dict[str, Any]:
        settings = settings_of(stripes, **fields)
        return identity_of(settings, opened(settings)[0])

    # Not even as a field: an unnamed study's name is made of the fields.
    assert "validation" not in identity()
    assert "metric" not in identity()
    aimed = identity(validation=dusk)
    assert aimed.items() > identity().items()
    Path("renamed.npz").write_bytes(Path(dusk).read_bytes())
    assert identity(validation="renamed.npz") == aimed
    with np.load(dusk) as held:
        np.savez("other.npz", images=held["images"] + 1, labels=held["labels"])
    assert identity(validation="other.npz")["validation"] != aimed["validation"]


def test_a_target_makes_another_workspace_and_another_final_model(stripes: str, dusk: str) -> None:
    write_policy(PolicyFile(policy=Policy()), Path("policy.json"))
    plain, aimed = settings_of(stripes), settings_of(stripes, validation=dusk)
    data, other = opened(plain)[0], opened(aimed)[0]
    assert data.workspace.folder != other.workspace.folder
    assert final_key(Path("policy.json"), plain, data) != final_key(Path("policy.json"), aimed, other)


@pytest.mark.parametrize("side", [None, 24])
def test_the_best_epoch_is_known_by_the_confirmation_half(stripes: str, dusk: str, side: int | None) -> None:
    settings = settings_of(stripes, validation=dusk, final_size=side)
    data, _ = opened(settings)
    assert data.target is not None
    yardstick = final_selection_set(settings, data, final_pixels(settings, data).side)
    assert yardstick is not None
    assert isinstance(yardstick.pixels, Decoded)
    images = np.concatenate(list(yardstick.pixels.clean(yardstick.rows)))
    half = data.target.confirmation
    assert images.shape == (len(half), side or 16, side or 16, 1)
    assert np.abs(images.mean(axis=(1, 2)) - data.target.images(half).mean(axis=(1, 2))).max() < 2
    assert yardstick.labels.tolist() == data.target.labels(half).tolist()
    plain = settings_of(stripes)
    assert final_selection_set(plain, opened(plain)[0], 16) is None


def test_large_images_are_read_from_the_targets_files_as_grey_as_the_data(stripes: str) -> None:
    for number in range(12):
        path = Path("photos") / str(number % 3) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 80), (0, 10 * number, 0)).save(path)
    settings = settings_of(stripes, validation="photos")
    data, _ = opened(settings)
    assert data.target is not None
    yardstick = final_selection_set(settings, data, 70)
    assert yardstick is not None
    assert isinstance(yardstick.pixels, OnDisk)
    images = np.concatenate(list(yardstick.pixels.clean(yardstick.rows)))
    assert images.shape == (6, 70, 70, 1)
    # ITU-R 601: green is 0.587 of grey.
    numbers = [int(Path(data.target.data.files[row]).stem) for row in yardstick.rows]
    expected = [round(5.87 * number) for number in numbers]
    assert images[:, 0, 0, 0].tolist() == pytest.approx(expected, abs=1)


def test_a_run_optimises_for_the_target_and_is_not_taken_up_with_another(stripes: str, dusk: str) -> None:
    settings = settings_of(stripes, validation=dusk, study="aimed")
    said = io.StringIO()
    outcome = run(settings, Display(Console(file=said)))
    study = load_study(open_storage(settings.tracking.storage), "aimed")
    data, _ = opened(settings)
    assert data.target is not None
    for entry in entries(study):
        (result,) = entry.results
        assert len(result.correct) == len(data.target.validation)
        assert result.beside is not None
    assert study.user_attrs["data summary"]["target"] == dusk
    assert outcome.final is not None
    (read,) = study.user_attrs["test"]["reads"]
    assert read["by"] == "augsearch run, study aimed"
    assert study.user_attrs["verdict"]["confirmation"][0]["beside"] is not None
    for other in (None, stripes):
        fields = {"validation": other} if other else {}
        with pytest.raises(
            UserError, match=r"study 'aimed' was made from other data or settings: validation was"
        ):
            run(settings_of(stripes, study="aimed", **fields), Display(Console(file=said)))
