"""``augsearch init``: a TOML file with every setting of a run, made from its options: none is missing."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from augsearch.policies import UserError
from augsearch.policies.atomic import write_text
from augsearch.policies.errors import writing
from augsearch.search.options.lists import run_options
from augsearch.search.settings.addresses import ADDRESSES
from augsearch.search.settings.settings import FLAT, Settings

_WIDTH = 100
_DATA = "The images: what DATA is on the command line."
_TITLES = {
    "": "What concerns all of a run",
    "data": "Which images, and how they are divided",
    "search": "How the search goes about it",
    "proxy": "The short trainings of the search",
    "transfer": "Weights of networks that are not built in",
    "teacher": "Distillation",
    "confirmation": "How sure a verdict must be",
    "unlabeled": "Images without labels",
    "final": "The model that ships",
    "engine": "Where trainings run",
    "tracking": "Where it is kept",
}
"""What each section is about; one without a title would have its name."""


def write_settings_file(path: Path) -> str:
    """Write the file, every setting as a comment, and say how to use it.

    Raises:
        UserError: there is such a file already, or it can't be written.
    """
    if path.exists():
        raise UserError(f"{path}: is there already, and is kept; give another name")
    with writing(path, "another name"):
        write_text(path, settings_file(path.name))
    return f"{path}: take the # off what is to be otherwise, then\n  augsearch run --config {path}"


def settings_file(name: str = "settings.toml") -> str:
    """The file's text: what each option of ``run`` does, and its value where none is given."""
    sections: dict[str, list[str]] = {}
    for section, words, line in _settings():
        comment = textwrap.wrap(words, _WIDTH - 2)
        sections.setdefault(section, []).append("\n".join(f"# {one}" for one in (*comment, line)))
    head = (
        f"# Settings of augsearch run: augsearch run --config {name}\n"
        "# A line without its # counts; what is given on the command line counts before it.\n"
    )
    order = sorted(sections, key=[*_TITLES].index)
    parts = [
        f"{f'[{section}]' if section else '#'}  # {_TITLES[section]}\n\n" + "\n\n".join(sections[section])
        for section in order
    ]
    return "\n\n\n".join([head, *parts]).replace("#  # ", "# ") + "\n"


def _settings() -> Iterator[tuple[str, str, str]]:
    """The section of each setting, what it does, and its line."""
    usual = Settings().model_dump(mode="json")
    options = {one.name: one for one in click.command()(run_options(_nothing)).params}
    for flat, (section, field) in FLAT.items():
        option = options.get(flat)
        if flat == "data":
            yield section, _DATA, f'{field} = "photos/"'
        elif isinstance(option, click.Option):
            value = None if flat in ADDRESSES else (usual[section] if section else usual)[field]
            yield section, option.help or "", f"{field} = {_written(value, option)}"


def _written(value: Any, option: click.Option) -> str:
    """``value`` as TOML; where there is none, what kind of value takes its place."""
    if value is not None and value != []:
        return json.dumps(value, ensure_ascii=False)  # of plain values, TOML too
    if option.is_flag:
        return "true"
    kind = option.make_metavar(click.Context(click.Command("run"))).strip("[]")
    if kind in ("INTEGER", "FLOAT"):
        return kind
    return f'["{kind}"]' if option.multiple else f'"{kind}"'


def _nothing(**_: object) -> None:
    """Stands for a command, of which only the options are asked."""
