"""The options of commands; each sets the field of ``Settings`` of the same name. Quick to import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

EXISTING = click.Path(path_type=Path)
_NETWORKS = "tiny, small, medium, wide, torchvision:NAME, timm:NAME or a .safetensors file"
METRICS = ("accuracy", "macro-f1", "log-loss", "balanced-accuracy")
SAMPLERS = ("tpe", "gp", "cmaes", "random")
PRUNERS = ("wilcoxon", "hyperband", "median", "none")


def _search_options() -> list[Callable[..., Any]]:
    """The options of a search; each sets the field of ``Settings`` of the same name."""
    number = click.INT
    return [
        click.option("--trials", type=number, help="Candidates to try, the 4 baselines included. [16]"),
        click.option("--folds", type=number, help="Most folds a candidate is trained on. [6]"),
        click.option("--metric", type=click.Choice(METRICS), help="What to compare them by. [accuracy]"),
        click.option("--sampler", type=click.Choice(SAMPLERS), help="What proposes candidates. [tpe]"),
        click.option("--pruner", type=click.Choice(PRUNERS), help="What stops losers early. [wilcoxon]"),
        click.option("--fold-timeout", type=float, help="Seconds that one fold may take. [3600]"),
        click.option("--workers", type=number, help="Processes. [one a core; on a GPU at most 4]"),
        click.option("--study", help="Name of the study. [from data and settings]"),
        click.option("--storage", help="Database of the studies, an SQLAlchemy URL. [mlruns/studies.db]"),
        click.option("--config", type=EXISTING, help="TOML file with any of these settings."),
        click.option("--seed", type=number, help="Everything random follows from it. [0]"),
        click.option(
            "--image-size", type=number, help="Side in pixels to train at. [the images', at most 64]"
        ),
        click.option(
            "--validation",
            type=EXISTING,
            help="Labeled images from where the model will be used, to optimise for.",
        ),
        click.option("--limit", type=number, help="Use at most this many training images, stratified."),
        click.option(
            "--skip-bad-images/--no-skip-bad-images", default=None, help="Go on without unreadable images."
        ),
        click.option(
            "--operations",
            help="To search over: randaugment, wide, colour, geometry or NAME,NAME,…  [randaugment]",
        ),
        click.option("--proxy-model", help=f"Network of the search: {_NETWORKS}. [small]"),
        *_transfer_options("none", "head", "full", "search"),
        click.option("--epochs", type=number, help="Epochs of a fold. [30, more for few images]"),
        click.option(
            "--fold-size", type=number, help="Training images of a fold. [4/5 of all, at most 1,000]"
        ),
        *_teacher_options(),
        *_unlabeled_options("search"),
        click.option("--device", help="auto, cpu, cuda or cuda:NUMBER. [auto]"),
    ]


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``run``: those of its search, its confirmation and its final training."""
    number = click.INT
    options = [
        *_search_options(),
        click.option("--confirm-folds", type=number, help="Most fresh folds of the confirmation. [32]"),
        click.option("--finalists", type=number, help="Candidates to confirm beside the baselines. [2]"),
        click.option("--margin", type=float, help="The least gain that matters. [0.01; 0.02 of log-loss]"),
        click.option("--timeout", type=float, help="Seconds after which the search starts no more trials."),
        click.option("--tracking-uri", help="Where MLflow logs to. [mlruns/mlflow.db]"),
        click.option("--output", type=EXISTING, help="Folder of the results. [mlruns/STUDY]"),
        click.option("--final/--no-final", default=None, help="Train the final model at the end. [yes]"),
        click.option(
            "--final-model", help=f"Network of the final model: {_NETWORKS}. [medium, or the search's]"
        ),
        click.option(
            "--final-size",
            type=number,
            help="Side in pixels of the final training. [the search's, or its own]",
        ),
        click.option("--final-epochs", type=number, help="Epochs of the final training. [for 60,000 images]"),
        *_recipe_options(),
    ]
    return _with(options, command)


