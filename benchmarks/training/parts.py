"""Where a step's time goes on one core: convolutions, normalisation, optimizer, augmentation, rest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from augsearch.policies import Policy
from augsearch.trainers import LabeledImages
from augsearch.trainers.training.loader import batches
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.training.setup import TrainingSetup
from benchmarks.progress import Progress
from benchmarks.tables import Table, rounded
from benchmarks.training.recipes import MAGNITUDE, NUM_OPS, Family, Job, Precision, Setting, our_training

PARTS = ("convolutions", "normalisation", "optimizer", "augmentation", "rest")


@dataclass(frozen=True)
class Parts:
    """Processor time of augsearch's loop for each image, by part."""

    precision: Precision
    rate: float
    """Images per second of processor time."""
    microseconds: dict[str, float]
    """For each image, by the names in ``PARTS``."""


def measure_parts(job: Job, precisions: Sequence[Precision], rounds: int, progress: Progress) -> list[Parts]:
    """The parts in each precision, on one thread; ``job`` is on the CPU.

    Epochs of all precisions take turns. The processor's seconds count, for others may use the machine too.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        setting = Setting(threads=1, workers=0, form="arrays")
        trainings = {
            precision: our_training(_with_epochs(job, rounds + 2), Family(True, precision), setting)
            for precision in precisions
        }
        epochs: dict[Precision, list[float]] = {precision: [] for precision in precisions}
        for number in range(rounds + 1):
            progress(f"parts: round {number} of {rounds}" if number else "parts: warm-up")
            for precision, training in trainings.items():
                start = time.process_time()
                next(training.epochs)
                if number:
                    epochs[precision].append(time.process_time() - start)
        augmentation = median(_augmentation(job) for _ in range(rounds))
        found = []
        for precision, training in trainings.items():
            with profile(activities=[ProfilerActivity.CPU]) as profiled:
                next(training.epochs)
            seconds = median(epochs[precision])
            found.append(_parts(precision, job.trained, seconds, augmentation, profiled.key_averages()))
        return found
    finally:
        torch.set_num_threads(threads)


def _with_epochs(job: Job, epochs: int) -> Job:
    return Job(job.images, job.labels, job.spec, job.batch_size, epochs, job.device)


def _augmentation(job: Job) -> float:
    """Processor seconds of an epoch's batches alone."""
    data = LabeledImages(job.images, job.labels, len(job.spec.classes))
    policy = Policy(num_ops=NUM_OPS, magnitude=MAGNITUDE)
    start = time.process_time()
    setup = TrainingSetup(data, policy, Recipe(batch_size=job.batch_size), seed=0, device=job.device)
    for _ in batches(setup, epoch=0):
        pass
    return time.process_time() - start


def _parts(precision: Precision, images: int, seconds: float, augmentation: float, events: Any) -> Parts:
    """Shares of torch's operations as the profiler sees them, on what an epoch takes without augmentation."""
    every = sum(event.self_cpu_time_total for event in events)
    profiled = {
        # conv2d: what computes in bfloat16 where the processor can't.
        "convolutions": sum(
            event.self_cpu_time_total
            for event in events
            if any(name in event.key.lower() for name in ("convolution", "conv2d"))
        ),
        "normalisation": sum(event.self_cpu_time_total for event in events if "batch_norm" in event.key),
        "optimizer": sum(event.cpu_time_total for event in events if event.key.startswith("Optimizer.step")),
    }
    steps = seconds - augmentation
    share = {name: steps * time / every for name, time in profiled.items()}
    share |= {"augmentation": augmentation, "rest": steps - sum(share.values())}
    return Parts(precision, images / seconds, {name: 1e6 * share[name] / images for name in PARTS})


def parts_table(found: Sequence[Parts]) -> Table:
    """A row for each precision."""
    return Table(
        "Where a step's time goes, one thread",
        ("precision", "images per second", *(f"{name}, µs" for name in PARTS)),
        [
            (
                one.precision,
                rounded(one.rate),
                *(
                    f"{time:.0f} ({time * one.rate / 1e4:.0f} %)"
                    for time in (one.microseconds[name] for name in PARTS)
                ),
            )
            for one in found
        ],
        notes="augsearch's loop. Processor time for each image, and its share; the median of epochs that "
        "take turns. Shares of torch's operations are the profiler's. *Rest*: activations, pools, loss, "
        "the last layer and what Python does.",
    )
