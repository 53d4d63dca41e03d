"""Networks: built from a name and a seed, saved and loaded without running anything in a file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn
from torchvision import models as torchvision_models
from torchvision.transforms import functional as torchvision_functional

from augsearch.policies import UserError
from augsearch.trainers.evaluation.inference import predict, to_tensor
from augsearch.trainers.models.build import (
    Adapted,
    Normalise,
    build_model,
    channel_statistics,
    design,
    native_side,
    plain,
    prepared,
)
from augsearch.trainers.models.names import WIDTHS
from augsearch.trainers.models.saved import load_model, save_model
from augsearch.trainers.models.spec import ModelSpec, add_to_card

CPU = torch.device("cpu")


def spec_of(name: str = "tiny", channels: int = 3, side: int = 16, classes: int = 4) -> ModelSpec:
    names = tuple(f"class {label}" for label in range(classes))
    mean, std = (100.0, 120.0, 90.0)[:channels], (60.0, 50.0, 70.0)[:channels]
    return ModelSpec(name=name, channels=channels, image_size=side, classes=names, mean=mean, std=std)


def noise(count: int, side: int, channels: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def equal(one: nn.Module, other: nn.Module) -> bool:
    others = other.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in one.state_dict().items())


def moved(spec: ModelSpec) -> nn.Module:
    """A network with running statistics of its own, as if it had been trained."""
    model = build_model(spec, seed=7)
    model(to_tensor(noise(8, spec.image_size, spec.channels, seed=1), CPU))
    return model.eval()


@pytest.mark.parametrize("name", WIDTHS)
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    spec = spec_of(name)
    model = build_model(spec, seed=5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert equal(model, build_model(spec, seed=5))
    assert not equal(model, build_model(spec, seed=6))


def test_building_leaves_everybodys_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    build_model(spec_of(), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", WIDTHS)
@settings(max_examples=8)
@given(side=st.integers(8, 96), count=st.integers(1, 3), classes=st.integers(2, 12), training=st.booleans())
def test_every_network_takes_images_of_any_size_as_they_lie_in_memory(
    name: str, channels: int, side: int, count: int, classes: int, training: bool
) -> None:
    model = build_model(spec_of(name, channels, side, classes), seed=0).train(training)
    view = to_tensor(noise(count, side, channels), CPU)
    with torch.no_grad():
        logits = model(view)
        assert logits.shape == (count, classes)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()
        model.eval()
        torch.testing.assert_close(model(view), model(view.contiguous()), rtol=1e-3, atol=1e-4)


@settings(max_examples=30)
@given(side=st.integers(8, 400))
def test_what_comes_after_the_stem_costs_no_more_for_a_large_image(side: int) -> None:
    model = build_model(spec_of(side=side), seed=0).eval()
    _, after_stem, *_ = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    sides: list[int] = []
    after_stem.register_forward_pre_hook(lambda _, inputs: sides.extend(inputs[0].shape[2:]))
    with torch.no_grad():
        model(to_tensor(noise(1, side, 3), CPU))
    # Halved only as often as needed: what is smaller than 20 stays, what is larger keeps at least 10.
    assert sides == [side, side] if side < 20 else all(10 <= found <= 20 for found in sides)


@settings(max_examples=40)
@given(st.integers(0, 999), st.sampled_from([1, 3]), st.integers(1, 12), st.integers(0, 200))
def test_normalised_images_have_mean_0_and_deviation_1_in_each_channel(
    seed: int, channels: int, side: int, darkest: int
) -> None:
    images = darkest + noise(6, side, channels, seed) // 6
    mean, std = channel_statistics(images)
    normalised = Normalise(mean, std, side)(to_tensor(images, CPU))
    assert normalised.dtype == torch.float32
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(channels), rtol=0, atol=1e-3)
    # Noise of a few pixels may be so even that its deviation is below the least that is divided by.
    deviation = torch.from_numpy(images.std((0, 1, 2)))
    expected = torch.where(deviation >= 1, 1.0, deviation)
    torch.testing.assert_close(normalised.double().std((0, 2, 3), correction=0), expected, rtol=0, atol=1e-3)


def test_each_channel_is_normalised_by_its_own_statistics() -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[..., 0], images[1, ..., 1], images[1, ..., 2] = 7, 10, 255
    mean, std = channel_statistics(images)
    assert mean == (7, 5, 127.5)
    # A channel that is the same everywhere must not be divided by 0.
    assert std == (1, 5, 127.5)
    pixel = Normalise(mean, std, 4)(to_tensor(images, CPU))[:, :, 0, 0]
    torch.testing.assert_close(pixel, torch.tensor([[0.0, -1, -1], [0, 1, 1]]))


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 16)])
def test_a_saved_network_comes_back_to_the_last_bit(
    name: str, channels: int, side: int, tmp_path: Path
) -> None:
    spec = spec_of(name, channels, side)
    model = moved(spec)
    path = tmp_path / "made on demand" / "model.safetensors"
    save_model(model, spec, path, {"note": "kept"})
    loaded, loaded_spec = load_model(path)
    assert loaded_spec == spec
    assert not loaded.training
    images = noise(5, side, channels)
    np.testing.assert_array_equal(predict(loaded, images, CPU), predict(model, images, CPU))
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.json", "model.safetensors"]


def test_the_card_says_what_the_network_is_and_what_was_added(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(moved(spec_of()), spec_of(), path, {"data": "pets"})
    add_to_card(path, {"test": {"accuracy": 0.5}})
    card = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert card.keys() == {"model", "data", "test"}
    assert ModelSpec.model_validate(card["model"]) == spec_of()
    assert (card["data"], card["test"]) == ("pets", {"accuracy": 0.5})
    assert load_model(path)[1] == spec_of()


def test_a_network_may_be_saved_over_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(moved(spec_of("small")), spec_of("small"), path, {"test": "of the old one"})
    save_model(moved(spec_of("tiny")), spec_of("tiny"), path, {})
    assert load_model(path)[1].name == "tiny"
    assert "test" not in json.loads(path.with_suffix(".json").read_text("utf-8"))


@pytest.mark.parametrize("name", ["resnet50", "model.safetensors", "hub:resnet50", "timm:", ""])
def test_an_unknown_network_is_refused_with_the_names_of_those_there_are(name: str) -> None:
    with pytest.raises(UserError) as error:
        build_model(spec_of(name), seed=0)
    assert str(error.value) == (
        f"unknown model {name!r}; built in are tiny, small, medium, wide, lite0; "
        "others are torchvision:NAME, timm:NAME, or a .safetensors file that augsearch saved"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnt18", "torchvision has no classifier 'resnt18'; did you mean resnet18 or "),
        pytest.param("timm:resnt18", "timm has no model 'resnt18'; did you mean resnet18 or "),
    ],
)
def test_an_unknown_network_of_a_hub_is_refused_with_names_like_it(name: str, message: str) -> None:
    for ask in (
        lambda: build_model(spec_of(name), seed=0),
        lambda: designed(name),
        lambda: native_side(name),
    ):
        with pytest.raises(UserError) as error:
            ask()
        assert str(error.value).startswith(message)


class Bomb:
    """Unpickling one leaves a file behind."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.crater,)


