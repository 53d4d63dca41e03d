"""Every kind of training step, as on a GPU: nothing mixes tensors of the host with those of the device.

``FakeTensorMode`` computes shapes, types and devices alone, on any machine, and raises where an operation has
tensors of two devices. Networks must be made there, because moving them is what it can't do; values can't be
read, so this runs the steps of an epoch and not the epoch, whose loss is read at its end; and gradients are
stood in for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError
from torch.optim import swa_utils
from torch.utils._python_dispatch import TorchDispatchMode

from augsearch.policies import Distillation, Mixing, Policy, Transfer
from augsearch.policies.backends.torch import kernels, runner
from augsearch.policies.regions import Erasing, ResizedCrop
from augsearch.policies.tensor import TensorMixing, TensorPolicy
from augsearch.policies.training import ClassBalance
from augsearch.trainers.data.views import LabeledImages
from augsearch.trainers.evaluation import inference
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.spec import ModelSpec
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.semi.pool import Pool
from augsearch.trainers.semi.technique import Technique
from augsearch.trainers.semi.techniques import technique_of
from augsearch.trainers.training import loader, loop
from augsearch.trainers.training.learner import Learner
from augsearch.trainers.training.loader import batches
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup

pytestmark = [
    pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor"),
    pytest.mark.filterwarnings("ignore:CUDA is not available"),  # so all of it is in float32
]

CUDA = torch.device("cuda")
CLASSES, SIDE = 3, 16
MIXED = Policy(num_ops=1, mixing=Mixing(kind="cutmix", probability=1.0))
TAUGHT = Distillation(temperature=3, alpha=0.5)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors without values; networks are on the device where they were made."""
    monkeypatch.setattr(nn.Module, "to", lambda self, *_, **__: self)
    # Of tensors without values a copy would copy the mode that makes them.
    monkeypatch.setattr(swa_utils, "deepcopy", lambda _: network())
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: nullcontext())  # a real one has a state
    # Pinned memory and streams are the driver's.
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(loader, "_copied_beside", lambda made, device: (one.on(device) for one in made))
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def network(**fields: Any) -> nn.Module:
    spec = ModelSpec(
        name="tiny", channels=3, image_size=SIDE, classes=("a", "b", "c"), mean=(128,) * 3, std=(60,) * 3
    )
    with CUDA:
        return build_model(spec.model_copy(update=fields), 0)


def images(count: int = 24) -> LabeledImages:
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    return LabeledImages(pixels, np.arange(count) % CLASSES, CLASSES)


def step(
    monkeypatch: pytest.MonkeyPatch,
    recipe: Recipe | None = None,
    policy: Policy = MIXED,
    transfer: Transfer | None = None,
    technique: Technique | None = None,
    teacher: bool = False,
    **setup: Any,
) -> tuple[Tensor, Tensor]:
    """The first step of a training: the loss, and how many unlabeled images are used."""
    recipe = recipe or Recipe(batch_size=8, precision="bfloat16", ema=0.9, clip=1.0)
    taught = network().eval() if teacher else None
    given = TrainingSetup(images(), policy, recipe, seed=0, device=CUDA, teacher=taught, **setup)
    learner = Learner.prepare(network(), recipe, transfer, CUDA)
    pool = None if technique is None else Pool(images(16), technique, policy)
    objective = loop._objective(learner, given, pool)

    def backward(loss: Tensor) -> None:
        # Autograd's own thread of a GPU is there only where a GPU is.
        assert loss.requires_grad
        for weight in learner.model.parameters():
            if weight.requires_grad:
                weight.grad = torch.zeros_like(weight)

    monkeypatch.setattr(Tensor, "backward", backward)
    done = loop._step(learner, next(batches(given, 0, pool)), objective)
    assert {one.device.type for one in learner.best.state_dict().values()} == {"cuda"}
    return done


def test_tensors_of_two_devices_are_an_error_here() -> None:
    with pytest.raises(FakeTensorDeviceMismatchError):
        torch.zeros(3, device=CUDA) + torch.zeros(3)


STEPS: dict[str, dict[str, Any]] = {
    "mixed, with an average of the weights": {},
    "in parts": {"recipe": Recipe(batch_size=8, accumulation=2, precision="float32")},
    "all layers of weights": {"transfer": Transfer(mode="full")},
    "a new last layer alone": {"transfer": Transfer(mode="head")},
    "from a teacher of the same views": {"teacher": True, "distillation": TAUGHT},
    "FixMatch": {"technique": FixMatch()},
    "FixMatch with thresholds of classes": {"technique": FixMatch(per_class=True)},
    "unlabeled images from a teacher": {
        "technique": technique_of({"technique": "distillation"}),
        "teacher": True,
    },
}


