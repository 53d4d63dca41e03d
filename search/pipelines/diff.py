"""``augsearch diff A B``: two studies, or policies, side by side, and only what differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from rich import box
from rich.markup import escape
from rich.table import Table

from augsearch.policies import PolicyFile
from augsearch.policies.ready import is_ready
from augsearch.search.console import Display
from augsearch.search.pipelines.export import is_file, policy_of
from augsearch.search.settings.sections import TrackingSettings
from augsearch.search.studies.study import check_own, finished, load_study, open_to_read

Fields = dict[str, Any]

OF_PLACE = ("study", "output", "storage", "tracking_uri", "config")
"""Settings that say where a study is, and nothing of what it is."""
SECTIONS = ("made from", "settings", "verdict", "final model", "policy", "training")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two."""

    name: str
    kind: str
    """``study``, ``policy file`` or ``ready policy``."""
    sections: dict[str, Fields] = field(default_factory=dict)
    """What is known of it; a section that is missing can't be compared."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that the two have differently."""

    section: str
    field: str
    a: Any
    """None where it is not there; so is ``b``."""
    b: Any


@dataclass(frozen=True, slots=True)
class Diff:
    """Two sides, and how they differ."""

    a: Side
    b: Side
    differences: tuple[Difference, ...]

    @property
    def compared(self) -> list[str]:
        """The sections that both have."""
        return [name for name in SECTIONS if name in self.a.sections and name in self.b.sections]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "a": {"name": self.a.name, "kind": self.a.kind},
            "b": {"name": self.b.name, "kind": self.b.kind},
            "compared": self.compared,
            "differences": [
                {"section": one.section, "field": one.field, "a": one.a, "b": one.b}
                for one in self.differences
            ],
        }


def diff(a: str, b: str, storage: str | None) -> Diff:
    """Compare what ``a`` and ``b`` name: studies, policy files or ready policies.

    Raises:
        UserError: there is no such study or file.
    """
    sides = _side(a, storage), _side(b, storage)
    found: list[Difference] = []
    for section in SECTIONS:
        first, second = (side.sections.get(section) for side in sides)
        if first is None or second is None:
            continue
        for name in {**first, **second}:
            one, other = first.get(name), second.get(name)
            # What makes a study is named once, though its settings say some of it again.
            told = any(name == known.field.replace(" ", "_") for known in found)
            if one != other and not (section == "settings" and told):
                found.append(Difference(section, name, one, other))
    return Diff(*sides, tuple(found))


def show_diff(found: Diff, display: Display) -> None:
    """Print a table of what differs."""
    a, b = (f"{side.kind} {side.name}" for side in (found.a, found.b))
    compared = ", ".join(found.compared)
    if not found.differences:
        display.result(f"{a} and {b} are the same in {compared}")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    table.add_column(escape(a), overflow="fold", ratio=1)
    table.add_column(escape(b), overflow="fold", ratio=1)
    last = ""
    for one in found.differences:
        section = "" if one.section == last else one.section
        table.add_row(section, *(escape(text) for text in (one.field, _shown(one.a), _shown(one.b))))
        last = one.section
    display.table(table)
    display.result(f"compared: {compared}; what is not in the table is the same")


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _side(source: str, storage: str | None) -> Side:
    if is_file(source):
        file, _ = policy_of(source, None, storage)
        kind = "ready policy" if is_ready(source) and not Path(source).exists() else "policy file"
        return Side(source, kind, _of_file(file))
    study = load_study(open_to_read(storage or TrackingSettings().storage), source)
    check_own(study)
    return Side(source, "study", _of_study(study, source, storage))


def _of_study(study: optuna.Study, name: str, storage: str | None) -> dict[str, Fields]:
    known = study.user_attrs
    settings = {key: value for key, value in known.get("settings", {}).items() if key not in OF_PLACE}
    found: dict[str, Fields] = {"made from": known["identity"], "settings": settings}
    if (final := known.get("final")) is not None:
        figures = {key: value for key, value in final["figures"].items() if key != "final_seconds"}
        found["final model"] = {"network": final.get("network"), **figures}
    if finished(study):
        file, words = policy_of(name, None, storage)
        found |= _of_file(file)
        found.setdefault("verdict", {"verdict": f"none yet; the best so far is {words}"})
    return found


def _of_file(file: PolicyFile) -> dict[str, Fields]:
    found = {
        "policy": _flat(file.policy.model_dump(mode="json")),
        "training": _flat(file.training.model_dump(mode="json")),
    }
    if isinstance(made := file.provenance.get("made_from"), dict):  # anybody may have written it
        found["made from"] = dict(made)
    if "verdict" in file.evidence:
        found["verdict"] = _verdict(file.evidence)
    return found


def _verdict(evidence: Mapping[str, Any]) -> Fields:
    """The sentence, and what was confirmed of the one that it recommends."""
    found = {"verdict": evidence["verdict"], "kind": evidence.get("kind")}
    rows, number = evidence.get("confirmation"), evidence.get("recommended")
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    for row in (one for one in known if one.get("number") == number):
        found["recommended"] = row.get("name")
        found |= {f"its {name}": row.get(name) for name in ("accuracy", "log_loss", "ece", "n")}
    return found


def _flat(document: Mapping[str, Any], before: str = "") -> Fields:
    """The values of a nested document by their paths: ``distillation.alpha``."""
    found: Fields = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found
