"""Weights of any origin: read without running what is in the file, and put where they belong or refused."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model

from augsearch.policies import UserError
from augsearch.trainers.models.weights import NESTS, Loaded, load_weights, read_weights

State = dict[str, Tensor]


def network(classes: int = 3, seed: int = 0) -> nn.Module:
    """Convolution, statistics, a block and a head that has another size for other classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        norm = nn.BatchNorm2d(6)
        for buffer in norm.buffers():
            buffer.copy_(torch.rand(buffer.shape) * 9 + 1)
        return nn.ModuleDict(
            {
                "stem": nn.Conv2d(3, 6, 3),
                "norm": norm,
                "body": nn.Conv2d(6, 5, 1, bias=False),
                "head": nn.Linear(5, classes),
            }
        )


HEAD = ("head.weight", "head.bias")
BACKBONE = (
    "stem.weight",
    "stem.bias",
    "norm.weight",
    "norm.bias",
    "norm.running_mean",
    "norm.running_var",
    "body.weight",
)


def state(classes: int = 3, seed: int = 1) -> State:
    return dict(network(classes, seed).state_dict())


def copied(model: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def loaded(model: nn.Module, given: State, *, keep_head: bool = False) -> Loaded:
    return load_weights(model, given, keep_head=keep_head, where="weights w.pth")


def same_tensors(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def write_nested(*keys: str) -> Callable[[State, Path], None]:
    def write(tensors: State, path: Path) -> None:
        document: Any = tensors
        for key in reversed(keys):
            document = {"epoch": 3, key: document, "optimizer": {"state": {0: torch.zeros(2)}, "lr": 0.1}}
        torch.save(document, path)

    return write


FORMS: dict[str, tuple[str, Callable[[State, Path], None]]] = {
    "safetensors": (".safetensors", lambda tensors, path: save_file(tensors, path)),
    "torch": (".pth", torch.save),
    "torch as it was before zip": (
        ".pt",
        lambda tensors, path: torch.save(tensors, path, _use_new_zipfile_serialization=False),
    ),
    "parameters": (
        ".bin",
        lambda tensors, path: torch.save(
            {name: nn.Parameter(t) if t.is_floating_point() else t for name, t in tensors.items()}, path
        ),
    ),
    **{f"under {nest}": (".pth", write_nested(nest)) for nest in NESTS},
    "twice nested": (".ckpt", write_nested("model", "state_dict")),
}


@pytest.mark.parametrize(("suffix", "write"), FORMS.values(), ids=FORMS.keys())
def test_tensors_are_found_wherever_frameworks_keep_them(
    suffix: str, write: Callable[[State, Path], None], tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    write(state(), path)
    found = read_weights(path)
    assert same_tensors(found, state())
    # And they fit the network, so that only the head is fresh.
    model = network()
    assert loaded(model, found).fresh == HEAD
    assert all(torch.equal(model.state_dict()[name], state()[name]) for name in BACKBONE)


class Bomb:
    """Unpickling one leaves a file behind."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.crater,)


def plain_pickle(document: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(document))


def old_torch(document: Any, path: Path) -> None:
    torch.save(document, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [torch.save, old_torch, plain_pickle])
@pytest.mark.parametrize("suffix", [".pth", ".bin", ".ckpt"])
@pytest.mark.parametrize(
    "hidden",
    [
        lambda bomb: bomb,
        lambda bomb: {**state(), "note": bomb},
        lambda bomb: {"state_dict": state(), "args": [bomb]},
        lambda bomb: {bomb: state()},
    ],
    ids=["alone", "among tensors", "beside them", "as a key"],
)
def test_a_file_with_code_is_refused_and_the_code_not_run(
    hidden: Callable[[Bomb], Any], suffix: str, save: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    crater, path = tmp_path / "crater", tmp_path / f"weights{suffix}"
    save(hidden(Bomb(crater)), path)
    with pytest.raises(UserError) as error:
        read_weights(path)
    assert not crater.exists()
    assert str(error.value) == (
        f"weights {path}: holds Python objects, which could run any code; save the model's state_dict() "
        "alone, best as .safetensors"
    )


def test_the_bomb_would_have_gone_off(tmp_path: Path) -> None:
    crater, path = tmp_path / "crater", tmp_path / "weights.pth"
    torch.save({**state(), "note": Bomb(crater)}, path)
    torch.load(path, weights_only=False)
    assert crater.exists()


@pytest.mark.parametrize(
    "document",
    [network(), {"model": state(), "args": argparse.Namespace(lr=0.1)}],
    ids=["a whole network", "with arguments"],
)
def test_python_objects_are_refused_with_what_to_save_instead(document: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(document, path)
    with pytest.raises(UserError, match=r"holds Python objects.*; save the model's state_dict\(\) alone"):
        read_weights(path)


def circle() -> dict[str, Any]:
    document: dict[str, Any] = {}
    document["model"] = document
    return document


@pytest.mark.parametrize(
    "document",
    [{}, [torch.zeros(3)], torch.zeros(3), {"epoch": 3}, {"model": {}}, {"model": {"lr": 0.1}}],
    ids=["empty", "list", "tensor", "numbers", "empty nest", "numbers in a nest"],
)
def test_a_file_without_named_tensors_is_refused(document: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(document, path)
    with pytest.raises(UserError) as error:
        read_weights(path)
    assert str(error.value) == f"weights {path}: holds no named tensors"


NO_WEIGHTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "empty": ("w.pth", lambda path: path.write_bytes(b"")),
    "text": ("w.pth", lambda path: path.write_text("not found")),
    "a page": ("w.bin", lambda path: path.write_text("<html><body>404</body></html>")),
    "zeros": ("w.pth", lambda path: path.write_bytes(bytes(500))),
    "the beginning of a zip": ("w.pth", lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99))),
    "the beginning of a pickle": ("w.pth", lambda path: path.write_bytes(b"\x80\x02")),
    "in itself": ("w.pth", lambda path: torch.save(circle(), path)),
    "empty safetensors": ("w.safetensors", lambda path: path.write_bytes(b"")),
    "text as safetensors": ("w.safetensors", lambda path: path.write_text("no weights at all")),
    "torch as safetensors": ("w.safetensors", lambda path: torch.save(state(), path)),
    "safetensors as torch": ("w.pth", lambda path: save_file(state(), path)),
}


@pytest.mark.parametrize(("name", "write"), NO_WEIGHTS.values(), ids=NO_WEIGHTS.keys())
def test_what_is_no_file_of_weights_is_refused_in_one_line(
    name: str, write: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(UserError) as error:
        read_weights(path)
    assert str(error.value).startswith(f"weights {path}: not a file of weights (")
    assert "()" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(UserError) as error:
            read_weights(path)
        assert str(error.value) == f"weights {path}: no such file"


@pytest.mark.parametrize(("suffix", "write"), list(FORMS.values())[:3], ids=list(FORMS)[:3])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_spoilt_file_is_read_or_refused_in_one_line(
    suffix: str, write: Callable[[State, Path], None], data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    write({"stem.weight": torch.ones(2, 3), "head.bias": torch.zeros(2)}, path)
    spoilt = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(spoilt[: data.draw(st.integers(0, len(spoilt)))])
    refused = None
    try:
        read_weights(path)
    except UserError as error:
        refused = str(error)
    assert refused is None or (refused.startswith(f"weights {path}: ") and "\n" not in refused)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.",
        "module.network.",
        "backbone.",
    ],
)
def test_what_wrappers_put_before_names_is_taken_off(prefix: str) -> None:
    model, given = network(), {f"{prefix}{name}": tensor for name, tensor in state().items()}
    found = loaded(model, given, keep_head=True)
    assert all(torch.equal(model.state_dict()[name], state()[name]) for name in (*BACKBONE, *HEAD))
    assert found == Loaded(tensors=9, of=9, by_order=False, fresh=(), unused=())
    assert found.describe() == "9 of 9 tensors loaded"


def test_what_stands_beside_the_wrapped_network_is_left_alone() -> None:
    given = {f"module.{name}": tensor for name, tensor in state().items()}
    given |= {"loss.weight": torch.ones(3), "module.neck.weight": torch.ones(4)}
    model = network()
    found = loaded(model, given)
    assert found.unused == (*HEAD, "neck.weight")
    assert torch.equal(model.state_dict()["stem.weight"], state()["stem.weight"])


def test_a_new_head_is_zero_and_the_rest_is_as_in_the_file() -> None:
    for classes in (3, 1000):
        model = network(classes=3)
        found = loaded(model, state(classes))
        after = model.state_dict()
        assert all(torch.equal(after[name], state()[name]) for name in BACKBONE)
        assert not any(after[name].any() for name in HEAD)
        assert (found.tensors, found.of, found.fresh) == (7, 9, HEAD)
        assert found.describe() == (
            "7 of 9 tensors loaded; fresh: head.weight, head.bias; not used: head.weight, head.bias"
        )


def test_a_head_is_kept_where_that_is_asked() -> None:
    model = network()
    found = loaded(model, state(), keep_head=True)
    assert all(torch.equal(model.state_dict()[name], state()[name]) for name in (*BACKBONE, *HEAD))
    assert found.fresh == ()


def test_weights_without_a_head_are_weights() -> None:
    given = {name: tensor for name, tensor in state().items() if name not in HEAD}
    found = loaded(network(), given)
    assert found == Loaded(tensors=7, of=9, by_order=False, fresh=HEAD, unused=())


def test_half_precision_is_read_into_what_the_network_has() -> None:
    model = network()
    loaded(model, {name: tensor.half() for name, tensor in state().items()})
    assert model.state_dict()["stem.weight"].dtype == torch.float32
    torch.testing.assert_close(
        model.state_dict()["stem.weight"], state()["stem.weight"], rtol=1e-3, atol=1e-3
    )


def renamed(tensors: State) -> State:
    counted = {name: tensor for name, tensor in tensors.items() if not name.endswith("tracked")}
    return {f"layers.{number}": tensor for number, tensor in enumerate(counted.values())}


@pytest.mark.parametrize(("classes", "keep_head"), [(3, True), (3, False), (10, False)])
def test_other_names_are_matched_by_order_where_all_shapes_agree(classes: int, keep_head: bool) -> None:
    model = network()
    found = loaded(model, renamed(state(classes)), keep_head=keep_head)
    after = model.state_dict()
    assert all(torch.equal(after[name], state()[name]) for name in BACKBONE)
    assert all(torch.equal(after[name], state()[name] if keep_head else after[name] * 0) for name in HEAD)
    assert found.by_order
    assert found.fresh == (() if keep_head else HEAD)
    expected = "9 of 9 tensors loaded, by their order"
    if not keep_head:
        expected = "7 of 9 tensors loaded, by their order; fresh: head.weight, head.bias"
    assert found.describe() == expected


@pytest.mark.parametrize("spoil", ["a shape", "one too few"])
def test_other_names_are_refused_where_a_shape_disagrees(spoil: str) -> None:
    given = renamed(state())
    if spoil == "a shape":
        given["layers.6"] = torch.zeros(5, 7, 1, 1)
    else:
        del given["layers.6"]
    model = network()
    before = copied(model)
    with pytest.raises(UserError) as error:
        loaded(model, given)
    assert str(error.value) == (
        "weights w.pth: only 0 of the network's 7 tensors fit; these are weights for another network"
    )
    assert same_tensors(copied(model), before)


def test_right_names_win_over_the_right_order() -> None:
    given = dict(reversed(state().items()))
    model = network()
    assert not loaded(model, given).by_order
    assert torch.equal(model.state_dict()["stem.weight"], state()["stem.weight"])


@pytest.mark.parametrize(
    ("name", "other"),
    [("resnet18", "mobilenet_v3_small"), ("squeezenet1_0", "resnet18"), ("resnet18", "squeezenet1_1")],
)
def test_weights_of_another_network_are_refused_in_one_line_and_change_nothing(name: str, other: str) -> None:
    model = get_model(name, num_classes=3)
    before = copied(model)
    with pytest.raises(UserError) as error:
        loaded(model, dict(get_model(other, num_classes=3).state_dict()))
    assert str(error.value).startswith("weights w.pth: only ")
    assert str(error.value).endswith(" tensors fit; these are weights for another network")
    assert "\n" not in str(error.value)
    assert same_tensors(copied(model), before)


def test_what_of_the_network_was_not_found_is_said() -> None:
    given = state()
    given["stem.bias"] = torch.zeros(99)
    model = network()
    before = copied(model)
    found = loaded(model, given, keep_head=True)
    assert found.fresh == ("stem.bias",)
    assert found.unused == ("stem.bias",)
    assert found.describe() == "8 of 9 tensors loaded; fresh: stem.bias; not used: stem.bias"
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in found.fresh)


@pytest.mark.parametrize(("lacking", "fits"), [(1, True), (2, False)])
def test_at_least_three_quarters_of_the_backbone_must_fit(lacking: int, fits: bool) -> None:
    given = {name: tensor for name, tensor in state().items() if name not in BACKBONE[:lacking]}
    if fits:
        assert loaded(network(), given).tensors == 6
    else:
        with pytest.raises(UserError, match="only 5 of the network's 7 tensors fit"):
            loaded(network(), given)


def test_of_many_names_the_first_are_said() -> None:
    names = tuple("abcdef")
    assert Loaded(1, 7, False, names, ()).describe() == (
        "1 of 7 tensors loaded; fresh: a, b, c, d and 2 more"
    )


def test_a_last_layer_behind_which_zeros_would_learn_nothing_is_drawn() -> None:
    model = get_model("squeezenet1_1", num_classes=3)
    given = dict(get_model("squeezenet1_1", num_classes=3).state_dict())
    head = "classifier.1.weight"
    before = copied(model)[head]
    found = loaded(model, given)
    assert found.fresh == (head, "classifier.1.bias")
    assert torch.equal(copied(model)[head], before)
    # Logits are cut off at zero: by chance all may be, and then nothing has a gradient.
    model.eval().state_dict()["classifier.1.bias"].fill_(1.0)
    model(torch.rand(2, 3, 32, 32)).square().sum().backward()
    assert all(bool(weight.grad.any()) for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize(("name", "larger"), [("resnet18", "resnet34")])
def test_weights_of_a_larger_network_are_refused(name: str, larger: str) -> None:
    model = get_model(name, num_classes=3)
    before = copied(model)
    with pytest.raises(UserError, match="these are weights for a larger network"):
        loaded(model, dict(get_model(larger, num_classes=3).state_dict()))
    assert same_tensors(copied(model), before)


def test_heads_and_projectors_beside_the_backbone_are_let_be() -> None:
    model = get_model("resnet18", num_classes=3)
    given = dict(get_model("resnet18", num_classes=3).state_dict())
    given |= {f"projector.{number}.weight": torch.zeros(3) for number in range(60)}
    assert len(loaded(model, given).unused) > 60
