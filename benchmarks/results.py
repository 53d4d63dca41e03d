"""Results of long benchmarks: kept in a file as they come, and printed as a page at the end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from benchmarks import environment
from benchmarks.tables import Table


class ResultsFile:
    """All results, in memory and in a JSON file that is whole at any time."""

    def __init__(self, file: Path | None, jobs: type[BaseModel], outcomes: type[BaseModel]) -> None:
        """Read ``file`` if it exists; its jobs are of the type ``jobs``, their outcomes of ``outcomes``."""
        self.file, self.grown = file, False
        document = json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else {}
        self.facts: dict[str, Any] = document.get("facts", {})
        self.measured: dict[str, Any] = document.get("measured", {})
        """Figures beside the trainings, by what they are of."""
        self.results: list[tuple[Any, Any]] = [
            (jobs.model_validate(one["job"]), outcomes.model_validate(one["outcome"]))
            for one in document.get("trainings", [])
        ]
        self.known: dict[str, Any] = {job.key: outcome for job, outcome in self.results}

    def keep(self, job: Any, outcome: Any) -> None:
        """Add a result, in place of an earlier one of the same job."""
        self.results = [one for one in self.results if one[0] != job]
        self.results.append((job, outcome))
        self.known[job.key] = outcome
        self.grown = True
        self.write()

    def write(self) -> None:
        """Write the file, whole or not at all."""
        if self.file is None:
            return
        trainings = [
            {"job": job.model_dump(mode="json", exclude_none=True), "outcome": outcome.model_dump()}
            for job, outcome in self.results
        ]
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in trainings)
        measured = f'"measured": {json.dumps(self.measured, indent=1)},\n' if self.measured else ""
        text = f'{{"facts": {json.dumps(self.facts, indent=1)},\n{measured}"trainings": [\n{lines}\n]}}\n'
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_name(f".{self.file.name}.{os.getpid()}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(self.file)


@dataclass(frozen=True)
class Page:
    """What a benchmark's page says beside its tables."""

    module: str
    packages: Sequence[str]
    """Packages whose versions it names."""
    images: str
    """What it was measured on."""
    explained: str = ""
    """Text above the tables."""


def publish(page: Page, tables: Sequence[Table], results: ResultsFile, markdown: Path | None) -> None:
    """Print the page, and write the files that are asked for."""
    if results.grown or not results.facts:  # a page drawn anew does not make its figures newer
        facts = environment.facts(sys.argv[1:], None, page.module, page.packages)
        results.facts = facts | {"images": page.images}
    results.write()
    above = [environment.markdown(results.facts), *([page.explained] if page.explained else [])]
    text = "\n\n".join([*above, *(table.markdown() for table in tables)]) + "\n"
    click.echo(text)
    if markdown:
        markdown.write_text(text, encoding="utf-8")
