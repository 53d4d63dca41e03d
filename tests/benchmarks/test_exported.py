"""The benchmark of exported forms: rows differ in the form alone, and a form changes batches by its seed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.datasets import load_sample_image

from augsearch.policies import Policy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def exported() -> Iterator[Any]:
    threads = torch.get_num_threads()  # the benchmark takes one
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.exported")
    torch.set_num_threads(threads)


@pytest.mark.parametrize("form", ["augsearch, other draws", "torchvision", "timm"])
def test_a_form_changes_a_batch_by_its_seed(form: str, exported: Any, tmp_path: Path) -> None:
    flower = load_sample_image("flower.jpg")
    images = np.stack([flower[at : at + 64, at : at + 64] for at in range(100, 108)])
    try:
        change, _ = exported.change_of(form, Policy.named(exported.POLICY), tmp_path)
    except ImportError as error:
        pytest.skip(f"needs {error.name}")
    first = change(images, 3)
    assert (first.shape, first.dtype) == (images.shape, np.uint8)
    assert (first != images).any()
    np.testing.assert_array_equal(change(images, 3), first)
    assert (change(images, 4) != first).any()


def test_a_page_comes_of_it_and_what_is_known_is_not_trained_again(
    exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_CHANGES", {"torchvision": exported._CHANGES["torchvision"]})
    rng = np.random.default_rng(0)
    for part, count in (("train", 5), ("val", 3)):
        for label in range(2):
            folder = tmp_path / "photos" / part / f"class{label}"
            folder.mkdir(parents=True)
            for index in range(count):
                image = 80 * label + rng.integers(0, 60, (16, 16, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / f"{index}.png"), image)
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    arguments = ["--flowers", str(tmp_path / "photos"), "--quick"]
    arguments += ["--output", str(results), "--markdown", str(page)]
    done = CliRunner().invoke(exported.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    jobs = [one["job"] for one in json.loads(results.read_text())["trainings"]]
    assert [job.pop("form") for job in jobs[:4]] == [
        *("augsearch", "augsearch, other draws", "torchvision", "no augmentation")
    ]
    assert all(job == jobs[0] for job in jobs[:4])
    assert "| torchvision |" in page.read_text()
    before = results.read_bytes()
    assert "seed" not in CliRunner().invoke(exported.main, arguments).stderr
    assert results.read_bytes() == before