Spoil = Callable[[Path], object]


def spoil_card(**fields: Any) -> Spoil:
    def spoil(path: Path) -> None:
        card = path.with_suffix(".json")
        document = json.loads(card.read_text("utf-8"))
        document["model"].update(fields)
        card.write_text(json.dumps(document), "utf-8")

    return spoil


def write_card(text: str) -> Spoil:
    return lambda path: path.with_suffix(".json").write_text(text, "utf-8")


def with_weights_of(spec: ModelSpec) -> Spoil:
    def swap(path: Path) -> None:
        other = path.with_name("other.safetensors")
        save_model(moved(spec), spec, other, {})
        other.replace(path)

    return swap


def drop_a_tensor(path: Path) -> None:
    state = load(path.read_bytes())
    # Not just any: torch itself makes up for a batch normalisation's missing count of batches.
    del state[next(name for name in sorted(state) if name.endswith("weight"))]
    save_file(state, path)


def add_a_tensor(path: Path) -> None:
    save_file({**load(path.read_bytes()), "surplus": torch.zeros(3)}, path)


SPOILED: dict[str, Spoil] = {
    "weights missing": lambda path: path.unlink(),
    "card missing": lambda path: path.with_suffix(".json").unlink(),
    "weights are a folder": lambda path: [path.unlink(), path.mkdir()],
    "weights empty": lambda path: path.write_bytes(b""),
    "weights are garbage": lambda path: path.write_bytes(b"not a network at all " * 9),
    "weights are cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "weights are cut off in the header": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "weights are a torch pickle": lambda path: torch.save({"weight": torch.zeros(3)}, path),
    "weights lack a tensor": drop_a_tensor,
    "weights have one too many": add_a_tensor,
    "weights of another network": with_weights_of(spec_of("small")),
    "weights for other classes": with_weights_of(spec_of(classes=5)),
    "weights for grey images": with_weights_of(spec_of(channels=1)),
    "card empty": write_card(""),
    "card is no JSON": write_card("{'model': 1}"),
    "card is nested without end": write_card('{"model": ' + "[" * 10**5),
    "card is a list": write_card("[1, 2]"),
    "card without a model": write_card("{}"),
    "card with a model of another kind": write_card('{"model": "tiny"}'),
    "card with an unknown field": spoil_card(layers=3),
    "card with an unknown network": spoil_card(name="resnet50"),
    "card with an unknown network of a hub": spoil_card(name="torchvision:resnt18"),
    "card with another network of a hub": spoil_card(name="torchvision:squeezenet1_1"),
    "card that names a file": spoil_card(name="model.safetensors"),
    "card with too many strides taken out": spoil_card(stem_halvings=3),
    "card with no input size at all": spoil_card(input_size=0),
    "card with other classes": spoil_card(classes=["a", "b"]),
    "card with a wrong number": spoil_card(channels="three"),
    "card with too few means": spoil_card(mean=[1.0], std=[1.0]),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_file_that_is_no_saved_network_is_refused_in_one_line(spoil: Spoil, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(moved(spec_of()), spec_of(), path, {})
    spoil(path)
    with pytest.raises(UserError) as error:
        load_model(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith((str(path), str(path.with_suffix(".json"))))


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_missing_file_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(moved(spec_of()), spec_of(), path, {})
    path.with_suffix(suffix).unlink()
    with pytest.raises(UserError, match=rf"model{suffix}: no such file; a model is a .safetensors file with"):
        load_model(path)


def test_what_is_wrong_with_a_card_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(moved(spec_of()), spec_of(), path, {})
    spoil_card(channels="three", layers=3)(path)
    with pytest.raises(UserError) as error:
        load_model(path)
    rules = "channels must be a whole number, got 'three'; layers is not a known field"
    assert str(error.value) == f"{path.with_suffix('.json')}: no model card ({rules})"


@pytest.mark.parametrize("save", [pickle.dump, torch.save], ids=["pickle", "torch.save"])
def test_a_pickle_is_refused_and_never_run(save: Callable[[Any, Any], None], tmp_path: Path) -> None:
    path, crater = tmp_path / "model.safetensors", tmp_path / "crater"
    save_model(moved(spec_of()), spec_of(), path, {})
    with path.open("wb") as file:
        save({"weight": Bomb(crater)}, file)
    with pytest.raises(UserError):
        load_model(path)
    assert not crater.exists()


def test_the_bomb_would_have_gone_off(tmp_path: Path) -> None:
    crater = tmp_path / "crater"
    pickle.loads(pickle.dumps(Bomb(crater)))
    assert crater.exists()


def test_every_weight_is_saved(tmp_path: Path) -> None:
    model = moved(spec_of())
    expected: dict[str, Tensor] = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    model.load_state_dict(expected)
    path = tmp_path / "model.safetensors"
    save_model(model, spec_of(), path, {})
    assert equal(model, load_model(path)[0])


def designed(name: str, **changes: Any) -> ModelSpec:
    options: dict[str, Any] = {
        "channels": 3,
        "image_size": 32,
        "classes": ("a", "b", "c"),
        "statistics": ((100.0, 120.0, 90.0), (60.0, 50.0, 70.0)),
    }
    return design(name, **(options | changes))


IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def resized(images: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.float32]:
    """(N, H, W, C) → (N, side, side, C) by Pillow, channel by channel and without rounding."""
    planes = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR))
        for plane in images.transpose(0, 3, 1, 2).reshape(-1, *images.shape[1:3])
    ]
    return np.stack(planes).reshape(len(images), -1, side, side).transpose(0, 2, 3, 1)


