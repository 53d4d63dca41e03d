"""An Optuna trial ↔ a candidate; and the baselines, which are trials too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from augsearch.policies import MAX_MAGNITUDE, TRIVIALAUGMENT, Distillation, Policy, Semi, Transfer

if TYPE_CHECKING:
    import optuna

    from augsearch.trainers.folds import Candidate

MAX_OPS = 4
TRANSFORMS = {"crop": 0.1, "flip_horizontal": 0.1, "flip_vertical": 0.03, "quarter_turns": 0.03}
"""The basic transforms, and how often a neighbour switches each."""
ON = 0.5
"""The probability of a flip or quarter turn that is switched on."""

BASELINES: dict[str, Policy] = {
    "none": Policy(num_ops=0),
    "flip + crop": Policy(num_ops=0, flip_horizontal=ON, crop=1.0),
    "RandAugment (2, 9)": Policy(num_ops=2, magnitude=9),
    "TrivialAugment": TRIVIALAUGMENT,
}
"""What anyone can have without a search, the simplest first."""

USUAL = "RandAugment (2, 9)"
"""The policy of the baselines that stand for a way to learn, and not for a policy."""

Technique = Literal["pseudo", "self-training", "fixmatch", "distillation"]
TECHNIQUES: dict[Technique, str] = {
    "pseudo": "pseudo-labels",
    "self-training": "self-training",
    "fixmatch": "FixMatch",
    "distillation": "distillation",
}
"""Ways to learn from unlabeled images, and what people call them."""

MAX_RATIO = 4
"""Unlabeled images to a labeled one: each costs as much as a labeled one does."""


@dataclass(frozen=True, slots=True)
class SemiSpace:
    """What a search may choose from to learn from unlabeled images."""

    techniques: tuple[Technique, ...]
    searched: bool
    """Whether to use one is searched, and which; else all candidates use the only one."""
    fixed: tuple[tuple[str, Any], ...] = ()
    """Fields of ``Semi`` that are as a person wants them, and so aren't searched."""

    def usual(self, technique: Technique) -> Semi:
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

    @property
    def baselines(self) -> dict[str, Baseline]:
        """What anyone can have without this search, by name.

        With unlabeled images all policies are tried under the technique, and one on the labels alone; where
        the technique is searched, all policies on the labels alone, and one under each technique.
        """
        alone = {name: Baseline(policy) for name, policy in BASELINES.items()}
        if self.semi is None:
            return alone
        usual = {technique: self.semi.usual(technique) for technique in self.semi.techniques}
        if self.semi.searched:
            # None with a teacher: that is no baseline's.
            return alone | {
                f"{USUAL}, {TECHNIQUES[technique]}": Baseline(BASELINES[USUAL], semi)
                for technique, semi in usual.items()
                if not semi.asks_teacher
            }
        (semi,) = usual.values()
        return {name: Baseline(policy, semi) for name, policy in BASELINES.items()} | {
            f"{USUAL}, labels alone": alone[USUAL]
        }


@dataclass(frozen=True, slots=True)
class Baseline:
    """What anyone can have without a search."""

    policy: Policy
    semi: Semi | None = None


def suggest(trial: optuna.trial.Trial, space: Space) -> Candidate:
    """The candidate that the trial's sampler proposes; a baseline's trial is that baseline, always."""
    from augsearch.trainers.folds import Candidate

    operations = space.operations
    baseline = space.baselines.get(trial.user_attrs.get("baseline", ""))
    if baseline is not None and not set(baseline.policy.operations) <= set(operations):
        # Not a policy that this search could propose: the sampler must not take its score for that of the
        # few operations which are searched, so the trial gets no parameters for them.
        operations = ()
    policy = _suggest_policy(trial, operations)
    distillation = _suggest_distillation(trial, space.teacher_view) if space.teacher_view else None
    transfer = _suggest_transfer(trial) if space.transfer == "search" else space.transfer
    semi = None
    # Where all candidates use a technique, labels alone are no choice of parameters.
    if space.semi and (baseline is None or baseline.semi or space.semi.searched):
        semi = _suggest_semi(trial, space.semi, space.operations)
    if baseline is not None:
        policy, semi = baseline.policy, baseline.semi
    return Candidate(policy=policy, distillation=distillation, transfer=transfer, semi=semi)


