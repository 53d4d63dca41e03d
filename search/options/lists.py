"""The options of commands; each sets the setting of the same flat name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from augsearch.search.options.command import (
    CONFIRMATION,
    DATA,
    ENGINE,
    FINAL,
    FIRST,
    PROXY,
    SEARCH,
    TEACHER,
    TRACKING,
    TRANSFER,
    UNLABELED,
    Option,
    Registered,
)
from augsearch.search.options.registered import engines, metrics, techniques

EXISTING = click.Path(path_type=Path)
SAMPLERS = ("tpe", "random")
PRUNERS = ("wilcoxon", "hyperband", "median", "none")
_NETWORKS = "tiny, small, medium, wide, torchvision:NAME, timm:NAME or a .safetensors file"

Decorator = Callable[..., Any]


def option(group: str, *names: str, **rest: Any) -> Decorator:
    """An option of ``group``."""
    return click.option(*names, cls=Option, group=group, **rest)


def _data_options(first: str) -> list[Decorator]:
    return [
        option(
            first,
            "--image-size",
            type=click.INT,
            help="Side in pixels to train at. [the images', at most 64]",
        ),
        option(
            first,
            "--validation",
            type=EXISTING,
            help="Labeled images from where the model will be used, to optimise for.",
        ),
        option(DATA, "--limit", type=click.INT, help="Use at most this many training images, stratified."),
        option(
            DATA,
            "--min-per-class",
            type=click.INT,
            help="Go on without classes that have fewer images to train on. [each must have enough]",
        ),
        option(
            DATA,
            "--rare-classes",
            type=click.Choice(["drop", "merge"]),
            help="Leave those out, or merge them into a class 'other'. [drop]",
        ),
        option(
            DATA,
            "--skip-bad-images/--no-skip-bad-images",
            default=None,
            help="Go on without unreadable images.",
        ),
    ]


def _search_options() -> list[Decorator]:
    return [
        option(FIRST, "--trials", type=click.INT, help="Candidates to try, the 6 baselines included. [18]"),
        option(
            FIRST,
            "--operations",
            help="To search over: randaugment, wide, colour, geometry or NAME,NAME,…  [randaugment]",
        ),
        option(SEARCH, "--folds", type=click.INT, help="Most folds a candidate is trained on. [6]"),
        option(
            SEARCH, "--metric", type=Registered(metrics), help="What to compare candidates by. [accuracy]"
        ),
        option(SEARCH, "--sampler", type=click.Choice(SAMPLERS), help="What proposes candidates. [tpe]"),
        option(SEARCH, "--pruner", type=click.Choice(PRUNERS), help="What stops losers early. [wilcoxon]"),
        option(SEARCH, "--seed", type=click.INT, help="Everything random follows from it. [0]"),
    ]


def _proxy_options() -> list[Decorator]:
    return [
        option(PROXY, "--proxy-model", help=f"Network of the search: {_NETWORKS}. [small]"),
        option(PROXY, "--epochs", type=click.INT, help="Epochs of a fold. [30, more for few images]"),
        option(
            PROXY,
            "--fold-size",
            type=click.INT,
            help="Training images of a fold. [4/5 of all, at most 1,000 or 20 a class]",
        ),
    ]


def _transfer_options(*modes: str) -> list[Decorator]:
    return [
        option(TRANSFER, "--weights", help="hub, none, or a .pth or .safetensors file. [none]"),
        option(
            TRANSFER,
            "--input-size",
            type=click.INT,
            help="Side to which they resize images. [that of their weights]",
        ),
        option(
            TRANSFER,
            "--transfer",
            type=click.Choice(modes),
            help="How weights are used: train a new last layer, or all layers. [full]",
        ),
        option(
            TRANSFER,
            "--backbone-lr-scale",
            type=float,
            help="Learning rate of the old layers beside the new. [0.1]",
        ),
        option(
            TRANSFER,
            "--layer-decay",
            type=float,
            help="How much slower each layer learns than the next. [1]",
        ),
    ]


def _teacher_options() -> list[Decorator]:
    return [
        option(
            TEACHER,
            "--teacher",
            help=f"To distil from: self (like the student), {_NETWORKS}, runs:/RUN/model, or none. [self]",
        ),
        option(
            TEACHER,
            "--teacher-weights",
            help="Of a teacher not built in: hub, none or a file; then trained. [hub]",
        ),
        option(
            TEACHER,
            "--teacher-view",
            type=click.Choice(["same", "clean"]),
            help="What it sees: the student's augmented images, or the originals, once. [same]",
        ),
    ]


def _confirmation_options() -> list[Decorator]:
    return [
        option(
            CONFIRMATION,
            "--confirm-folds",
            type=click.INT,
            help="Most fresh folds of the confirmation. [32]",
        ),
        option(
            CONFIRMATION,
            "--finalists",
            type=click.INT,
            help="Candidates to confirm beside the baselines. [2]",
        ),
        option(
            CONFIRMATION,
            "--margin",
            type=float,
            help="The least gain that matters. [0.01, or a fifth of what is still wrong; 0.02 of log-loss]",
        ),
    ]


def _unlabeled_options(first: str, *, searched: bool) -> list[Decorator]:
    default = "search if --unlabeled is given" if searched else "the policy file's"
    values = "searched" if searched else "the policy file's"
    more = ("none", "search") if searched else ("none",)
    return [
        option(first, "--unlabeled", type=EXISTING, help="Folder of images to learn from without labels."),
        option(
            UNLABELED,
            "--semi",
            type=Registered(techniques, *more),
            help=f"How to learn from those. [{default}]",
        ),
        option(
            UNLABELED,
            "--threshold",
            type=float,
            help=f"How sure a model must be of an image's label. [{values}]",
        ),
        option(
            UNLABELED, "--unlabeled-weight", type=float, help=f"Of their loss beside the labels'. [{values}]"
        ),
        option(UNLABELED, "--unlabeled-ratio", type=float, help=f"Of them to a labeled one. [{values}]"),
        option(
            UNLABELED,
            "--class-cap",
            type=float,
            help="Most pseudo-labels of a class, in times its share. [no limit]",
        ),
        option(
            UNLABELED, "--rounds", type=click.INT, help="Of labeling anew, or most students in a row. [3]"
        ),
        option(
            UNLABELED,
            "--first-teacher",
            help="Network of self-training's first teacher. [that of its students]",
        ),
    ]


def _recipe_options() -> list[Decorator]:
    return [
        option(
            FINAL, "--patience", type=click.INT, help="Stop after so many epochs without a better. [never]"
        ),
        option(FINAL, "--batch-size", type=click.INT, help="Images a step. [64]"),
        option(
            FINAL, "--accumulation", type=click.INT, help="Parts of a batch that go through one by one. [1]"
        ),
        option(FINAL, "--learning-rate", type=float, help="The highest. [0.02; 0.002 with weights]"),
        option(FINAL, "--label-smoothing", type=float, help="[0.1; 0 with a threshold]"),
        option(FINAL, "--warm-up", type=float, help="Share of the steps in which the rate rises. [0.25]"),
        option(FINAL, "--ema", type=float, help="Decay of a moving average of the weights. [none]"),
        option(
            FINAL,
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            help="Of products and convolutions. [half where the device is built for it]",
        ),
        option(
            FINAL,
            "--crop-scale",
            type=float,
            help="Smallest share of an image in a random crop, above 64 px. [0.35]",
        ),
        option(FINAL, "--processes", type=click.INT, help="That share the training, a GPU each (DDP). [1]"),
    ]


def engine_options() -> list[Decorator]:
    """Where trainings run."""
    return [
        option(FIRST, "--workers", type=click.INT, help="Folds at once. [one a core; on a GPU at most 4]"),
        option(ENGINE, "--engine", type=Registered(engines), help="What runs folds. [local]"),
        option(ENGINE, "--fold-timeout", type=float, help="Seconds that one fold may take. [3600]"),
        option(ENGINE, "--device", help="auto, cpu, cuda or cuda:NUMBER. [auto]"),
    ]


def _study_options() -> list[Decorator]:
    return [
        option(FIRST, "--study", help="Name of the study. [from data and settings]"),
        option(FIRST, "--config", type=EXISTING, help="TOML file with any of these settings."),
        option(
            TRACKING,
            "--storage",
            help="Database of the studies, an SQLAlchemy URL. [mlruns/studies.db]",
        ),
    ]


def _searching() -> list[Decorator]:
    return [*_search_options(), *training_options()]


def training_options() -> list[Decorator]:
    """On which images, how and where candidates are trained, and in which study that is kept."""
    return [
        *_study_options(),
        *engine_options(),
        *_data_options(FIRST),
        *_proxy_options(),
        *_transfer_options("none", "head", "full", "search"),
        *_teacher_options(),
        *_unlabeled_options(FIRST, searched=True),
    ]


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``run``: those of its search, its confirmation and its final training."""
    options = [
        option(
            FIRST,
            "--budget",
            help="Time for all of it, such as 90s, 4m or 1h30m, or none. [4m for the embedded images]",
        ),
        *_searching(),
        *_confirmation_options(),
        option(SEARCH, "--timeout", type=float, help="Seconds after which the search starts no more trials."),
        option(TRACKING, "--tracking-uri", help="Where MLflow logs to. [mlruns/mlflow.db]"),
        option(TRACKING, "--output", type=EXISTING, help="Folder of the results. [mlruns/STUDY]"),
        option(
            FIRST,
            "--final-model",
            help=f"Network of the final model: {_NETWORKS}. [medium, or the search's]",
        ),
        option(FINAL, "--final/--no-final", default=None, help="Train the final model at the end. [yes]"),
        option(
            FINAL,
            "--final-size",
            type=click.INT,
            help="Side in pixels of the final training. [the search's, or its own]",
        ),
        option(
            FINAL, "--final-epochs", type=click.INT, help="Epochs of the final training. [for 60,000 images]"
        ),
        option(
            FINAL,
            "--refine/--no-refine",
            default=None,
            help="Tune N and M around the winner on the final network first. [no]",
        ),
        *_recipe_options(),
        option(
            "Other options",
            "--show-config",
            is_flag=True,
            help="Print the resolved settings as TOML and stop.",
        ),
    ]
    return with_options(options, command)