@settings(max_examples=40)
@given(
    st.integers(0, 999), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])
)
def test_a_network_resizes_images_as_pillow_does(
    seed: int, height: int, width: int, side: int, channels: int
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (2, height, width, channels), dtype=np.uint8)
    mean, std = (0.0,) * channels, (1.0,) * channels
    found = Normalise(mean, std, side)(to_tensor(images, CPU)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found.numpy(), resized(images, side), rtol=0, atol=0.01)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    images = noise(2, 7, 3)
    found = Normalise((0.0,) * 3, (1.0,) * 3, 7)(to_tensor(images, CPU))
    np.testing.assert_array_equal(found.permute(0, 2, 3, 1), images)


@pytest.mark.parametrize("side", [16, 9])
def test_a_grey_network_sees_colours_as_pillow_makes_them_grey(side: int) -> None:
    images = noise(3, 16, 3)
    grey = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])[..., None]
    normalise = Normalise((10.0,), (2.0,), side)
    colours, greys = normalise(to_tensor(images, CPU)), normalise(to_tensor(grey, CPU))
    assert colours.shape == (3, 1, side, side)
    # Pillow rounds to whole grey levels; a deviation of 2 halves what that costs.
    torch.testing.assert_close(colours, greys, rtol=0, atol=0.51 / 2)


