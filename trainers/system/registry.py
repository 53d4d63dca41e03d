"""Registries of files: what is declared in a package is found there, and a new file needs no other edit."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

Kind = TypeVar("Kind")


def modules_of(package: str) -> list[str]:
    """The names of the modules of ``package``, sorted; only the package itself is imported."""
    return sorted(module.name for module in iter_modules(import_module(package).__path__))


def declared_in(package: str, name: str, kind: type[Kind]) -> dict[str, Kind]:
    """What each module of ``package`` declares as ``name``, by the module's name, in the alphabet's order.

    All its modules are imported, so they had better be quick to import. One that has nothing of that name, or
    something of another kind, is left out.
    """
    found: dict[str, Kind] = {}
    for module in modules_of(package):
        declared = getattr(import_module(f"{package}.{module}"), name, None)
        if isinstance(declared, kind):
            found[module] = declared
    return found
