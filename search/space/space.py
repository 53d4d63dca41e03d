"""What a search may choose from; and the baselines, which are trials too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from augsearch.policies import Policy, Semi, Transfer
from augsearch.policies.training import ClassBalance
from augsearch.trainers.semi.techniques import load_techniques

ON = 0.5
"""The probability of a flip or quarter turn that is switched on."""

BASELINE_POLICIES: dict[str, Policy] = {
    "none": Policy.named("none"),
    "flip + crop": Policy.named("flip-crop"),
    "RandAugment (2, 9)": Policy.named("randaugment(2,9)"),
    "TrivialAugment": Policy.named("trivialaugment"),
    "RandAugment (2, 9) after flip + crop": Policy.named("flip-crop+randaugment(2,9)"),
    "TrivialAugment after flip + crop": Policy.named("flip-crop+trivialaugment"),
}
"""The policies that anyone can have without a search, the simplest first."""

PHOTO_POLICIES: dict[str, Policy] = BASELINE_POLICIES | {
    "flip + resized crop": Policy.named("flip-resized-crop"),
    "RandAugment (2, 9) after flip + resized crop": Policy.named("flip-resized-crop+randaugment(2,9)"),
}
"""These, and what people have who fine-tune a pretrained network on photos."""

USUAL = "RandAugment (2, 9) after flip + crop"
"""The policy of the baselines that stand for a way to learn, and not for a policy."""

USUAL_OF_PHOTOS = "RandAugment (2, 9) after flip + resized crop"
"""The same where a network is pretrained on photos."""

SAFEST_OF_PHOTOS = "flip + crop"
"""What to fine-tune with on photos where nothing is known to be better.

With few labels the final networks that had it were at most 0.7 points behind the best of sixteen policies on
each of three sets; those whose policy led short trainings, up to 4.7 (``docs/results/carry-over.md``).
"""

EDITION = 3
"""What there is to choose from grows. A study keeps what there was when it was made:

1. four baselines, no border and no interpolation;
2. RandAugment and TrivialAugment after flip + crop too; border and interpolation;
3. for photos resized crops and erasing too, and two more baselines where a network is pretrained.
   Final trainings from photos cropped them before whatever the policy said, see ``CROPPED_BEFORE``.
"""

CROPPED_BEFORE = 0.35
"""The smallest share of a photo to which final trainings cropped by default before the third edition."""

_OF_FIRST = list(BASELINE_POLICIES)[:4]
"""The baselines of the first edition."""

SpaceName = Literal["randaugment", "per-operation"]
"""How much of each operation is searched: whether it is drawn, or how often and how strongly too."""

RANDAUGMENT_SPACE: SpaceName = "randaugment"
PER_OPERATION: SpaceName = "per-operation"

MIXING = ("mixing", "mixing_alpha", "mixing_probability")
"""The dimensions of mixing, which takes labels that are probabilities."""

BLACK, WHITE, GREY = (0, 0, 0), (255, 255, 255), (128, 128, 128)

_LOADED = load_techniques()

TECHNIQUES: dict[str, str] = {name: technique.words for name, technique in _LOADED.items()}
"""Ways to learn from unlabeled images, and what people call them."""


def fields_of(technique: str) -> frozenset[str]:
    """The settings that ``technique`` has."""
    return frozenset(_LOADED[technique].model_fields)


@dataclass(frozen=True, slots=True)
class SemiSpace:
    """What a search may choose from to learn from unlabeled images."""

    techniques: tuple[str, ...]
    searched: bool
    """Whether to use one is searched, and which; else all candidates use the only one."""
    fixed: tuple[tuple[str, Any], ...] = ()
    """Fields of ``Semi`` that are as a person wants them, and so aren't searched."""

    def usual(self, technique: str) -> Semi:
        """``technique`` as anyone would use it."""
        return Semi.model_validate({"technique": technique, **dict(self.fixed)})


@dataclass(frozen=True, slots=True)
class Space:
    """What a search may choose from."""

    operations: tuple[str, ...]
    teacher_view: Literal["same", "clean"] | None = None
    """What the teacher looks at; None: there is no teacher."""
    transfer: Transfer | Literal["search"] | None = None
    """How the proxies' weights are used: always so, or searched; None: they have none."""
    semi: SemiSpace | None = None
    """How unlabeled images are used; None: there are none."""
    class_balance: ClassBalance | Literal["search"] | None = None
    """What is done for rare classes: always so, or searched; None: nothing."""
    edition: int = EDITION
    """Which baselines and dimensions there are."""
    given: tuple[tuple[str, Policy], ...] = ()
    """Policies of the user's own to be measured against, by name."""
    left_out: tuple[str, ...] = ()
    """The names of dimensions of a policy that are not searched."""
    mean: tuple[int, int, int] = GREY
    """The mean colour of the data's training images, with which borders may be filled."""
    name: SpaceName = RANDAUGMENT_SPACE
    """How much of each operation is searched."""
    photos: bool = False
    """Whether the images are photos, of which random parts are enlarged and erased too."""
    resized: bool = False
    """Whether there are baselines that crop as people crop photos for a pretrained network."""

    @property
    def safest(self) -> str | None:
        """The baseline to use where none is known to be better; None: the one that leads."""
        return SAFEST_OF_PHOTOS if self.resized else None

    @property
    def baselines(self) -> dict[str, Baseline]:
        """What anyone can have without this search, by name.

        With unlabeled images all policies are tried under the technique, and one on the labels alone; where
        the technique is searched, all policies on the labels alone, and one under each technique.
        """
        usual_policies = PHOTO_POLICIES if self.resized else BASELINE_POLICIES
        names = _OF_FIRST if self.edition == 1 else list(usual_policies)
        policies = {name: usual_policies[name] for name in names} | dict(self.given)
        alone = {name: Baseline(policy) for name, policy in policies.items()}
        if self.semi is None:
            return alone
        usual_policy = USUAL_OF_PHOTOS if self.resized else USUAL
        if self.edition == 1:
            usual_policy = "RandAugment (2, 9)"
        usual = {technique: self.semi.usual(technique) for technique in self.semi.techniques}
        if self.semi.searched:
            # None with a teacher: that is no baseline's.
            return alone | {
                f"{usual_policy}, {TECHNIQUES[technique]}": Baseline(usual_policies[usual_policy], semi)
                for technique, semi in usual.items()
                if not semi.asks_teacher
            }
        (semi,) = usual.values()
        return {name: Baseline(policy, semi) for name, policy in policies.items()} | {
            f"{usual_policy}, labels alone": alone[usual_policy]
        }


@dataclass(frozen=True, slots=True)
class Baseline:
    """What anyone can have without a search."""

    policy: Policy
    semi: Semi | None = None