@pytest.mark.parametrize("name", ["tiny", "torchvision:squeezenet1_1"])
def test_a_network_for_colours_takes_a_grey_image_as_three_equal_channels(name: str) -> None:
    model = build_model(designed(name), seed=0).eval()
    grey = to_tensor(noise(2, 32, 1), CPU)
    with torch.no_grad():
        torch.testing.assert_close(model(grey), model(grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("size", [(11, 11), (32, 20), (50, 50)])
@pytest.mark.parametrize(("network_channels", "image_channels"), [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_a_saved_network_takes_images_of_any_size_and_colour(
    network_channels: int, image_channels: int, size: tuple[int, int], tmp_path: Path
) -> None:
    spec = spec_of("tiny", network_channels, 16)
    save_model(moved(spec), spec, tmp_path / "model.safetensors", {})
    model, _ = load_model(tmp_path / "model.safetensors")
    images = np.random.default_rng(0).integers(0, 256, (3, *size, image_channels), dtype=np.uint8)
    assert predict(model, images, CPU).shape == (3, 4)
    assert np.isfinite(predict(model, images, CPU)).all()


@pytest.mark.parametrize(
    "name",
    [
        "torchvision:squeezenet1_1",
        pytest.param("timm:test_resnet"),
        pytest.param("timm:test_vit"),
    ],
)
@pytest.mark.parametrize("weights", ["none", "hub"])
def test_a_saved_network_of_a_hub_comes_back_to_the_last_bit(name: str, weights: str, tmp_path: Path) -> None:
    spec = designed(name, weights=weights)
    model = build_model(spec, seed=3).train()
    with torch.no_grad():
        model(to_tensor(noise(4, 32, 3, seed=1), CPU))  # for statistics of its own
    path = tmp_path / "model.safetensors"
    save_model(model, spec, path, {})
    loaded, loaded_spec = load_model(path)
    assert loaded_spec == spec
    assert not loaded.training
    images = noise(2, 32, 3)
    np.testing.assert_array_equal(predict(loaded, images, CPU), predict(model, images, CPU))


def test_weights_are_saved_under_the_hubs_own_names(tmp_path: Path) -> None:
    model = build_model(designed("torchvision:squeezenet1_1"), seed=0)
    assert isinstance(model, Adapted)
    own = torchvision_models.squeezenet1_1(num_classes=3)
    own.load_state_dict(plain(model).state_dict())
    assert plain(built := build_model(spec_of(), seed=0)) is built


def test_with_weights_a_network_sees_what_it_was_trained_on() -> None:
    """The hub's own preparation, beside ours."""
    model = build_model(designed("torchvision:squeezenet1_1", weights="hub", image_size=224), seed=0).eval()
    images = to_tensor(noise(2, 224, 3), CPU)
    prepared_by_hub = torchvision_functional.normalize(
        images / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    with torch.no_grad():
        torch.testing.assert_close(model(images), plain(model)(prepared_by_hub), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        # Without weights: the data's own statistics and size, and fewer strides.
        ("torchvision:resnet18", {}, (None, 2, None)),
        ("torchvision:resnet18", {"image_size": 224}, (None, 0, None)),
        ("torchvision:resnet18", {"input_size": 48}, (48, 0, None)),
        ("torchvision:vit_b_16", {}, (224, 0, None)),
        # With weights: the hub's, and smaller images are enlarged.
        ("torchvision:resnet18", {"weights": "hub"}, (224, 0, IMAGENET)),
        ("torchvision:resnet18", {"weights": "some.pth"}, (224, 0, IMAGENET)),
        ("torchvision:resnet18", {"weights": "hub", "image_size": 224}, (None, 0, IMAGENET)),
        ("torchvision:resnet18", {"weights": "hub", "image_size": 300}, (None, 0, IMAGENET)),
        ("torchvision:resnet18", {"weights": "hub", "input_size": 64}, (64, 0, IMAGENET)),
        ("torchvision:vit_b_16", {"weights": "hub"}, (224, 0, IMAGENET)),
        ("torchvision:vit_b_16", {"weights": "hub", "image_size": 384}, (224, 0, IMAGENET)),
        ("tiny", {}, (None, 0, None)),
        ("tiny", {"input_size": 20}, (20, 0, None)),
    ],
)
def test_a_network_is_designed_for_the_images_or_for_its_weights(
    name: str, changes: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    spec = designed(name, **changes)
    input_size, stem_halvings, statistics = expected
    assert (spec.input_size, spec.stem_halvings) == (input_size, stem_halvings)
    assert (spec.mean, spec.std) == (statistics or ((100, 120, 90), (60, 50, 70)))
    assert spec.side == (input_size or spec.image_size)
    assert (spec.name, spec.image_size) == (name, changes.get("image_size", 32))
    assert spec.classes == ("a", "b", "c")


def test_a_hubs_network_has_three_channels_for_grey_images_too() -> None:
    grey = {"channels": 1, "statistics": ((100.0,), (60.0,))}
    spec = designed("torchvision:squeezenet1_1", **grey)
    assert (spec.channels, spec.mean, spec.std) == (3, (100,) * 3, (60,) * 3)
    assert designed("torchvision:squeezenet1_1", weights="hub", **grey).mean == IMAGENET[0]
    assert designed("tiny", **grey).channels == 1
    assert predict(build_model(spec, seed=0), noise(2, 32, 1), CPU).shape == (2, 3)


def test_a_vision_transformer_enlarges_small_images_to_what_it_takes() -> None:
    spec = designed("timm:vit_tiny_patch16_224")
    assert spec.side == 224
    assert predict(build_model(spec, seed=0), noise(1, 32, 3), CPU).shape == (1, 3)
    with pytest.raises(UserError) as error:
        build_model(designed("timm:vit_tiny_patch16_224", input_size=32), seed=0)
    assert str(error.value) == (
        "model timm:vit_tiny_patch16_224 takes no images of 32 pixels; give another --input-size"
    )


@pytest.mark.parametrize("name", ["torchvision:resnet18", "torchvision:regnet_y_400mf"])
def test_a_network_for_small_images_can_be_built_and_keeps_its_last_map_large(name: str) -> None:
    model = build_model(designed(name), seed=0).eval()
    sides: list[int] = []
    *_, last = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    last.register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
    predict(model, noise(1, 32, 3), CPU)
    # Untouched, it would be a single pixel.
    assert sides[0] >= 2


def test_a_network_continues_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    spec = designed("torchvision:squeezenet1_1")
    save_model(build_model(spec, seed=0), spec, path, {})
    again = designed(str(path), classes=("x", "y"), image_size=48, statistics=IMAGENET)
    # The statistics and the strides belong to the weights; the classes and the images are the new data's.
    expected = {"classes": ("x", "y"), "image_size": 48, "input_size": 32}
    assert again == spec.model_copy(update=expected)
    assert designed(str(path), input_size=64).side == 64
    assert native_side(str(path)) == 32
    assert native_side("torchvision:efficientnet_b3") == 300


@pytest.mark.parametrize(
    "spec",
    [
        spec_of(),
        spec_of(channels=1).model_copy(update={"input_size": 40, "classes": ("ä", "/b c")}),
        ModelSpec(
            name="timm:resnet18.a1_in1k", channels=3, image_size=32, classes=("a",), mean=IMAGENET[0],
            std=IMAGENET[1], stem_halvings=2,
        ),
    ],
)  # fmt: skip
def test_a_spec_survives_json(spec: ModelSpec) -> None:
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec
    assert ModelSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json")))) == spec


def test_a_card_from_before_networks_resized_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = moved(spec_of())
    save_model(model, spec_of(), path, {})
    card = path.with_suffix(".json")
    document = json.loads(card.read_text("utf-8"))
    del document["model"]["input_size"], document["model"]["stem_halvings"]
    card.write_text(json.dumps(document), "utf-8")
    loaded, spec = load_model(path)
    assert spec == spec_of()
    assert spec.side == 16
    images = noise(3, 16, 3)
    np.testing.assert_array_equal(predict(loaded, images, CPU), predict(model, images, CPU))


def test_without_weights_a_network_is_as_it_is_built() -> None:
    model, loaded = prepared(spec_of(), "none", seed=4)
    assert loaded is None
    assert equal(model, build_model(spec_of(), seed=4))


@pytest.mark.parametrize("name", ["tiny", "torchvision:shufflenet_v2_x0_5"])
def test_an_earlier_model_goes_on_whole_with_its_classes_and_without_a_head_with_others(
    name: str, tmp_path: Path
) -> None:
    path, spec = tmp_path / "model.safetensors", designed(name)
    model = moved(spec)
    save_model(model, spec, path, {"data": "pets"})
    images = noise(3, 32, 3)

    same, loaded = prepared(designed(str(path)), str(path), seed=9)
    assert loaded is not None
    assert loaded.fresh == loaded.unused == ()
    np.testing.assert_array_equal(predict(same, images, CPU), predict(model, images, CPU))

    for classes in (("a", "c", "b"), ("x", "y", "z"), ("a", "b", "c", "d")):
        other, loaded = prepared(designed(str(path), classes=classes), str(path), seed=9)
        assert loaded is not None
        head = sorted(loaded.fresh)
        assert [fresh.split(".")[-1] for fresh in head] == ["bias", "weight"]
        state = plain(other).state_dict()
        assert not any(state[fresh].any() for fresh in head)
        before = plain(model).state_dict()
        kept = [tensor for tensor in state if tensor not in head and not tensor.endswith("tracked")]
        assert all(torch.equal(state[tensor], before[tensor]) for tensor in kept)
        # All classes start alike.
        np.testing.assert_array_equal(predict(other, images, CPU), np.zeros((3, len(classes))))


def test_a_file_from_elsewhere_has_a_new_head_whatever_lies_beside_it(tmp_path: Path) -> None:
    spec = designed("torchvision:shufflenet_v2_x0_5", weights="elsewhere")
    path = tmp_path / "elsewhere.safetensors"
    save_file(torchvision_models.shufflenet_v2_x0_5(num_classes=3).state_dict(), path)
    for text in (None, "{}", "no card", '{"model": {"classes": ["a", "b", "c"]}}'):
        if text is not None:
            path.with_suffix(".json").write_text(text)
        model, loaded = prepared(spec, str(path), seed=0)
        assert loaded is not None
        assert loaded.fresh == ("fc.weight", "fc.bias")
        assert not plain(model).state_dict()["fc.weight"].any()


def test_weights_for_another_network_are_refused_by_their_files_name(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(torchvision_models.squeezenet1_1().state_dict(), path)
    with pytest.raises(UserError) as error:
        prepared(designed("torchvision:resnet18", weights=str(path)), str(path), seed=0)
    assert str(error.value).startswith(f"weights {path}: only 0 of the network's ")
    with pytest.raises(UserError, match=r"none\.pth: no such file"):
        prepared(spec_of(), str(tmp_path / "none.pth"), seed=0)


def no_network(*_: Any) -> Any:
    raise URLError("no route to host")


def test_a_hubs_weights_are_loaded_under_a_new_head_or_missed_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    spec = designed("torchvision:shufflenet_v2_x0_5", weights="hub")
    with pytest.raises(UserError) as error:
        prepared(spec, "hub", seed=0)
    reason = "<urlopen error no route to host>"
    assert str(error.value) == (
        f"the weights of {spec.name} are in no cache and could not be fetched ({reason}); give a file of "
        "them with --weights, --weights none to train from scratch, or the network lite0, whose weights come "
        "with augsearch"
    )

    url = torchvision_models.get_model_weights("shufflenet_v2_x0_5").DEFAULT.url
    state = torchvision_models.shufflenet_v2_x0_5().state_dict()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / url.rsplit("/")[-1])
    model, loaded = prepared(spec, "hub", seed=0)
    assert loaded is not None
    counted = sum(not name.endswith("num_batches_tracked") for name in state)
    assert loaded.describe() == (
        f"{counted - 2} of {counted} tensors loaded from torchvision's weights; "
        "fresh: fc.weight, fc.bias; not used: fc.weight, fc.bias"
    )
    found = plain(model).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items() if name[:3] != "fc.")


def test_a_built_in_network_has_no_hub() -> None:
    with pytest.raises(UserError) as error:
        prepared(spec_of(), "hub", seed=0)
    assert str(error.value) == "model tiny comes from no hub, so no hub has its weights; give a file"


def test_a_network_that_shares_a_layer_is_saved_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of("tiny")
    model = build_model(spec, seed=1)
    state = model.state_dict()
    first = next(iter(state))
    monkeypatch.setattr(model, "state_dict", lambda: state | {"again": state[first]})
    save_model(model, spec, tmp_path / "model.safetensors", {})
    held = load_file(tmp_path / "model.safetensors")
    assert torch.equal(held["again"], held[first])
