"""RandAugment (2, 9) on a GPU: ours, by either path, against kornia's, and the share of a training step that
it takes. Where the two paths' pixels differ nothing is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import click
import torch
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from augsearch.policies.backends.torch import runner
from augsearch.policies.sampling import Interpolation

CASES = ((512, 32), (256, 224))
"""Images in a batch, and their side."""
CLASSES = 1000
SAMPLINGS: tuple[Interpolation, ...] = ("nearest", "bilinear")
COMPARED = 5
"""Batches that both of our paths augment before either is timed."""


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
        for interpolation in SAMPLINGS:
            _compare_paths(_images(device, count, side), interpolation)
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
    for interpolation in SAMPLINGS:
        kornia, torchvision = kornia_randaugment(interpolation), torchvision_randaugment(interpolation)
        kornia = kornia.to(device)
        jobs[f"kornia, {interpolation}"] = _without_gradients(kornia, floats)
        # One draw for the whole batch: less work than anyone's here.
        jobs[f"torchvision v2, {interpolation}"] = _without_gradients(torchvision, images)
        for path in paths(device):
            ours = by_path(path, our_tensor_policy(interpolation))
            jobs[f"augsearch by {path}, {interpolation}"] = _without_gradients(ours, images)
    return jobs


def paths(device: torch.device) -> tuple[runner.Engine, ...]:
    """Those that can run here."""
    return ("torch", "triton") if device.type == "cuda" and runner.triton_can() else ("torch",)


def by_path(path: runner.Engine, augment: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``augment``, taking that path whatever ran before."""

    def augmented(images: Any) -> Any:
        runner.use(path)
        return augment(images)

    return augmented


def _compare_paths(images: torch.Tensor, interpolation: Interpolation) -> None:
    """End the measurement where one path's pixels are not the other's."""
    from benchmarks.throughput.randaugment import our_tensor_policy

    first, *others = (by_path(path, our_tensor_policy(interpolation)) for path in paths(images.device))
    for number in range(COMPARED):
        expected = first(images)
        for other in others:
            differ = int((other(images) != expected).sum())
            if differ:
                raise click.ClickException(
                    f"Triton's kernels give other pixels than torch's: {differ} of {expected.numel()}, "
                    f"{interpolation}, batch {number} of shape {tuple(images.shape)}"
                )


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
    for path in paths(device):
        ours = by_path(path, our_tensor_policy("nearest"))
        jobs[f"training step with augsearch by {path}, nearest"] = partial(
            _augmented_step, ours, step, images
        )
    return jobs


def _augmented_step(
    augment: Callable[[Any], Any], step: Callable[[torch.Tensor], None], images: torch.Tensor
) -> None:
    with torch.no_grad():
        batch = augment(images)
    step(batch)


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
