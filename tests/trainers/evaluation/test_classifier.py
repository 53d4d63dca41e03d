"""A trained model predicts from images as people have them, each seen as a training would have seen it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from augsearch.policies import UserError
from augsearch.trainers import Classifier
from augsearch.trainers.data.decode import BadImageError, fit_array, pillow_without_warnings
from augsearch.trainers.data.form import Reading
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.saved import save_model
from augsearch.trainers.models.spec import ModelSpec

CLASSES = ("cat", "dog", "hen", "pig")
SIDE = 16


def network(channels: int) -> tuple[nn.Module, ModelSpec]:
    """A network that answers differently to different images, as a fresh one hardly does."""
    spec = ModelSpec(
        name="tiny",
        channels=channels,
        image_size=SIDE,
        classes=CLASSES,
        mean=(120.0,) * channels,
        std=(60.0,) * channels,
    )
    model = build_model(spec, seed=0).eval()
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight *= 30
    return model, spec


def saved(folder: Path, channels: int = 3) -> Path:
    model, spec = network(channels)
    save_model(model, spec, folder / f"model{channels}.safetensors", {})
    return folder / f"model{channels}.safetensors"


@pytest.fixture(scope="module", params=[1, 3], ids=["grey model", "RGB model"])
def model_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models"), request.param)


def noise(*shape: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def expected(model_file: Path, square: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Probabilities of an image that already has the model's size and channels."""
    model, _ = network(channels=square.shape[-1])
    with torch.no_grad():
        logits = model(torch.tensor(square).permute(2, 0, 1)[None])
    return np.asarray(logits.softmax(1)[0].numpy())


