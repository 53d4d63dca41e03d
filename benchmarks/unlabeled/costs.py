"""What unlabeled images cost: the loop with them beside that without, and a labeling beside a training."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augsearch.trainers import LabeledImages, Learner, Recipe, design, prepared, train
from augsearch.trainers.data.unlabeled.dataset import Unlabeled
from augsearch.trainers.data.views import Decoded
from augsearch.trainers.models.build import channel_statistics
from augsearch.trainers.semi.label_store import LabelStore
from augsearch.trainers.semi.labeler import predict_in_memory
from augsearch.trainers.semi.labeling import label
from augsearch.trainers.semi.pool import Pool, class_shares
from augsearch.trainers.semi.predictions import Predictions
from augsearch.trainers.semi.pseudo_labels import PseudoLabels
from augsearch.trainers.system.devices import resolve_device
from augsearch.trainers.training.loop import EpochResult
from augsearch.trainers.training.setup import TrainingSetup
from benchmarks.comparisons import CONFIDENCE, half_width
from benchmarks.progress import Progress
from benchmarks.tables import Table, rounded
from benchmarks.unlabeled.plans import RANDAUGMENT_2_9

BATCH = 64
RATIO = 3
"""Unlabeled images to a labeled one: 16 and 48 make a batch of 64."""


@dataclass(frozen=True)
class CostSizes:
    """How much is timed."""

    rounds: int = 12
    """Epochs of each loop, in turns, after one to warm up."""
    steps: int = 200
    """Steps of an epoch."""
    labeled_images: int = 60_000
    """Images of a labeling pass."""
    labelings: int = 3
    epochs: int = 30
    """Epochs of the training that a labeling pass is compared with."""


QUICK = CostSizes(rounds=3, steps=24, labeled_images=2_000, labelings=1)


def measure(
    images: NDArray[np.uint8], labels: NDArray[np.int64], device: str, sizes: CostSizes, progress: Progress
) -> dict[str, Any]:
    """Both costs, as plain figures.

    Args:
        images: uint8 (N, S, S, C).
        labels: int64 (N,).
        device: ``cpu`` or ``cuda``.
        sizes: how much is timed.
        progress: is told how far it is.
    """
    timer = CostTimer(images, labels, resolve_device(device))
    return {"loop": timer.loops(sizes, progress), "labeling": timer.labelings(sizes, progress)}


@dataclass(frozen=True, eq=False)
class CostTimer:
    """Times on these images."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    device: torch.device

    def loops(self, sizes: CostSizes, progress: Progress) -> dict[str, Any]:
        """Images a second of both loops, round by round; both train on 64 images in each step."""
        rows = np.arange(sizes.steps * BATCH)
        some = len(rows) // (1 + RATIO)
        without = self.training(
            self.data(rows), Recipe(epochs=sizes.rounds + 1, batch_size=BATCH, precision="bfloat16")
        )
        beside = self.training(
            self.data(rows[:some]),
            Recipe(epochs=sizes.rounds + 1, batch_size=BATCH // (1 + RATIO), precision="bfloat16"),
            self.known_pool(rows[some:]),
        )
        rates: dict[str, list[float]] = {"without": [], "with": []}
        for number in range(sizes.rounds + 1):
            progress(f"the loop with and without unlabeled images: round {number} of {sizes.rounds}")
            turns = [("without", without), ("with", beside)]
            for name, epochs in turns if number % 2 else reversed(turns):
                seconds, _, epoch = self.seconds(partial(next, epochs))
                assert epoch.images == len(rows)
                if number:
                    rates[name].append(epoch.images / seconds)
        return rates

    def labelings(self, sizes: CostSizes, progress: Progress) -> dict[str, Any]:
        """Seconds of a labeling of all images, plain and into a new store, and of a training on them."""
        count = min(sizes.labeled_images, len(self.images))
        rows = np.arange(count)
        model = self.network(self.images[rows]).to(self.device)
        found: dict[str, Any] = {
            "images": count,
            "epochs": sizes.epochs,
            "guessed": [],
            "stored": [],
            "known": [],
        }
        images = self.images[rows]
        for number in range(sizes.labelings):
            progress(f"labeling {count:,} images: {number + 1} of {sizes.labelings}")
            found["guessed"].append(self.seconds(lambda: predict_in_memory(model, images, self.device))[:2])
            with tempfile.TemporaryDirectory() as folder, LabelStore(Path(folder) / "labels.sqlite") as store:
                for name in ("stored", "known"):

                    def ask(store: LabelStore = store) -> object:
                        return label(model, self.unlabeled(images), self.device, store=store, model_name="x")

                    found[name].append(self.seconds(ask)[:2])
        progress("some epochs of a training")
        timed = rows[: max(count // 6, BATCH)]
        epochs = self.training(self.data(timed), Recipe(epochs=3, precision="bfloat16"))
        seconds = [self.seconds(partial(next, epochs)) for _ in range(3)][1:]
        share = sizes.epochs * count
        found["training"] = [
            (share * ours / epoch.images, share * clock / epoch.images) for ours, clock, epoch in seconds
        ]
        return found

    def seconds(self, work: Callable[[], Any]) -> tuple[float, float, Any]:
        """How long ``work`` takes, by what counts here and by the clock, and what it gives.

        The processor's seconds count, for others use the machine too; with a GPU the clock's.
        """
        self.synchronize()
        start, cpu_start = time.perf_counter(), time.process_time()
        result = work()
        self.synchronize()
        clock, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        return (cpu if self.device.type == "cpu" else clock), clock, result

    def synchronize(self) -> None:
        """Wait for a GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def data(self, rows: NDArray[np.int64]) -> LabeledImages:
        """The images ``rows``, over and over where there are fewer."""
        rows = rows % len(self.images)
        return LabeledImages(self.images[rows], self.labels[rows], int(self.labels.max()) + 1)

    def known_pool(self, rows: NDArray[np.int64]) -> Pool:
        """Images whose labels a model is said to be sure of: the true ones, so that all are learned from."""
        data = self.data(rows)
        pool = Pool(data, PseudoLabels(ratio=RATIO), RANDAUGMENT_2_9)
        logits = 50 * np.eye(data.num_classes, dtype=np.float32)[data.labels]
        shares = class_shares(data.labels, data.num_classes)
        pool.relabel(np.arange(len(data.labels)), Predictions.from_logits(logits), shares)
        return pool

    def network(self, images: NDArray[np.uint8]) -> nn.Module:
        """A fresh ``small``."""
        spec = design(
            "small",
            channels=images.shape[-1],
            image_size=images.shape[1],
            classes=tuple(map(str, range(int(self.labels.max()) + 1))),
            statistics=channel_statistics(images),
        )
        return prepared(spec, "none", 0)[0]

    def training(
        self, data: LabeledImages, recipe: Recipe, pool: Pool | None = None
    ) -> Iterator[EpochResult]:
        """A training under RandAugment (2, 9)."""
        learner = Learner.prepare(self.network(data.images), recipe, None, self.device)
        return train(
            learner, TrainingSetup(data, RANDAUGMENT_2_9, recipe, seed=0, device=self.device), pool=pool
        )

    def unlabeled(self, images: NDArray[np.uint8]) -> Unlabeled:
        """The images as the command has them, in memory."""
        return Unlabeled(
            name="images",
            pixels=Decoded(images),
            chosen=np.arange(len(images)),
            truth=np.full(len(images), -1),
            refused=0,
            found=len(images),
            fingerprint="",
            _places=tuple(map(str, range(len(images)))),
            _root=None,
            _keys=None,
        )


def cost_tables(figures: dict[str, Any]) -> list[Table]:
    """The tables of what ``measure`` found, when and where."""
    return [
        loop_table(figures["loop"], figures["facts"]),
        labeling_table(figures["labeling"], figures["facts"]),
    ]


def loop_table(rates: dict[str, list[float]], facts: dict[str, Any]) -> Table:
    """Rates, and the ratio round by round."""
    ratios = [ours / other for ours, other in zip(rates["with"], rates["without"], strict=True)]
    half = half_width(ratios)
    return Table(
        "What unlabeled images cost in the loop",
        ("loop", "images/s"),
        [
            ("64 labeled images a step", rounded(median(rates["without"]))),
            ("16 labeled and 48 pseudo-labeled a step", rounded(median(rates["with"]))),
            ("ratio", f"{fmean(ratios):.3f} ± {half:.3f}"),
        ],
        notes=f"Medians of {len(ratios)} rounds, epoch by epoch in turns in one process, {_clock(facts)}; "
        f"the ratio is the mean of theirs with its {100 * CONFIDENCE:.0f} % interval (t). {_made(facts)}",
    )


def labeling_table(found: dict[str, Any], facts: dict[str, Any]) -> Table:
    """Seconds, and each as a share of the training's."""
    names = {
        "guessed": "labeling in memory",
        "stored": "labeling, kept in a new store",
        "known": "labeling that the store knows",
        "training": f"a training of {found['epochs']} epochs",
    }
    ours = {key: median(counted for counted, _ in found[key]) for key in names}
    clock = {key: median(seconds for _, seconds in found[key]) for key in names}
    rows = [
        (name, f"{ours[key]:.3g}", f"{clock[key]:.3g}", f"{100 * ours[key] / ours['training']:.1f}")
        for key, name in names.items()
    ]
    side, channels = facts["side"], facts["channels"]
    return Table(
        f"What a labeling of {found['images']:,} images costs",
        ("work", "seconds", "by the clock", "% of the training"),
        rows,
        notes=f"{side} px, {'grey' if channels == 1 else 'RGB'}; `small`, medians, {_clock(facts)}. The "
        "training is of as many labeled images, bfloat16, RandAugment (2, 9), reckoned from two epochs of a "
        f"sixth of them; the labeling is in float32. {_made(facts)}",
    )


def _clock(facts: dict[str, Any]) -> str:
    return "by the processor's seconds" if facts["device"] == "cpu" else f"by the clock, on {facts['device']}"


def _made(facts: dict[str, Any]) -> str:
    return f"Measured on {facts['date']} at {facts['commit']} by `{facts['command']}`."
