"""The commands: they convert options, call the library and print. Heavy imports wait inside them."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from augsearch.search.options import (
    EXISTING,
    ModelFormat,
    Registered,
    compare_options,
    model_formats,
    run_options,
    train_options,
)

_USER_ERROR, _INTERRUPTED = 2, 130


def friendly(command: Callable[..., None]) -> Callable[..., None]:
    """Bad input ends a command with one line and status 2; Ctrl-C and SIGTERM with a word on how to go on."""

    @functools.wraps(command)
    def guarded(**options: Any) -> None:
        from augsearch.policies import UserError

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            command(**options)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(_USER_ERROR)
        except BrokenPipeError:  # the reader has had enough, as `| head` has: click ends in silence
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"Error: {where}{(error.strerror or str(error)).lower()}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("\nStopped; nothing is lost. The same command goes on where it stopped.", err=True)
            sys.exit(_INTERRUPTED)

    return guarded


class Group(click.Group):
    """Lists commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of their definition."""
        return list(self.commands)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"augsearch {version('augsearch')}")
        ctx.exit()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version.",
)
def main() -> None:
    """Find the image augmentation that suits your own images, and prove it.

    \b
    Example:
      augsearch run photos/          search, confirm, export, train
      augsearch ui                   look at the trials
      augsearch export STUDY -o policy.json
    """


@main.command()
@click.argument("data", required=False)
@run_options
@click.option("--show-config", is_flag=True, help="Print the resolved settings as TOML and stop.")
@friendly
def run(config: Path | None, show_config: bool, **flags: Any) -> None:
    """Search a policy for DATA, confirm it, export it and train the final model from it.

    DATA is a folder of class folders; a folder with train/, val/ and/or test/ inside; an .npz file with
    images and labels; torchvision:NAME; or nothing, for an embedded part of Fashion-MNIST. Stop it at any
    time: the same command goes on where it stopped.

    \b
    Example:
      augsearch run photos/ --trials 40 --image-size 96
    """
    from augsearch.search.settings import load_settings, show_settings

    settings = load_settings(config, flags)
    if show_config:
        click.echo(show_settings(settings), nl=False)
        return
    from augsearch.search.commands.run import next_steps
    from augsearch.search.commands.run import run as run_search
    from augsearch.search.console import Display

    display = Display()
    display.line(next_steps(settings, run_search(settings, display)))


@main.command()
@click.argument("data", required=False)
@compare_options
@friendly
def compare(config: Path | None, seeds: int, json_file: Path | None, **flags: Any) -> None:
    """Is the search worth it on DATA? Compare it with random search and with the baselines alone.

    Each spends as many image passes as the search of run takes, on the same folds; what each picks is then
    trained again on fresh folds and scored on images that none has seen. All of it is kept in studies, not
    in MLflow; the search's own is that of run. Stop it at any time: the same command goes on.

    \b
    Example:
      augsearch compare photos/ --seeds 3
    """
    from augsearch.search.commands.compare import compare_searches
    from augsearch.search.console import Display
    from augsearch.search.settings import load_settings

    compare_searches(load_settings(config, flags), seeds, json_file, Display())


@main.command()
@click.argument("study")
@click.option(
    "-o", "--output", type=EXISTING, default=Path("policy.json"), show_default=True, help="File to write."
)
@click.option("--trial", type=click.INT, help="A trial's number, instead of what the verdict recommends.")
@click.option("--storage", help="Database of the studies. [mlruns/studies.db]")
@friendly
def export(study: str, output: Path, trial: int | None, storage: str | None) -> None:
    """Write the policy that STUDY recommends as a JSON file.

    \b
    Example:
      augsearch export photos-1a2b3c -o policy.json
    """
    from augsearch.search.commands.export import export_policy

    click.echo(export_policy(study, output, trial, storage))


@main.command()
@click.argument("study")
@click.option(
    "-o", "--output", type=EXISTING, default=Path("report.html"), show_default=True, help="Page to write."
)
@click.option("--storage", help="Database of the studies. [mlruns/studies.db]")
@friendly
def report(study: str, output: Path, storage: str | None) -> None:
    """Write a page about STUDY: verdict, figures, the race, the data, what it cost, how to make it again.

    It is one file without scripts that needs no network. STUDY may be unfinished: the page says what is
    missing.

    \b
    Example:
      augsearch report photos-1a2b3c -o report.html
    """
    from augsearch.search.report.page import report_study

    click.echo(report_study(study, output, storage))


@main.command()
@click.argument("data", required=False)
@click.option("--policy", "policy_file", type=EXISTING, required=True, help="Policy file to train from.")
@train_options
@click.option("--seed", type=click.INT, help="Of the division into parts and of the training. [0]")
@click.option("--limit", type=click.INT, help="Use at most this many training images, stratified.")
@click.option("--skip-bad-images", is_flag=True, default=None, help="Go on without unreadable images.")
@click.option("--tracking-uri", help="Where MLflow logs to. [mlruns/mlflow.db]")
@click.option("--device", help="auto, cpu, cuda or cuda:NUMBER. [auto]")
@friendly
def train(policy_file: Path, **flags: Any) -> None:
    """Train the final model on DATA from a policy file, and test it once.

    Trains on all labeled images but the test part and a held-out part that picks the best epoch. Where the
    policy file and a flag differ, the flag counts. Stop it at any time: the same command goes on after the
    last epoch.

    \b
    Example:
      augsearch train photos/ --policy policy.json
      augsearch train photos/ --policy policy.json --model torchvision:resnet50 --transfer full
    """
    from augsearch.search.commands.train import train_from_file
    from augsearch.search.console import Display
    from augsearch.search.settings import load_settings

    overrides = {name: flags.pop(name) for name in ("mixing", "temperature", "alpha")}
    settings = load_settings(None, flags)
    train_from_file(settings, policy_file, {**overrides, "teacher_view": flags["teacher_view"]}, Display())


@main.command()
@click.argument("model")
@click.argument("images", type=EXISTING, nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each image.")
@click.option("--top", type=click.IntRange(min=1), help="Labels an image. [1, in JSON all]")
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:NUMBER. [auto]")
@click.option("--tracking-uri", help="Where MLflow keeps MODEL. [mlruns/mlflow.db]")
@friendly
def predict(model: str, images: tuple[Path, ...], **options: Any) -> None:
    """Say what MODEL sees in IMAGES: files, and folders with images anywhere below.

    MODEL is a .safetensors file that augsearch trained, a folder with model.safetensors, or one in MLflow:
    runs:/RUN_ID/model or models:/NAME/VERSION. An image that can't be read is named, and the others go on.

    \b
    Example:
      augsearch predict mlruns/STUDY/model.safetensors holiday/ --json | jq -r .label
    """
    from augsearch.search.commands.predict import print_predictions

    print_predictions(model, images, **options)


@main.command("export-model")
@click.argument("model")
@click.option("-o", "--output", type=EXISTING, required=True, help="File to write.")
@click.option(
    "--format",
    "kind",
    cls=ModelFormat,
    type=Registered(model_formats),
    help="Of the file, by default by its suffix.",
)
@click.option("--tracking-uri", help="Where MLflow keeps MODEL. [mlruns/mlflow.db]")
@friendly
def export_model(model: str, output: Path, kind: str | None, tracking_uri: str | None) -> None:
    """Write MODEL as a file that works without augsearch, checked against MODEL before it is there.

    Images are uint8 (batch, channels, height, width). Classes, mean and deviation are in the metadata. MODEL
    is as for predict.

    \b
    Example:
      augsearch export-model mlruns/STUDY -o model.onnx
    """
    from augsearch.search.commands.export_model import write_model

    click.echo(write_model(model, output, kind, tracking_uri))


@main.command()
@click.argument("policy_file", type=EXISTING)
@click.argument("data", required=False)
@click.option(
    "-o", "--output", type=EXISTING, default=Path("sheet.png"), show_default=True, help="Picture to write."
)
@click.option("--image-size", type=click.INT, help="Side in pixels. [the images', at most 64]")
@click.option("--seed", type=click.INT, default=0, show_default=True, help="Of the augmentations shown.")
@friendly
def preview(policy_file: Path, data: str | None, output: Path, image_size: int | None, seed: int) -> None:
    """Draw what a policy does to images of DATA: originals, augmentations, the operations under each.

    \b
    Example:
      augsearch preview policy.json photos/ -o sheet.png
    """
    from augsearch.search.commands.preview import draw_preview

    click.echo(draw_preview(policy_file, data, output, image_size, seed))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--sheet", type=EXISTING, help="Draw every operation at five magnitudes: picture to write.")
@click.option("--image", type=EXISTING, help="Image to draw the sheet on. [a sample photo]")
@friendly
def operations(as_json: bool, sheet: Path | None, image: Path | None) -> None:
    """List all operations: their kind, what their magnitudes mean, and the sets they belong to.

    \b
    Example:
      augsearch operations --sheet operations.png --image cat.jpg
    """
    from augsearch.search.commands.operations import draw_operations, operations_json, print_operations

    if sheet or image:
        click.echo(draw_operations(sheet, image), err=as_json)
    if as_json:
        click.echo(operations_json())
    elif not sheet:
        print_operations()


@main.command()
@click.option("--tracking-uri", help="Where MLflow logged to. [mlruns/mlflow.db]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port. [5000, or the next that is free]")
@friendly
def ui(tracking_uri: str | None, port: int | None) -> None:
    """Open the MLflow UI on the trials of all runs made in this folder.

    \b
    Example:
      augsearch ui --port 8080
    """
    from augsearch.search.commands.ui import serve

    click.echo("Starting the MLflow UI …", err=True)
    serve(tracking_uri, port, say=click.echo)


if __name__ == "__main__":
    main()
