"""What ``benchmarks.carry_over`` trains: spread policies, in short ways and in the final one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from pydantic import BaseModel, ConfigDict

from augsearch.policies import Mixing, Policy
from augsearch.policies.regions import Erasing
from augsearch.search.space.space import PHOTO_POLICIES

_CROPPED, _RESIZED = Policy.named("flip-crop"), "flip-resized-crop"
POLICIES: dict[str, Policy] = PHOTO_POLICIES | {
    "RandAugment (1, 4) after flip + crop": Policy.named("flip-crop+randaugment(1,4)"),
    "RandAugment (3, 20) after flip + resized crop": Policy.named(f"{_RESIZED}+randaugment(3,20)"),
    "3-augment after flip + resized crop": Policy.named(f"{_RESIZED}+3-augment"),
    "CutMix after flip + crop": _CROPPED.model_copy(update={"mixing": Mixing(kind="cutmix")}),
    "TrivialAugment after flip + resized crop": Policy.named(f"{_RESIZED}+trivialaugment"),
    "AutoAugment (ImageNet) after flip + crop": Policy.named("flip-crop+autoaugment-imagenet"),
    "flip + crop, reflected": _CROPPED.model_copy(update={"border": "reflect"}),
    "flip + resized crop, erasing": Policy.named(_RESIZED).model_copy(update={"erasing": Erasing()}),
}
"""From none to strong ones: the baselines of photos, ready policies, mixing, borders, erasing."""


class Way(BaseModel):
    """How a network is trained with a policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: str
    side: int
    """Pixels of the images."""
    share: float
    """The part of the training images that one training learns from; 1: all."""
    epochs: int

    @property
    def is_final(self) -> bool:
        """Whether it is what the others stand in for."""
        return self.name == FINAL


FINAL = "final"
WAYS = (
    Way(name="scratch, starved", model="small", side=64, share=0.4, epochs=5),
    Way(name="scratch", model="small", side=64, share=0.8, epochs=60),
    Way(name="fine-tuned at 64 px", model="lite0", side=64, share=0.8, epochs=6),
    Way(name="fine-tuned at 64 px, longer", model="lite0", side=64, share=0.8, epochs=15),
    Way(name="fine-tuned at 96 px", model="lite0", side=96, share=0.8, epochs=15),
)
"""What may stand in, in the order of the pages."""
LONG = Way(name=FINAL, model="lite0", side=128, share=1.0, epochs=20)


@dataclass(frozen=True)
class Sizes:
    """How much is trained."""

    labels: int = 50
    """Images of each class to learn from."""
    policies: int = len(POLICIES)
    ways: tuple[Way, ...] = (*WAYS, LONG)
    folds: int = 3
    """Of each way that may stand in."""
    seeds: int = 3
    """Of the final training."""

    def count(self, way: Way) -> int:
        """How often a policy is trained in a way."""
        return self.seeds if way.is_final else self.folds


QUICK = Sizes(
    labels=10,
    policies=5,
    ways=(
        Way(name="scratch", model="tiny", side=32, share=0.8, epochs=2),
        Way(name=FINAL, model="small", side=32, share=1.0, epochs=2),
    ),
    folds=2,
    seeds=2,
)


class Job(BaseModel):
    """One training, with all that decides its result; as JSON it is the result's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    """A name for people, and a hash of the content for everybody else."""
    labels: int
    way: Way
    policy: Policy
    number: int
    """The fold, or the seed of a final training."""

    @property
    def key(self) -> str:
        """Equal for two jobs that would give the same."""
        return self.model_dump_json(exclude_none=True)


def jobs(data: str, sizes: Sizes) -> list[Job]:
    """All trainings, first folds and seeds first, so that a part of them says something."""
    chosen = list(POLICIES.values())[: sizes.policies]
    rounds = product(range(max(sizes.folds, sizes.seeds)), sizes.ways, chosen)
    return [
        Job(data=data, labels=sizes.labels, way=way, policy=policy, number=number)
        for number, way, policy in rounds
        if number < sizes.count(way)
    ]


def sizes_of(quick: bool, folds: int | None, seeds: int | None, policies: int | None) -> Sizes:
    """The full or the short form, with as many of each as are asked for."""
    sizes = QUICK if quick else Sizes()
    return replace(
        sizes,
        folds=folds or sizes.folds,
        seeds=seeds or sizes.seeds,
        policies=policies or sizes.policies,
    )