def _suggest_policy(trial: optuna.trial.Trial, operations: tuple[str, ...], of: str = "") -> Policy:
    """A policy; the names of its parameters begin with ``of``."""
    fields: dict[str, Any] = {"num_ops": trial.suggest_int(f"{of}num_ops", 0, MAX_OPS)}
    if fields["num_ops"]:
        # Random magnitudes go with TrivialAugment's wide ranges, fixed ones with RandAugment's.
        if trial.suggest_categorical(f"{of}magnitudes", ["fixed", "random"]) == "random":
            fields |= {"magnitude": "random", "ranges": "wide"}
        else:
            fields["magnitude"] = trial.suggest_int(f"{of}magnitude", 0, MAX_MAGNITUDE)
        chosen = [name for name in operations if trial.suggest_categorical(f"{of}op_{name}", [True, False])]
        fields["operations"] = tuple(chosen)
        if not chosen:
            fields = {"num_ops": 0}
    for transform in TRANSFORMS:
        on = trial.suggest_categorical(f"{of}{transform}", [True, False])
        fields[transform] = (1.0 if transform == "crop" else ON) if on else 0.0
    mixing = trial.suggest_categorical(f"{of}mixing", ["none", "cutmix", "mixup"])
    if mixing != "none":
        alpha = trial.suggest_float(f"{of}mixing_alpha", 0.1, 2.0, log=True)
        probability = trial.suggest_float(f"{of}mixing_probability", 0.1, 1.0)
        fields["mixing"] = {"kind": mixing, "alpha": alpha, "probability": probability}
    return Policy(**fields)


def _suggest_distillation(
    trial: optuna.trial.Trial, teacher_view: Literal["same", "clean"]
) -> Distillation | None:
    if not trial.suggest_categorical("distillation", [True, False]):
        return None
    return Distillation(
        temperature=trial.suggest_float("temperature", 1.0, 20.0, log=True),
        alpha=trial.suggest_float("alpha", 0.0, 1.0),
        teacher_view=teacher_view,
    )


def _suggest_transfer(trial: optuna.trial.Trial) -> Transfer:
    if trial.suggest_categorical("transfer", ["head", "full"]) == "head":
        return Transfer(mode="head")
    return Transfer(
        mode="full",
        backbone_lr_scale=trial.suggest_float("backbone_lr_scale", 0.01, 1.0, log=True),
        layer_decay=trial.suggest_float("layer_decay", 0.6, 1.0),
    )


OWN = "unlabeled_"
"""Begins the names of the parameters of unlabeled images' own policy."""


def _suggest_semi(trial: optuna.trial.Trial, space: SemiSpace, operations: tuple[str, ...]) -> Semi | None:
    technique: str = space.techniques[0]
    if space.searched:
        technique = trial.suggest_categorical("semi", ["none", *space.techniques])
        if technique == "none":
            return None
    fixed = dict(space.fixed)
    fields: dict[str, Any] = {"technique": technique}
    if "weight" not in fixed:
        fields["weight"] = trial.suggest_float("unlabeled_weight", 0.1, 4.0, log=True)
    if "ratio" not in fixed:
        fields["ratio"] = trial.suggest_int("unlabeled_ratio", 1, MAX_RATIO)
    if technique == "distillation":
        fields["temperature"] = trial.suggest_float("unlabeled_temperature", 1.0, 20.0, log=True)
    elif "threshold" not in fixed:
        fields["threshold"] = trial.suggest_float("threshold", 0.5, 0.99)
    if technique == "fixmatch":
        fields["per_class"] = trial.suggest_categorical("per_class", [True, False])
    if technique == "self-training":
        noise = trial.suggest_float("student_noise", 0.0, 0.3)
        fields |= {"dropout": noise, "stochastic_depth": noise}
    if technique in ("pseudo", "self-training"):
        fields["labels"] = trial.suggest_categorical("pseudo_labels", ["hard", "soft"])
    if trial.suggest_categorical("unlabeled_policy", ["same", "own"]) == "own":
        fields["policy"] = _suggest_policy(trial, operations, OWN)
    return Semi.model_validate(fixed | fields)


def baseline_params(baseline: Baseline, space: Space) -> dict[str, Any]:
    """The trial parameters by which ``suggest`` proposes ``baseline``: no teacher, and all layers learn."""
    params = _params_of(baseline.policy, space.operations)
    if space.teacher_view:
        params["distillation"] = False
    if space.transfer == "search":
        usual = Transfer(mode="full")
        params |= {
            "transfer": usual.mode,
            "backbone_lr_scale": usual.backbone_lr_scale,
            "layer_decay": usual.layer_decay,
        }
    if space.semi:
        semi = baseline.semi
        params |= _params_of_semi(semi) if semi else {"semi": "none"}
    return params


def _params_of(policy: Policy, operations: tuple[str, ...]) -> dict[str, Any]:
    params: dict[str, Any] = {"num_ops": policy.num_ops, "mixing": "none"}
    if policy.num_ops:
        random = policy.magnitude == "random"
        params["magnitudes"] = "random" if random else "fixed"
        params |= {} if random else {"magnitude": policy.magnitude}
        params |= {f"op_{name}": name in policy.operations for name in operations}
    for transform in TRANSFORMS:
        params[transform] = getattr(policy, transform) > 0
    return params