def _with(options: list[Callable[..., Any]], command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command


def _transfer_options(*modes: str) -> list[Callable[..., Any]]:
    """What networks start from that are not built in, and what becomes of it."""
    return [
        click.option(
            "--weights", help="Of networks not built in: hub, none, or a .pth or .safetensors file. [none]"
        ),
        click.option(
            "--input-size", type=click.INT, help="Side to which those resize images. [that of their weights]"
        ),
        click.option(
            "--transfer",
            type=click.Choice(modes),
            help="How weights are used: train a new last layer, or all layers. [full]",
        ),
        click.option(
            "--backbone-lr-scale", type=float, help="Learning rate of the old layers beside the new. [0.1]"
        ),
        click.option(
            "--layer-decay", type=float, help="How much slower each layer learns than the next. [1]"
        ),
    ]


class _TechniqueChoice(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """``none``, the techniques for unlabeled images, and ``others``; looked up when they are needed."""

    name = "technique"

    def __init__(self, *others: str) -> None:
        self._others = others

    def _choice(self) -> click.Choice[str]:
        from augsearch.search.space.space import TECHNIQUES

        return click.Choice(("none", *TECHNIQUES, *self._others))

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """All of them, for ``--help``."""
        return self._choice().get_metavar(param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if it is one of them."""
        return self._choice().convert(value, param, ctx)


def _unlabeled_options(*others: str) -> list[Callable[..., Any]]:
    """What becomes of images without labels."""
    searched = "search" in others
    default = "search if --unlabeled is given" if searched else "the policy file's"
    values = "searched" if searched else "the policy file's"
    return [
        click.option("--unlabeled", type=EXISTING, help="Folder of images to learn from without labels."),
        click.option("--semi", type=_TechniqueChoice(*others), help=f"How to learn from those. [{default}]"),
        click.option(
            "--threshold", type=float, help=f"How sure a model must be of an image's label. [{values}]"
        ),
        click.option("--unlabeled-weight", type=float, help=f"Of their loss beside the labels'. [{values}]"),
        click.option("--unlabeled-ratio", type=float, help=f"Of them to a labeled one. [{values}]"),
        click.option(
            "--class-cap", type=float, help="Most pseudo-labels of a class, in times its share. [no limit]"
        ),
        click.option("--rounds", type=click.INT, help="Of labeling anew, or most students in a row. [3]"),
        click.option(
            "--first-teacher", help="Network of self-training's first teacher. [that of its students]"
        ),
    ]


def _teacher_options() -> list[Callable[..., Any]]:
    return [
        click.option(
            "--teacher",
            help=f"To distil from: self (like the student), {_NETWORKS}, runs:/RUN/model, or none. [self]",
        ),
        click.option(
            "--teacher-weights", help="Of a teacher not built in: hub, none or a file; then trained. [hub]"
        ),
        click.option(
            "--teacher-view",
            type=click.Choice(["same", "clean"]),
            help="What it sees: the student's augmented images, or the originals, once. [same]",
        ),
    ]


def _recipe_options() -> list[Callable[..., Any]]:
    """How the final model is trained."""
    return [
        click.option(
            "--patience", type=click.INT, help="Stop after so many epochs without a better. [never]"
        ),
        click.option("--batch-size", type=click.INT, help="Images a step of the final training. [64]"),
        click.option(
            "--accumulation", type=click.INT, help="Parts of a batch that go through one by one. [1]"
        ),
        click.option("--learning-rate", type=float, help="The highest. [0.02; 0.002 with weights]"),
        click.option(
            "--label-smoothing", type=float, help="Of the final training. [0.1; 0 with a threshold]"
        ),
        click.option("--warm-up", type=float, help="Share of the steps in which the rate rises. [0.25]"),
        click.option("--ema", type=float, help="Decay of a moving average of the weights. [none]"),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            help="Of products and convolutions. [half where the device is built for it]",
        ),
        click.option(
            "--crop-scale",
            type=float,
            help="Smallest share of an image in a random crop, above 64 px. [0.35]",
        ),
        click.option("--processes", type=click.INT, help="That share the training, a GPU each (DDP). [1]"),
    ]


def compare_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``compare``."""
    options = [
        *_search_options(),
        click.option("--confirm-folds", type=click.INT, help="Fresh folds on which picks are compared. [16]"),
        click.option(
            "--seeds", type=click.IntRange(1), default=1, show_default=True, help="Seeds to repeat it with."
        ),
        click.option("--json", "json_file", type=EXISTING, help="Write every figure here too."),
    ]
    return _with(options, command)


def train_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``train`` beside those about the data."""
    options = [
        click.option("--output", type=EXISTING, help="Folder for the model. [beside the policy file]"),
        click.option("--validation", type=EXISTING, help="Images from where it will be used, as in run."),
        click.option("--final-model", "--model", "final_model", help=f"Network: {_NETWORKS}. [medium]"),
        *_transfer_options("none", "head", "full"),
        click.option("--image-size", type=click.INT, help="Side in pixels. [the images', at most 64]"),
        click.option(
            "--final-size", type=click.INT, help="To train at, if another. [that of the network's weights]"
        ),
        click.option(
            "--final-epochs", "--epochs", "final_epochs", type=click.INT, help="Epochs. [for 60,000 images]"
        ),
        *_recipe_options(),
        click.option(
            "--mixing", type=click.Choice(["none", "cutmix", "mixup"]), help="Instead of the policy's."
        ),
        *_unlabeled_options(),
        *_teacher_options(),
        click.option("--temperature", type=float, help="Of distillation, instead of the policy file's."),
        click.option("--alpha", type=float, help="The teacher's weight, instead of the policy file's."),
    ]
    return _with(options, command)
