"""A candidate in a few words, and in full ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augsearch.policies import Policy, Semi
from augsearch.search.space.dimensions import Section, dimensions
from augsearch.search.space.space import fields_of

if TYPE_CHECKING:
    from augsearch.trainers.workspace.candidate import Candidate


NOTHING = "no augmentation"


def describe_policy(policy: Policy) -> str:
    """A policy in a few words."""
    return ", ".join(_policy_words(policy)) or NOTHING


def describe(candidate: Candidate) -> str:
    """A candidate in a few words."""
    parts = _policy_words(candidate.policy)
    if candidate.distillation is not None:
        parts.append(" ".join(_words("distillation", candidate.distillation)))
    words = ", ".join(parts) or NOTHING
    if candidate.transfer is not None:
        words += f", {' '.join(_words('transfer', candidate.transfer))}"
    if candidate.class_balance is not None:
        words += f", {' '.join(_words('balance', candidate))}"
    if candidate.semi is not None:
        words += f"; {' '.join(_semi_words(candidate.semi))}"
    return words


def explain(candidate: Candidate) -> str:
    """A candidate in full words, for a person who does not know what N and M are."""
    parts = [
        ", ".join(_policy_words(candidate.policy, full=True)) or "images as they are, without augmentation"
    ]
    if candidate.distillation is not None:
        parts.append(", ".join(_words("distillation", candidate.distillation, full=True)))
    if candidate.transfer is not None:
        parts.append(", ".join(_words("transfer", candidate.transfer, full=True)))
    if candidate.class_balance is not None:
        parts.append(", ".join(_words("balance", candidate, full=True)))
    if candidate.semi is not None:
        parts.append(", ".join(_semi_words(candidate.semi, full=True)))
    return "; ".join(parts)


def _policy_words(policy: Policy, *, full: bool = False) -> list[str]:
    return _words("policy", policy, full=full)


def _semi_words(semi: Semi, *, full: bool = False) -> list[str]:
    words = _words("semi", semi, full=full)
    if semi.policy is not None and not full:
        words.append(f"own policy: {describe_policy(semi.policy)}")
    return words


def _words(section: Section, settings: Any, *, full: bool = False) -> list[str]:
    """What the dimensions of a section say of its settings, one after another."""
    declared = sorted(dimensions(section), key=lambda dimension: dimension.words.last)
    if section == "semi":
        known = fields_of(settings.technique)
        declared = [dimension for dimension in declared if dimension.landing.names[0] in known]
    said = (dimension.said(settings, full=full) for dimension in declared)
    return [words for words in said if words]
