"""Networks: built from a name and a seed, saved and loaded without running anything in a file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save_file
from torch import Tensor, nn

from augsearch.policies import UserError
from augsearch.trainers.models import (
    ModelSpec,
    Normalise,
    add_to_card,
    build_model,
    channel_statistics,
    load_model,
    save_model,
)
from augsearch.trainers.networks import WIDTHS
from augsearch.trainers.scores import predict, to_tensor

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
@settings(max_examples=8, deadline=None)
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


@settings(max_examples=30, deadline=None)
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


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.sampled_from([1, 3]), st.integers(1, 12), st.integers(0, 200))
def test_normalised_images_have_mean_0_and_deviation_1_in_each_channel(
    seed: int, channels: int, side: int, darkest: int
) -> None:
    images = darkest + noise(6, side, channels, seed) // 6
    mean, std = channel_statistics(images)
    normalised = Normalise(mean, std)(to_tensor(images, CPU))
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
    pixel = Normalise(mean, std)(to_tensor(images, CPU))[:, :, 0, 0]
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


def test_an_unknown_network_is_refused_with_the_names_of_those_built_in() -> None:
    with pytest.raises(UserError) as error:
        build_model(spec_of("resnet50"), seed=0)
    assert str(error.value) == "unknown model 'resnet50'; built in are tiny, small, medium, wide"


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
    "card is a list": write_card("[1, 2]"),
    "card without a model": write_card("{}"),
    "card with a model of another kind": write_card('{"model": "tiny"}'),
    "card with an unknown field": spoil_card(layers=3),
    "card with an unknown network": spoil_card(name="resnet50"),
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
