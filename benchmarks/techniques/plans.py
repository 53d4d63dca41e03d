"""The comparisons of ``benchmarks.techniques``: which jobs stand beside which, and the search for T and α."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna

from augsearch.policies import Distillation, Policy, Transfer
from benchmarks.comparisons import Comparison, Outcome, Row
from benchmarks.techniques.runs import Job

PRETRAINED = "timm:tf_efficientnet_lite0"
EMA_DECAYS = (0.9, 0.97)
"""Averages of some 10 and 33 steps, of the 60 to 180 that such a fine-tuning has."""


@dataclass(frozen=True)
class Sizes:
    """How much is trained and tested; an hour and a half of two busy cores allows no more."""

    flower_side: int = 128
    flower_tested: int = 80
    """Images of each class; a test of all would take as long as a training of the last layer."""
    flower_epochs: tuple[tuple[int, int], ...] = ((10, 30), (50, 10))
    """Labels of each class, and the epochs of a transfer."""
    scratch: int = 2
    """Times a transfer's epochs, from scratch."""
    small_network_epochs: int = 60
    """Epochs of a network that learns more from few images than a large one: the stricter comparison."""
    cifar_labels: int = 400
    """Images of each class."""
    cifar_tested: int = 1000
    cifar_validated: int = 600
    cifar_epochs: tuple[int, ...] = (20, 40)
    """Epochs of the student and its teacher; the search is made for the first."""
    candidates: int = 12
    candidate_epochs: int = 12


QUICK = Sizes(
    flower_tested=20,
    flower_epochs=((10, 3),),
    small_network_epochs=10,
    cifar_labels=20,
    cifar_tested=100,
    cifar_validated=20,
    cifar_epochs=(3,),
    candidates=2,
    candidate_epochs=2,
)


def transfer_comparison(
    data: str, weights: str, labels: int, epochs: int, sizes: Sizes, seeds: int
) -> Comparison[Job]:
    """The rows for so many ``labels`` of each class."""
    policy = Policy(num_ops=0, flip_horizontal=0.5, crop=1.0)

    def row(
        name: str, network: str, epochs: int, transfer: Transfer | None = None, ema: float | None = None
    ) -> Row[Job]:
        return Row(
            f"{name}, {epochs} epochs",
            tuple(
                Job(
                    data=data,
                    images_per_class=labels,
                    network=network,
                    weights=weights if transfer else "none",
                    epochs=epochs,
                    policy=policy,
                    transfer=transfer,
                    ema=ema,
                    seed=seed,
                )
                for seed in range(seeds)
            ),
        )

    scratch = row("Lite0 from scratch", PRETRAINED, sizes.scratch * epochs)
    small = row("built-in `medium` from scratch", "medium", sizes.small_network_epochs)
    head = row("Lite0, `head`", PRETRAINED, epochs, Transfer(mode="head"))
    full = row("Lite0, `full`", PRETRAINED, epochs, Transfer(mode="full"))
    averaged = [
        row(f"Lite0, `full`, EMA {decay:g}", PRETRAINED, epochs, Transfer(mode="full"), decay)
        for decay in EMA_DECAYS
    ]
    return Comparison(
        f"Transfer: {data.split()[0]}, {labels} labels a class",
        (small, scratch, head, full, *averaged),
        ((full.name, head.name), *((one.name, full.name) for one in averaged)),
        f"{sizes.flower_side} px, float32, flip and crop; learning rates, scale and decay are the library's "
        "defaults. The seed draws the labels, the fresh weights, the order and the augmentation.",
    )


@dataclass(frozen=True)
class DistillationSetting:
    """What all trainings on CIFAR-10 have in common."""

    data: str
    sizes: Sizes

    def job(self, network: str, seed: int, **more: Any) -> Job:
        """A training; ``more`` overrules."""
        common: dict[str, Any] = {
            "data": self.data,
            "images_per_class": self.sizes.cifar_labels,
            "network": network,
            "epochs": self.sizes.cifar_epochs[0],
            "precision": "bfloat16",
            "policy": Policy(num_ops=2, magnitude=9, flip_horizontal=0.5, crop=1.0),
            "seed": seed,
        }
        return Job(**common | more)

    def searched(self, **more: Any) -> Job:
        """A student of the search, on images that no other training sees."""
        return self.job(
            "small",
            0,
            pool="search",
            tested_on="validation",
            epochs=self.sizes.candidate_epochs,
            **more,
        )

    def teacher_of_search(self) -> Job:
        """The search's own teacher."""
        return self.job("medium", 0, pool="search", tested_on="validation")


def search(
    setting: DistillationSetting, count: int, result: Callable[[Job], Outcome]
) -> list[tuple[Job, Outcome]]:
    """A student on the labels alone, then ``count`` candidates that TPE asks for, told their accuracy.

    T and α have the ranges of ``augsearch run``. What TPE asks next follows from its seed and the results
    before, so a search that is taken up again asks for the same.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=6)
    )
    plain = setting.searched()
    found = [(plain, result(plain))]
    for _ in range(count):
        trial = study.ask()
        wanted = Distillation(
            temperature=round(trial.suggest_float("temperature", 1.0, 20.0, log=True), 2),
            alpha=round(trial.suggest_float("alpha", 0.0, 1.0), 2),
        )
        job = setting.searched(distillation=wanted, teacher=setting.teacher_of_search())
        found.append((job, result(job)))
        study.tell(trial, found[-1][1].accuracy)
    return found


def distillation_comparison(
    setting: DistillationSetting, best: Distillation, epochs: int, seeds: int
) -> Comparison[Job]:
    """Labels alone, also for twice the epochs; T = 1; the searched T, also with a teacher of clean images."""

    def teacher(seed: int) -> Job:
        return setting.job("medium", seed, epochs=epochs)

    def student(name: str, distillation: Distillation | None, epochs: int = epochs) -> Row[Job]:
        jobs = (
            setting.job(
                "small",
                seed,
                epochs=epochs,
                distillation=distillation,
                teacher=teacher(seed) if distillation else None,
            )
            for seed in range(seeds)
        )
        return Row(name, tuple(jobs))

    shown = f"T = {best.temperature:g}, α = {best.alpha:g}"
    plain = student("labels alone", None)
    longer = student(f"labels alone, {2 * epochs} epochs", None, 2 * epochs)
    one = student(f"T = 1, α = {best.alpha:g}", best.model_copy(update={"temperature": 1.0}))
    searched = student(f"{shown} (searched)", best)
    clean = student(f"{shown}, `clean` view", best.model_copy(update={"teacher_view": "clean"}))
    itself = Row("the teacher itself", tuple(teacher(seed) for seed in range(seeds)), compared=False)
    labels = 10 * setting.sizes.cifar_labels
    return Comparison(
        f"Distillation: CIFAR-10, {labels:,} labels, {epochs} epochs",
        (plain, longer, one, searched, clean, itself),
        ((searched.name, one.name), (searched.name, longer.name), (searched.name, clean.name)),
        f"Student `small`, teacher `medium` (twice the width), {epochs} epochs each where nothing else is "
        "said, bfloat16, RandAugment (2, 9), flip and crop. The seed draws the labels, the fresh weights, "
        "the order and the augmentation; every seed has its own teacher, trained on the student's labels. "
        "Passes are the student's. Seconds are the student's too, with the teacher's looking on (in the "
        "`same` view at every image that the student trains on); the teacher's training comes on top, once.",
    )