def seen(channels: int, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What a model with so many channels should see."""
    square = fit_array(pixels, SIDE)
    if channels == 3:
        return np.repeat(square, 3, axis=2) if square.shape[-1] == 1 else square
    return np.array(Image.fromarray(square.squeeze()).convert("L"))[..., np.newaxis]


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([(), (1,), (3,), (4,)]), st.integers(0, 99))
def test_any_array_is_fitted_as_in_training(
    model_file: Path, height: int, width: int, channels: tuple[int, ...], seed: int
) -> None:
    pixels = noise(height, width, *channels, seed=seed)
    wanted = 1 if "model1" in model_file.name else 3
    (prediction,) = Classifier.load(model_file).predict([pixels])
    np.testing.assert_allclose(
        prediction.probabilities, expected(model_file, seen(wanted, pixels)), atol=1e-5
    )


@pytest.mark.parametrize(
    "reading",
    [
        Reading(fit="pad", background=(9, 99, 200)),
        Reading(fit="squash"),
        Reading(value_range=(0.0, 4095.0)),
        Reading(value_range=((0.0, 4095.0), (0.0, 2000.0), (1000.0, 1100.0))),
        Reading(background=(0, 0, 0)),
    ],
    ids=["padded", "squashed", "12 bits", "each band its own", "black behind"],
)
def test_images_are_read_as_those_were_that_the_model_learned_from(tmp_path: Path, reading: Reading) -> None:
    model, spec = network(3)
    file = tmp_path / "model.safetensors"
    fields = reading.model_dump(mode="json", exclude_defaults=True)
    save_model(model, spec.model_copy(update={"reading": fields}), file, {})
    deep = np.random.default_rng(0).integers(0, 4096, (20, 40, 3), dtype=np.uint16)
    pixels = deep if reading.value_range else noise(20, 40, 4)
    (prediction,) = Classifier.load(file).predict([pixels])
    square = fit_array(pixels, SIDE, reading)
    np.testing.assert_allclose(prediction.probabilities, expected(file, square), atol=1e-5)
    (usual,) = Classifier.load(saved(tmp_path)).predict([pixels])
    assert abs(usual.probabilities - prediction.probabilities).max() > 1e-3


def test_a_file_its_bytes_and_its_pixels_are_the_same_image(model_file: Path, tmp_path: Path) -> None:
    pixels = noise(40, 30, 3)
    path = tmp_path / "image.png"
    path.write_bytes(png(pixels))
    classifier = Classifier.load(model_file)
    first, *others = classifier.predict([path, str(path), path.read_bytes(), pixels])
    for other in others:
        np.testing.assert_allclose(other.probabilities, first.probabilities, atol=1e-6)


def test_a_photo_that_lies_on_its_side_is_turned_upright_from_bytes_too(model_file: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, SIDE, dtype=np.uint8), (SIDE, 1))
    lies = Image.Exif()
    lies[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, "PNG", exif=lies)
    turned, upright = Classifier.load(model_file).predict([file.getvalue(), np.rot90(ramp, -1)])
    np.testing.assert_allclose(turned.probabilities, upright.probabilities, atol=1e-6)


def test_predictions_are_in_order_whatever_the_batches(model_file: Path) -> None:
    images = [noise(20, 20 + index, 3, seed=index) for index in range(7)]
    classifier = Classifier.load(model_file)
    whole = classifier.predict(images)
    assert len({prediction.confidence for prediction in whole}) == 7
    for batch_size in (1, 3, 7):
        for one, other in zip(classifier.predict(images, batch_size), whole, strict=True):
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    assert classifier.predict([]) == []


def test_a_prediction_has_its_likeliest_class_first(model_file: Path) -> None:
    classifier = Classifier.load(model_file)
    assert classifier.classes == CLASSES
    (prediction,) = classifier.predict([noise(20, 20, 3)])
    assert prediction.probabilities.sum() == pytest.approx(1)
    assert prediction.probabilities.shape == (4,)
    assert prediction.label == CLASSES[int(np.argmax(prediction.probabilities))]
    assert prediction.confidence == max(prediction.probabilities)
    assert prediction.top(2)[0] == (prediction.label, prediction.confidence)
    assert [probability for _, probability in prediction.top(9)] == sorted(
        prediction.probabilities, reverse=True
    )


def test_a_million_images_stream_through(model_file: Path) -> None:
    begun = []

    def images() -> Iterator[npt.NDArray[np.uint8]]:
        for number in range(1_000_000):
            begun.append(number)
            yield noise(8, 8)

    stream = Classifier.load(model_file).stream(images(), batch_size=4)
    for _ in range(10):
        next(stream)
    assert len(begun) < 200
    stream.close()  # type: ignore[attr-defined]


def test_a_bad_image_is_named_with_the_reason(model_file: Path, tmp_path: Path) -> None:
    classifier = Classifier.load(model_file)
    (tmp_path / "text.jpg").write_text("not an image")
    for images, message in (
        ([tmp_path / "gone.png"], r"gone\.png: No such file"),
        ([str(tmp_path / "text.jpg")], r"text\.jpg: cut off, or not an image that Pillow can read"),
        ([noise(9, 9), b"nonsense"], r"image 1: cut off, or not an image"),
        ([b""], r"image 0: the file is empty"),
        ([noise(3, 9, 9)], r"image 0: an array must be \(H, W\) or \(H, W, C\), got \(3, 9, 9\)"),
        ([noise(0, 9, 3)], r"image 0: an array of shape \(0, 9, 3\) has no pixels"),
        ([np.zeros((9, 9), np.int64)], r"image 0: pixels must be uint8"),
    ):
        with pytest.raises(UserError, match=message):
            classifier.predict(images)  # type: ignore[arg-type]


def test_a_stream_goes_on_after_a_bad_image(model_file: Path) -> None:
    images = [b"bad", noise(9, 9), b"worse", b"bad again"]
    classifier = Classifier.load(model_file)
    with pillow_without_warnings():
        answers = list(classifier.stream(images, batch_size=2))
    assert [image is given for (image, _), given in zip(answers, images, strict=True)] == [True] * 4
    assert [isinstance(answer, BadImageError) for _, answer in answers] == [True, False, True, True]


@pytest.mark.parametrize("image", ["cat.jpg", Path("cat.jpg"), b"bytes"])
def test_one_image_alone_is_not_taken_for_several(model_file: Path, image: Any) -> None:
    with pytest.raises(TypeError, match=r"for one give \[image\]"):
        Classifier.load(model_file).predict(image)


def test_what_is_no_image_at_all_is_refused(model_file: Path) -> None:
    with pytest.raises(TypeError, match="a path, bytes or a NumPy array, got Tensor"):
        Classifier.load(model_file).predict([torch.zeros(3, 9, 9)])  # type: ignore[list-item]


def test_a_model_whose_outputs_are_no_numbers_is_refused(tmp_path: Path) -> None:
    model, spec = network(3)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    save_model(model, spec, tmp_path / "broken.safetensors", {})
    with pytest.raises(UserError, match="outputs are no numbers"):
        Classifier.load(tmp_path / "broken.safetensors").predict([noise(9, 9)])


def test_what_is_no_model_and_no_device_is_refused(model_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.safetensors: no such file"):
        Classifier.load(tmp_path / "gone.safetensors")
    with pytest.raises(UserError, match="device must be"):
        Classifier.load(model_file, device="tpu")
