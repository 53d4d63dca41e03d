"""All techniques for images without labels. Importing this module loads every module of its room."""

from __future__ import annotations

from importlib import import_module

from augsearch.policies.training import TECHNIQUES, Semi
from augsearch.trainers.semi.technique import Technique
from augsearch.trainers.system.registry import modules_of

_ROOM = "augsearch.trainers.semi"


def load_techniques() -> dict[str, type[Technique]]:
    """The techniques by name, in the order of their ``rank``.

    Importing a module enters the techniques that it declares into the registry.
    """
    for name in modules_of(_ROOM):
        import_module(f"{_ROOM}.{name}")
    found = {name: one for name, one in TECHNIQUES.items() if issubclass(one, Technique)}
    return dict(sorted(found.items(), key=lambda entry: (entry[1].rank, entry[0])))


def technique_of(semi: Semi) -> Technique:
    """The technique of settings that may have been read before the techniques were loaded.

    Raises:
        ValidationError: a setting breaks its rule, or no technique has that name.
    """
    technique = Semi.model_validate(semi)
    assert isinstance(technique, Technique)
    return technique


load_techniques()
