"""What a search trains in the place of the final network, where nobody names it."""

from __future__ import annotations

from dataclasses import dataclass

from augsearch.policies import UserError
from augsearch.search.settings.networks import FINETUNE, ProxySettings
from augsearch.search.settings.sections import AUTO, CANDIDATES
from augsearch.trainers.models.names import LITE, WITH_WEIGHTS, hub_of, is_built_in
from augsearch.trainers.system.gpus import has_gpu

FINE_TUNED_SIDE = 64
"""Pixels of the images on which a search fine-tunes the final network."""


@dataclass(frozen=True, slots=True)
class FinalNetwork:
    """The network that is to ship."""

    name: str
    weights: str
    """What it starts from; ``none``: nothing."""
    device: str
    """On which it is trained, as in the settings."""
    trained: bool
    """Whether it is trained at the end; else it is a name."""


def is_fine_tuned(told: ProxySettings, final: FinalNetwork) -> bool:
    """Whether the search fine-tunes the ``final`` network; else it trains what it is ``told``.

    Raises:
        UserError: it is to, and that network has no weights, or another one is named.
    """
    if told.own is not None:
        return False
    named = "model" in told.model_fields_set
    if told.kind == AUTO:
        return not named and _is_worth_it(final)
    if told.kind != FINETUNE:
        return False
    if named:
        raise UserError(
            f"--proxy finetune searches with the final network, and --proxy-model {told.model} names one "
            "too; leave either out"
        )
    if final.weights == "none":
        raise UserError(
            f"--proxy finetune: {final.name} has no weights to begin with; name a network that has some with "
            f"--final-model ({WITH_WEIGHTS})"
        )
    return True


def fine_tuned_side(network: str, given: int | None) -> int | None:
    """The side in pixels at which a search fine-tunes ``network``; None: it takes no other than its own.

    ``given``: that of the images, where it is.
    """
    if hub_of(network) is None:
        return None
    from augsearch.trainers.models.hubs import native

    return None if native(network).fixed_side else given or FINE_TUNED_SIDE


def stand_in_in_words(proxy: ProxySettings, network: str, check: str) -> str:
    """What the search trains in the place of the final ``network``, and which command may ``check`` that."""
    if is_built_in(proxy.model):
        return (
            f"the search trains a stand-in for {network}: {proxy.model}, from scratch. What is best for one "
            "need not be for the other: the best are compared on the final one if there is time, and how "
            f"well all carries over is measured by {check}"
        )
    return (
        f"the search fine-tunes {network} itself, on images of {proxy.size} px. How well that carries over "
        f"to the final training is measured by {check}"
    )


def no_candidates_in_words(baselines: int) -> str:
    """Why a run tries no candidates beside so many ``baselines``, and how it would."""
    return (
        f"the {baselines} baselines are compared, and no candidates searched: where it was measured, no "
        "short training told policies of a pretrained network apart well enough to be worth it; "
        f"--trials {baselines + CANDIDATES} searches"
    )


def _is_worth_it(final: FinalNetwork) -> bool:
    """Whether the final network is fine-tuned in the search where nobody says so.

    On small images it takes about one and a half times as long as a small network from scratch, and ranks
    policies more as the final one does; of larger ones than lite0 that holds on a GPU alone.
    """
    if not final.trained or final.weights == "none":
        return False
    return final.name == LITE or has_gpu(final.device)
