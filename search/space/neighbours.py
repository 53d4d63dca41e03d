"""Small steps from a candidate, as trial parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from augsearch.policies import MAX_MAGNITUDE
from augsearch.search.space.params import params_of_semi
from augsearch.search.space.space import MAX_OPS, MAX_RATIO, TRANSFORMS, SemiSpace, Space
from augsearch.search.space.suggest import OWN

if TYPE_CHECKING:
    pass


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
    usual = params_of_semi(space.usual(space.techniques[0]))
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
