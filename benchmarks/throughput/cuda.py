"""RandAugment (2, 9) on a GPU: ours against kornia's, and the share of a training step that it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

CASES = ((512, 32), (256, 224))
"""Images in a batch, and their side."""
CLASSES = 1000


@dataclass(frozen=True)
class Measured:
    """Milliseconds for a batch, one figure for each round."""

    what: str
    count: int
    side: int
    rounds: list[float]

    @property
    def milliseconds(self) -> float:
        """The median."""
        return median(self.rounds)

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.count / self.milliseconds * 1000


def measure(
    device: torch.device,
    cases: Sequence[tuple[int, int]],
    rounds: int,
    seconds: float,
    progress: Callable[[str], None],
) -> list[Measured]:
    """Every augmentation, a training step, and a training step that augments first."""
    results = []
    for count, side in cases:
        progress(f"{count} images of {side} px")
        jobs = _augmentations(device, count, side) | _steps(device, count, side)
        timed: dict[str, list[float]] = {what: [] for what in jobs}
        for number in range(rounds + 1):
            for what, job in jobs.items():
                milliseconds = _milliseconds(job, device, seconds)
                if number:  # the first round warms up: kernels are chosen and memory is set aside
                    timed[what].append(milliseconds)
        results += [Measured(what, count, side, found) for what, found in timed.items()]
    return results


def as_json(measured: list[Measured]) -> list[dict[str, Any]]:
    """``measured`` as plain values."""
    return [asdict(one) | {"milliseconds": one.milliseconds} for one in measured]


def _images(device: torch.device, count: int, side: int) -> torch.Tensor:
    """Smooth images with noise, uint8 (B, 3, H, W), made on the device."""
    generator = torch.Generator(device).manual_seed(0)
    coarse = torch.rand((count, 3, 8, 8), generator=generator, device=device) * 135 + 60
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    noise = torch.rand(smooth.shape, generator=generator, device=device) * 24 - 12
    return (smooth + noise).clamp(0, 255).to(torch.uint8)


def _augmentations(device: torch.device, count: int, side: int) -> dict[str, Callable[[], Any]]:
    from benchmarks.throughput.randaugment import (
        kornia_randaugment,
        our_tensor_policy,
        torchvision_randaugment,
    )

    images = _images(device, count, side)
    floats = images.float() / 255
    jobs: dict[str, Callable[[], Any]] = {}
    for interpolation in ("nearest", "bilinear"):
        kornia, torchvision = kornia_randaugment(interpolation), torchvision_randaugment(interpolation)
        kornia = kornia.to(device)
        jobs[f"kornia, {interpolation}"] = _without_gradients(kornia, floats)
        # One draw for the whole batch: less work than anyone's here.
        jobs[f"torchvision v2, {interpolation}"] = _without_gradients(torchvision, images)
        jobs[f"augsearch, {interpolation}"] = _without_gradients(our_tensor_policy(interpolation), images)
    return jobs


def _without_gradients(augment: Callable[[Any], Any], images: torch.Tensor) -> Callable[[], Any]:
    @torch.inference_mode()
    def job() -> Any:
        return augment(images)

    return job


def _steps(device: torch.device, count: int, side: int) -> dict[str, Callable[[], Any]]:
    """Steps of ResNet-18 as a fast training does them: channels last, bfloat16, SGD with momentum."""
    from benchmarks.throughput.randaugment import our_tensor_policy

    torch.backends.cudnn.benchmark = True
    images = _images(device, count, side)
    generator = torch.Generator(device).manual_seed(0)
    labels = torch.randint(CLASSES, (count,), generator=generator, device=device)
    network = resnet18(num_classes=CLASSES).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step(batch: torch.Tensor) -> None:
        floats = (batch.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = cross_entropy(network(floats), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    jobs: dict[str, Callable[[], Any]] = {"training step": lambda: step(images)}
    ours = our_tensor_policy("nearest")

    def augmented_step() -> None:
        with torch.no_grad():
            batch = ours(images)
        step(batch)

    jobs["training step with augsearch, nearest"] = augmented_step
    return jobs


def _milliseconds(job: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Milliseconds of one call, the mean over about as many calls as fit into ``seconds``, at least three."""
    once = _seconds(job, device, 1)
    calls = max(3, int(seconds / once))
    return _seconds(job, device, calls) / calls * 1000


def _seconds(job: Callable[[], Any], device: torch.device, calls: int) -> float:
    """Until the GPU is done with all of them; in between the calls queue up, as they do in a training."""
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(calls):
        job()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
