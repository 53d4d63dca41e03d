"""What a model says of image files, as a table or as lines of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from augsearch.policies import UserError
from augsearch.search.console import Display
from augsearch.search.pipelines.export_model import find_model
from augsearch.trainers.data.decode import BadImageError, pillow_without_warnings
from augsearch.trainers.data.sources.folders import images_below
from augsearch.trainers.evaluation.classifier import Classifier, Prediction


def print_predictions(
    model: str,
    images: Iterable[Path],
    display: Display,
    *,
    as_json: bool = False,
    top: int | None = None,
    device: str = "auto",
    average_flips: bool = False,
    tracking_uri: str | None = None,
) -> None:
    """Print what ``model`` says of ``images``, files and folders of them, with the ``top`` likeliest labels.

    A bad image is named on stderr, and the others are still predicted.

    Raises:
        UserError: there is no such model, a folder has no images, or, in the end, images were bad.
    """
    paths = _files(images)
    classifier = Classifier.load(find_model(model, tracking_uri), device, average_flips=average_flips)
    bad: list[Path] = []
    answers = _readable(classifier, paths, bad)
    if as_json:
        for path, prediction in answers:
            click.echo(_json(path, prediction, top or len(classifier.classes)))
    else:
        _print_table(answers, len(paths), top or 1, display)
    if bad:
        raise UserError(f"{len(bad)} of {len(paths)} images can't be read")


def _files(images: Iterable[Path]) -> list[Path]:
    """The given files, and all images below the given folders."""
    files: list[Path] = []
    for image in images:
        found = images_below(image) if image.is_dir() else [image]
        if not found:
            raise UserError(f"{image}: no images in this folder or below it")
        files += found
    return files


def _readable(
    classifier: Classifier, paths: list[Path], bad: list[Path]
) -> Iterator[tuple[Path, Prediction]]:
    """Yield what can be read with its prediction; name the rest, and keep them in ``bad``."""
    with pillow_without_warnings():
        for path, answer in classifier.stream(paths):
            if isinstance(answer, BadImageError):
                bad.append(path)
                print(f"{path}: {answer}", file=sys.stderr)
            else:
                yield path, answer


def _json(path: Path, prediction: Prediction, count: int) -> str:
    return json.dumps(
        {
            "image": str(path),
            "label": prediction.label,
            "confidence": prediction.confidence,
            "probabilities": dict(prediction.top(count)),
        }
    )


def _print_table(
    answers: Iterator[tuple[Path, Prediction]], total: int, count: int, display: Display
) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # A path that were cut off would be of no use.
    table.add_column("image", overflow="fold")
    table.add_column("label", overflow="fold")
    table.add_column("confidence", justify="right", no_wrap=True)
    with display.bar("predicting", total) as bar:
        for path, prediction in answers:
            name = escape(click.format_filename(path))
            for rank, (label, probability) in enumerate(prediction.top(count)):
                table.add_row("" if rank else name, escape(label), f"{100 * probability:.1f} %")
            bar.advance()
    if table.row_count:
        display.table(table)
