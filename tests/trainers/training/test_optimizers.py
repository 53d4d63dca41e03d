"""Optimizers: what Muon's update looks like, and who moves which weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from augsearch.policies import Transfer
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.layers import head_of, layers_of
from augsearch.trainers.models.names import WIDTHS
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.training import optimizers
from augsearch.trainers.training.optimizers import Muon, build_optimizers, orthogonalised
from augsearch.trainers.training.transfer import parameter_groups

FEW = settings(max_examples=40)

seeds = st.integers(0, 2**31)


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def default_iterations() -> int:
    return int(Muon([nn.Parameter(torch.zeros(2, 2))], lr=0.1).defaults["iterations"])


@FEW
@given(seeds, st.integers(1, 64), st.floats(4, 12), st.booleans())
def test_an_oblong_matrix_gets_singular_values_near_1(
    seed: int, short: int, aspect: float, tall: bool
) -> None:
    # Measured with 3 iterations on a million random matrices 4 and 9 times as long as wide: 0.68 to 1.14.
    # The networks' convolutions are 4.5 to 9 times as long. Of square ones the least is still near 0 by then.
    long = round(short * aspect)
    matrix = normals(long, short, seed=seed) if tall else normals(short, long, seed=seed)
    values = torch.linalg.svdvals(orthogonalised(matrix, default_iterations()))
    assert values.min() > 0.6
    assert values.max() < 1.3


@FEW
@given(seeds, st.integers(1, 20), st.integers(1, 20))
def test_only_the_singular_values_change(seed: int, rows: int, columns: int) -> None:
    matrix = normals(rows, columns, seed=seed)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    middle = u.T @ orthogonalised(matrix, 3) @ v.T
    torch.testing.assert_close(middle, middle.diagonal().diag(), rtol=0, atol=2e-3)
    assert (middle.diagonal() > -1e-4).all()


@FEW
@given(seeds, st.sampled_from([1e-3, 0.1, 10.0, 1e3]))
def test_the_size_of_a_matrix_does_not_matter(seed: int, size: float) -> None:
    matrix = normals(5, 12, seed=seed)
    torch.testing.assert_close(
        orthogonalised(size * matrix, 3), orthogonalised(matrix, 3), rtol=1e-3, atol=1e-3
    )


def test_a_matrix_of_zeros_stays_one() -> None:
    assert torch.equal(orthogonalised(torch.zeros(3, 5), 3), torch.zeros(3, 5))


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (64, 16, 1, 1), (8, 64, 3, 3), (20, 50)])
def test_one_learning_rate_suits_any_shape(shape: tuple[int, ...]) -> None:
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = normals(*shape)
    Muon([weight], lr=0.01).step()
    # AdamW's updates have a root mean square of 0.2 to 0.4 times the learning rate (Liu et al., §2.2).
    assert 0.12 < weight.detach().square().mean().sqrt() / 0.01 < 0.25


def test_a_step_goes_against_the_gradient() -> None:
    weight = nn.Parameter(torch.zeros(6, 4, 3, 3))
    weight.grad = normals(6, 4, 3, 3)
    Muon([weight], lr=0.01).step()
    assert (weight * weight.grad).sum() < 0


def test_momentum_goes_on_where_the_gradient_has_ended() -> None:
    weight = nn.Parameter(torch.zeros(4, 12))
    optimizer = Muon([weight], lr=0.01, momentum=0.9)
    weight.grad = normals(4, 12)
    optimizer.step()
    after_one = weight.detach().clone()
    weight.grad = torch.zeros(4, 12)
    optimizer.step()
    assert not torch.equal(weight, after_one)

    still = nn.Parameter(after_one.clone())
    optimizer = Muon([still], lr=0.01, momentum=0.9)
    still.grad = torch.zeros(4, 12)
    optimizer.step()
    assert torch.equal(still, after_one)


def test_weight_decay_shrinks_by_its_share_of_the_learning_rate() -> None:
    weight, alone = nn.Parameter(torch.ones(3, 6)), nn.Parameter(torch.ones(3, 6))
    weight.grad = torch.zeros(3, 6)
    Muon([weight, alone], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 6), 0.95))
    # What has no gradient is not in the training, so it is not to shrink either.
    assert torch.equal(alone, torch.ones(3, 6))


def test_weights_of_one_shape_are_updated_together_as_each_would_be_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes = [(8, 4, 3, 3), (8, 4, 3, 3), (8, 36), (36, 8), (6, 2, 3, 3)]

    def updated() -> list[Tensor]:
        weights = [nn.Parameter(normals(*shape, seed=seed)) for seed, shape in enumerate(shapes)]
        optimizer = Muon(weights, lr=0.1, weight_decay=0.1)
        for step in range(3):
            for seed, weight in enumerate(weights):
                weight.grad = normals(*weight.shape, seed=100 + 10 * step + seed)
            optimizer.step()
        return [weight.detach() for weight in weights]

    alone = updated()
    groups: list[int] = []

    def by_shape(weights: Sequence[Tensor]) -> list[list[Tensor]]:
        found = [list(weights[:3]), [weights[3]], [weights[4]]]
        groups.append(len(found))
        return found

    monkeypatch.setattr(optimizers, "_alike", by_shape)
    torch.testing.assert_close(updated(), alone)
    assert groups == [3, 3, 3]


def test_on_a_gpu_those_of_one_shape_as_matrices_go_together_and_on_a_cpu_none() -> None:
    shapes = [(8, 4, 3, 3), (8, 36), (36, 8), (8, 4, 3, 3)]
    for device, sizes in (("meta", [3, 1]), ("cpu", [1, 1, 1, 1])):
        weights = [torch.empty(shape, device=device) for shape in shapes]
        assert [len(group) for group in optimizers._alike(weights)] == sizes


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_muon_finds_a_convolution_from_what_it_does(memory_format: torch.memory_format) -> None:
    images, wanted = normals(16, 3, 8, 8, seed=1), normals(5, 3, 3, 3, seed=2)
    targets = F.conv2d(images, wanted)
    weight = nn.Parameter(torch.zeros(5, 3, 3, 3).to(memory_format=memory_format))
    optimizer = Muon([weight], lr=0.2)
    losses = []
    for step in range(60):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 60)
        loss = F.mse_loss(F.conv2d(images, weight), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 100


def network(name: str) -> nn.Module:
    spec = ModelSpec(name=name, channels=3, image_size=16, classes=("a", "b"), mean=(0, 0, 0), std=(1, 1, 1))
    return build_model(spec, seed=0)


def owners(model: nn.Module, transfer: Transfer | None = None) -> dict[str, list[str]]:
    """For each weight the optimizers that move it."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    for optimizer in build_optimizers(model, 0.02, 0.9, 0.05, transfer):
        for group in optimizer.param_groups:
            for weight in group["params"]:
                found[names[id(weight)]].append(type(optimizer).__name__)
    return found


