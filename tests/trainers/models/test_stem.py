"""Hub networks for images of bands: their first convolution, with weights and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from augsearch.policies import UserError
from augsearch.trainers.models.build import build_model, design, plain, prepared
from augsearch.trainers.models.saved import load_model, save_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.models.stem import first_convolution, fitted_weights


def of_bands(name: str, channels: int, weights: str = "none") -> ModelSpec:
    statistics = (tuple(100.0 + band for band in range(channels)), (50.0,) * channels)
    return design(
        name, channels=channels, image_size=32, classes=("a", "b"), statistics=statistics, weights=weights
    )


@pytest.mark.parametrize("name", ["small", "torchvision:resnet18", "timm:vit_tiny_patch16_224", "lite0"])
def test_every_kind_of_network_takes_bands(name: str) -> None:
    model = build_model(of_bands(name, 7), seed=0).eval()
    images = torch.randint(0, 256, (2, 7, 32, 32), dtype=torch.uint8)
    logits = model(images)
    assert logits.shape == (2, 2)
    changed = images.clone()
    changed[:, 6] = 255 - changed[:, 6]
    assert not torch.equal(model(changed), logits)


def test_weights_for_colours_are_repeated_and_keep_the_size_of_what_comes_out() -> None:
    spec = of_bands("lite0", 6, "hub")
    model, loaded = prepared(spec, "hub", seed=0)
    colours, _ = prepared(of_bands("lite0", 3, "hub"), "hub", seed=0)
    assert loaded is not None
    assert loaded.fresh == ("classifier.weight", "classifier.bias")
    twice, once = first_convolution(plain(model)), first_convolution(plain(colours))
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(twice(torch.cat([image, image], 1)), once(image), rtol=1e-4, atol=1e-4)
    # Each band by its own mean and deviation, not by those of photos.
    assert spec.mean == tuple(100.0 + band for band in range(6))


def test_weights_of_as_many_bands_stay_as_they_are() -> None:
    stem = torch.nn.Conv2d(5, 4, 3)
    given = {"stem.weight": torch.rand(4, 5, 3, 3), "head": torch.rand(2, 4)}
    assert all(fitted_weights(given, stem)[name] is tensor for name, tensor in given.items())


def test_a_model_of_bands_is_saved_and_loaded(tmp_path: Path) -> None:
    spec = of_bands("torchvision:resnet18", 5)
    model = build_model(spec, seed=0).eval()
    save_model(model, spec, tmp_path / "model.safetensors", {})
    again, known = load_model(tmp_path / "model.safetensors")
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 5, 32, 32), np.uint8))
    torch.testing.assert_close(again.eval()(images), model(images))
    assert known.channels == 5


def test_a_model_of_other_bands_is_no_start_for_these(tmp_path: Path) -> None:
    spec = of_bands("small", 5)
    save_model(build_model(spec, seed=0), spec, tmp_path / "model.safetensors", {})
    with pytest.raises(UserError, match="trained on images of 5 channels, and these have 4; choose"):
        of_bands(str(tmp_path / "model.safetensors"), 4)