def compare_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``compare``."""
    options = [
        option(
            FIRST,
            "--seeds",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Seeds to repeat it with.",
        ),
        *_searching(),
        option(
            CONFIRMATION,
            "--confirm-folds",
            type=click.INT,
            help="Fresh folds on which picks are compared. [16]",
        ),
        option(TRACKING, "--json", "json_file", type=EXISTING, help="Write every figure here too."),
    ]
    return with_options(options, command)


def train_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``train``."""
    options = [
        option(
            FIRST,
            "--policy",
            "policy_file",
            type=EXISTING,
            required=True,
            help="Policy file to train from.",
        ),
        option(FIRST, "--final-model", "--model", "final_model", help=f"Network: {_NETWORKS}. [medium]"),
        option(FIRST, "--output", type=EXISTING, help="Folder for the model. [beside the policy file]"),
        option(
            FIRST,
            "--final-epochs",
            "--epochs",
            "final_epochs",
            type=click.INT,
            help="Epochs. [for 60,000 images]",
        ),
        *_unlabeled_options(FIRST, searched=False),
        option(FIRST, "--seed", type=click.INT, help="Of the division into parts and of the training. [0]"),
        option(
            FINAL,
            "--metric",
            type=Registered(metrics),
            help="What the best epoch is chosen by. [that of the policy file's search]",
        ),
        *_data_options(DATA),
        *_transfer_options("none", "head", "full"),
        *_teacher_options(),
        option(TEACHER, "--temperature", type=float, help="Of distillation, instead of the policy file's."),
        option(TEACHER, "--alpha", type=float, help="The teacher's weight, instead of the policy file's."),
        option(
            FINAL,
            "--final-size",
            type=click.INT,
            help="To train at, if another. [that of the network's weights]",
        ),
        *_recipe_options(),
        option(
            FINAL,
            "--mixing",
            type=click.Choice(["none", "cutmix", "mixup"]),
            help="Instead of the policy's.",
        ),
        option(ENGINE, "--device", help="auto, cpu, cuda or cuda:NUMBER. [auto]"),
        option(TRACKING, "--tracking-uri", help="Where MLflow logs to. [mlruns/mlflow.db]"),
    ]
    return with_options(options, command)


def with_options(options: list[Decorator], command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with ``options``, in their order."""
    for decorate in reversed(options):
        command = decorate(command)
    return command
