"""All techniques for images without labels: every module of this room is looked at."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import augsearch.trainers.semi as room
from augsearch.policies.training import TECHNIQUES
from augsearch.trainers.semi.technique import Technique


def load_techniques() -> dict[str, type[Technique]]:
    """The techniques by name, in the order of their ``rank``.

    Importing a module enters the techniques that it declares into the registry.
    """
    for module in iter_modules(room.__path__):
        import_module(f"{room.__name__}.{module.name}")
    found = {name: one for name, one in TECHNIQUES.items() if issubclass(one, Technique)}
    return dict(sorted(found.items(), key=lambda entry: (entry[1].rank, entry[0])))