@pytest.mark.parametrize("fields", STEPS.values(), ids=STEPS)
def test_a_step_stays_on_its_device(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
    loss, used = step(monkeypatch, **fields)
    assert (loss.device.type, used.device.type) == ("cuda", "cuda")


class Waits(TorchDispatchMode):
    """Counts what the host brings to the device or asks of it, and waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), named: dict[str, Any] | None = None
    ) -> Any:
        waits = ("aten::_to_copy", "aten::_local_scalar_dense")
        on_the_host = [one for one in arguments if isinstance(one, Tensor) and one.device.type == "cpu"]
        to_the_device = torch.device((named or {}).get("device") or "cpu").type == "cuda"
        self.count += operation.name() in waits and (to_the_device or not on_the_host)
        return operation(*arguments, **(named or {}))


def test_the_average_of_the_weights_is_kept_without_waiting_for_the_device() -> None:
    learner = Learner.prepare(network(), Recipe(precision="float32", ema=0.9), None, CUDA)
    assert learner.average is not None
    trained = network()
    for steps in (0, 1):
        learner.average.n_averaged = torch.tensor(steps)
        with Waits() as waits:
            learner.average.update_parameters(trained)
        assert not waits.count


@pytest.mark.parametrize("kind", ["loss", "sampling", "logit-adjustment"])
def test_so_does_one_that_evens_classes_out(monkeypatch: pytest.MonkeyPatch, kind: ClassBalance) -> None:
    assert step(monkeypatch, class_balance=kind)[0].device.type == "cuda"


@pytest.mark.parametrize("average_flips", [False, True])
def test_what_is_evaluated_is_brought_to_the_device(
    monkeypatch: pytest.MonkeyPatch, average_flips: bool
) -> None:
    seen: list[str] = []
    model = network(average_flips=average_flips)
    model.register_forward_hook(lambda *call: seen.append(call[2].device.type))
    # Values can't be read here, so they are stood in for at the end.
    monkeypatch.setattr(Tensor, "numpy", lambda tensor: np.zeros(tuple(tensor.shape), np.float32))
    logits = inference.predict(model, images(5).images, CUDA, batch_size=3)
    assert logits.shape == (5, CLASSES)
    assert set(seen) == {"cuda"}


def sent(self: Any, device: torch.device) -> list[Tensor]:
    """As ``HostToDevice.send``, without memory that the host writes into."""
    return [torch.from_numpy(np.array(one)).to(device) for one in self._arrays]


POLICIES: dict[str, Policy] = {
    "RandAugment after flip + crop": Policy.named("flip-crop+randaugment(2,9)"),
    "wide, mirrored, between pixels": Policy.named("trivialaugment").model_copy(
        update={"num_ops": 3, "border": "reflect", "interpolation": "bilinear"}
    ),
    "parts enlarged and erased": Policy(
        num_ops=0, resized_crop=ResizedCrop(), erasing=Erasing(probability=1.0)
    ),
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_policy_on_tensors_stays_on_their_device(monkeypatch: pytest.MonkeyPatch, policy: Policy) -> None:
    monkeypatch.setattr(kernels.HostToDevice, "send", sent)
    runner._runner.cache_clear()
    try:
        augment = TensorPolicy(policy, seed=0)
        augment._checked_on_device = True  # or its values would be read
        for batch in (
            torch.zeros(12, 3, SIDE, SIDE, dtype=torch.uint8, device=CUDA),
            torch.zeros(12, 3, SIDE, SIDE, device=CUDA),
        ):
            result = augment(batch)
            assert (result.device.type, result.dtype, result.shape) == ("cuda", batch.dtype, batch.shape)
    finally:
        runner._runner.cache_clear()  # they hold tensors without values


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_mixing_on_tensors_stays_on_their_device(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setattr(kernels.HostToDevice, "send", sent)
    mix = TensorMixing(Mixing(kind=kind, probability=1.0), CLASSES, seed=0)
    mix._checked_on_device = True
    labels = torch.zeros(12, dtype=torch.int64, device=CUDA)
    mixed, targets = mix(torch.zeros(12, 3, SIDE, SIDE, device=CUDA), labels)
    assert (mixed.device.type, targets.device.type) == ("cuda", "cuda")