def _params_of_semi(semi: Semi) -> dict[str, Any]:
    return {
        "semi": semi.technique,
        "unlabeled_weight": semi.weight,
        "unlabeled_ratio": min(max(round(semi.ratio), 1), MAX_RATIO),
        "unlabeled_temperature": semi.temperature,
        "threshold": min(max(semi.threshold, 0.5), 0.99),
        "per_class": semi.per_class,
        "pseudo_labels": semi.labels,
        "student_noise": semi.dropout,
        "unlabeled_policy": "same",
    }


def neighbour(params: dict[str, Any], space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """Trial parameters near ``params``: what a search that knows nothing yet does well to try.

    Drawing all dimensions at random makes nearly every candidate bad, because one mirror or quarter turn
    that destroys labels is enough; so the first candidates are small steps from the best so far.
    """
    near = dict(params) | _near_policy(params, space.operations, rng)
    if space.teacher_view:
        near |= _near_distillation(params, rng)
    if space.transfer == "search":
        if rng.random() < 0.3:
            near["transfer"] = "head" if params["transfer"] == "full" else "full"
        scale = params.get("backbone_lr_scale", 0.1) * float(np.exp(rng.normal(0, 0.7)))
        near["backbone_lr_scale"] = float(np.clip(scale, 0.01, 1.0))
        near["layer_decay"] = float(np.clip(params.get("layer_decay", 1.0) + rng.normal(0, 0.1), 0.6, 1.0))
    if space.semi:
        near |= _near_semi(params, space.semi, space.operations, rng)
    return near


def _near_policy(
    params: dict[str, Any], operations: tuple[str, ...], rng: np.random.Generator
) -> dict[str, Any]:
    num_ops = int(np.clip(params["num_ops"] + rng.integers(-1, 2), 1, MAX_OPS))
    near: dict[str, Any] = {"num_ops": num_ops, "magnitudes": params.get("magnitudes", "fixed")}
    near["magnitude"] = int(np.clip(params.get("magnitude", 9) + rng.integers(-6, 7), 1, MAX_MAGNITUDE))
    for name in operations:
        kept = params.get(f"op_{name}", True)
        near[f"op_{name}"] = bool(kept ^ (rng.random() < 0.15))
    for switch, chance in TRANSFORMS.items():
        near[switch] = bool(params[switch] ^ (rng.random() < chance))
    near["mixing"] = params["mixing"]
    if rng.random() < 0.4:
        near["mixing"] = str(rng.choice(["none", "cutmix", "mixup"]))
    near["mixing_alpha"] = params.get("mixing_alpha", 1.0)
    near["mixing_probability"] = params.get("mixing_probability", 0.5)
    return near


def _near_distillation(params: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """A teacher is tried soon, because no baseline has one, and kept where the best so far has it."""
    if not params["distillation"]:
        temperature = np.exp(rng.uniform(np.log(2), np.log(8)))
        alpha = rng.uniform(0.2, 0.8)
    else:
        temperature = np.clip(params["temperature"] * np.exp(rng.normal(0, 0.4)), 1.0, 20.0)
        alpha = np.clip(params["alpha"] + rng.normal(0, 0.2), 0.0, 1.0)
    return {
        "distillation": bool(rng.random() < (0.85 if params["distillation"] else 0.7)),
        "temperature": float(temperature),
        "alpha": float(alpha),
    }


def _near_semi(
    params: dict[str, Any], space: SemiSpace, operations: tuple[str, ...], rng: np.random.Generator
) -> dict[str, Any]:
    usual = _params_of_semi(space.usual(space.techniques[0]))
    near = usual | {name: params[name] for name in usual if name in params}
    alone = near["semi"] == "none"
    if rng.random() < (0.6 if alone else 0.3):
        near["semi"] = str(rng.choice(space.techniques if alone else ("none", *space.techniques)))
    weight, threshold = near["unlabeled_weight"], near["threshold"]
    near["unlabeled_weight"] = float(np.clip(weight * np.exp(rng.normal(0, 0.5)), 0.1, 4.0))
    near["unlabeled_ratio"] = int(np.clip(near["unlabeled_ratio"] + rng.integers(-1, 2), 1, MAX_RATIO))
    near["threshold"] = float(np.clip(threshold + rng.normal(0, 0.1), 0.5, 0.99))
    near["student_noise"] = float(np.clip(near["student_noise"] + rng.normal(0, 0.1), 0.0, 0.3))
    near["unlabeled_temperature"] = float(np.exp(rng.uniform(np.log(2), np.log(8))))
    for switch, values in (("per_class", (True, False)), ("pseudo_labels", ("hard", "soft"))):
        if rng.random() < 0.3:
            near[switch] = values[int(rng.integers(2))]
    near["unlabeled_policy"] = "own" if rng.random() < 0.3 else "same"
    own = {name.removeprefix(OWN): value for name, value in params.items() if name.startswith(OWN)}
    start = own if "num_ops" in own else params
    return near | {f"{OWN}{name}": value for name, value in _near_policy(start, operations, rng).items()}