@pytest.mark.parametrize("name", WIDTHS)
def test_every_weight_has_exactly_one_optimizer(name: str) -> None:
    assert {len(found) for found in owners(network(name)).values()} == {1}


def test_muon_has_every_convolution_but_the_first() -> None:
    model = network("tiny")
    found = owners(model)
    convolutions = [f"{name}.weight" for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 4
    assert [found[name] for name in convolutions] == [["AdamW"], ["Muon"], ["Muon"], ["Muon"]]
    assert Counter(owner for (owner,) in found.values())["Muon"] == 3


def test_rates_and_decay_are_as_asked() -> None:
    muon, adamw = build_optimizers(network("tiny"), 0.02, 0.8, 0.05)
    asked = {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.05}
    assert all({name: group[name] for name in asked} == asked for group in muon.param_groups)
    assert all((group["lr"], group["weight_decay"]) == (0.01, 0) for group in adamw.param_groups)


@pytest.mark.parametrize(
    "model", [nn.Linear(3, 2), nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))]
)
def test_a_model_with_at_most_one_convolution_is_adamws_alone(model: nn.Module) -> None:
    assert set(map(tuple, owners(model).values())) == {("AdamW",)}


def test_trained_weights_are_adamws_alone() -> None:
    found = owners(network("tiny"), Transfer(mode="full"))
    assert set(map(tuple, found.values())) == {("AdamW",)}


def test_under_head_only_the_last_layer_has_an_optimizer() -> None:
    model = network("tiny")
    name, _ = head_of(model)
    moved = {weight for weight, found in owners(model, Transfer(mode="head")).items() if found}
    assert moved == {f"{name}.weight", f"{name}.bias"}


def test_a_transfer_has_a_rate_for_each_layer_and_decay_for_matrices_and_kernels_alone() -> None:
    model = network("tiny")
    transfer = Transfer(mode="full", backbone_lr_scale=0.5, layer_decay=0.25)
    (adamw,) = build_optimizers(model, 0.02, 0.9, 0.05, transfer)
    found = {id(weight): group for group in adamw.param_groups for weight in group["params"]}
    assert len(found) == len(list(model.parameters()))
    for weight in model.parameters():
        assert found[id(weight)]["weight_decay"] == (0.05 if weight.ndim > 1 else 0)
    _, head = head_of(model)
    assert {found[id(weight)]["lr"] for weight in head.parameters()} == {0.02}
    layers = layers_of(model)
    for depth, (name, weights) in enumerate(layers, start=1):
        for weight in weights:
            expected = 0.02 * 0.5 * 0.25 ** (len(layers) - depth)
            assert found[id(weight)]["lr"] == pytest.approx(expected)
            assert found[id(weight)]["name"] == name


@pytest.mark.parametrize("transfer", [None, Transfer(mode="head"), Transfer(mode="full")])
def test_every_group_has_a_name(transfer: Transfer | None) -> None:
    model = network("tiny")
    names = [
        group["name"]
        for optimizer in build_optimizers(model, 0.02, 0.9, 0.05, transfer)
        for group in optimizer.param_groups
    ]
    expected = (
        {"convolutions", "other"}
        if transfer is None
        else {group.name for group in parameter_groups(model, transfer)}
    )
    assert set(names) == expected
