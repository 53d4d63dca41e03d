"""The options that several commands have, in groups; each sets the setting of the same flat name."""

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
    SEARCH,
    TRACKING,
    UNLABELED,
    Option,
    Registered,
)
from augsearch.search.options.completion import networks, operations, policies, studies
from augsearch.search.options.registered import engines, metrics, techniques
from augsearch.search.settings.addresses import STORAGE_VARIABLE

EXISTING = click.Path(path_type=Path)
SAMPLERS = ("tpe", "random")
SPACES = ("randaugment", "per-operation")
PRUNERS = ("wilcoxon", "hyperband", "median", "none")
CLASS_BALANCES = ("loss", "sampling", "logit-adjustment")
NETWORKS = "tiny, small, medium, wide, lite0, torchvision:NAME, timm:NAME or a .safetensors file"

Decorator = Callable[..., Any]


def option(group: str, *names: str, **rest: Any) -> Decorator:
    """An option of ``group``."""
    return click.option(*names, cls=Option, group=group, **rest)


def data_options(first: str) -> list[Decorator]:
    """Which images, and how they are divided."""
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
        *form_options(),
    ]


def form_options() -> list[Decorator]:
    """In which form images are given: what folders and columns mean, and how pixels are read."""
    return [
        option(
            DATA,
            "--classes",
            type=click.Choice(["top", "leaf"]),
            help="Which folders are classes: the first, or those that images lie in. [top]",
        ),
        option(
            DATA,
            "--fit",
            type=click.Choice(["crop", "pad", "squash"]),
            help="How an image becomes square: only its centre is used, or all of it. [crop]",
        ),
        option(
            DATA,
            "--background",
            help="Behind transparent pixels, and for no data: white, black, #RRGGBB. [white]",
        ),
        option(
            DATA,
            "--value-range",
            help="LOW,HIGH: black and white in 16-bit or float pixels; LOW,HIGH;… for each band; or band: "
            "each band's own. [the images']",
        ),
        option(DATA, "--bands", help="Of satellite and other images: all, or as in 4,3,2. [all but of RGBA]"),
        option(DATA, "--root", type=EXISTING, help="Folder that a table's paths begin at. [the table's]"),
        option(DATA, "--image-column", help="Of a table: names the files. [found]"),
        option(DATA, "--label-column", help="Has the labels; one-hot ones as NAME,NAME,… [found]"),
        option(DATA, "--split-column", help="Says train, validation or test. [found]"),
        option(DATA, "--group-column", help="Of a table: images of one group stay in one part. [none]"),
        option(
            DATA,
            "--weight-column",
            help="Of a table: how much an image counts in the loss; scores count all alike. [none]",
        ),
        option(
            DATA,
            "--group-by",
            help=r"Finds the group in a path, as '(\w+)_\d+\.jpg' does; or copies, near-duplicates. [none]",
        ),
        option(DATA, "--max-pixels", type=click.INT, help="Most pixels that an image may have. [89478485]"),
    ]


def search_options() -> list[Decorator]:
    """How the search goes about it."""
    return [
        option(
            FIRST,
            "--trials",
            type=click.INT,
            help="Policies to try, baselines included. [18, 6 of them baselines; of photos 20 and 8, or in "
            "run the 8 alone]",
        ),
        option(
            FIRST,
            "--operations",
            shell_complete=operations,
            help="To search over: randaugment, wide, colour, geometry or NAME,NAME,…  [randaugment]",
        ),
        option(
            SEARCH,
            "--space",
            type=click.Choice(SPACES),
            help="What is searched of the operations: one magnitude, or a weight and a range each. "
            "[randaugment]",
        ),
        option(
            SEARCH,
            "--baseline",
            shell_complete=policies,
            type=EXISTING,
            multiple=True,
            callback=lambda context, parameter, files: files or None,
            help="A policy file to measure against too; repeatable.",
        ),
        option(SEARCH, "--folds", type=click.INT, help="Most folds a candidate is trained on. [6]"),
        option(
            SEARCH, "--metric", type=Registered(metrics), help="What to compare candidates by. [accuracy]"
        ),
        option(SEARCH, "--sampler", type=click.Choice(SAMPLERS), help="What proposes candidates. [tpe]"),
        option(SEARCH, "--pruner", type=click.Choice(PRUNERS), help="What stops losers early. [wilcoxon]"),
        option(SEARCH, "--seed", type=click.INT, help="Everything random follows from it. [0]"),
    ]


def balance_options(*more: str) -> list[Decorator]:
    """What is done for rare classes; ``more``: what --class-balance takes beside the ways there are."""
    default = "none" if "search" in more else "the policy file's"
    return [
        option(
            SEARCH if "search" in more else FINAL,
            "--class-balance",
            type=click.Choice(["none", *CLASS_BALANCES, *more]),
            help="For rare classes: weigh them in the loss, draw them as often, or adjust logits. "
            f"[{default}]",
        )
    ]


def confirmation_options() -> list[Decorator]:
    """How sure a verdict must be."""
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


def unlabeled_options(first: str, *, searched: bool) -> list[Decorator]:
    """Images without labels, and how to learn from them."""
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
            shell_complete=networks,
            help="Network of self-training's first teacher. [that of its students]",
        ),
    ]


def recipe_options() -> list[Decorator]:
    """How the final model is trained."""
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
            "--clip",
            type=float,
            help="Largest norm of a step's gradients. [with weights 1 for transformers and ConvNeXts]",
        ),
        option(
            FINAL,
            "--average-flips/--no-average-flips",
            default=None,
            help="Test the model, and have it predict, on images and their mirror images.",
        ),
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
            help="Smallest share in resized crops of photos above 64 px. [as the policy says]",
        ),
        option(FINAL, "--processes", type=click.INT, help="That share the training, a GPU each (DDP). [1]"),
    ]


def engine_options() -> list[Decorator]:
    """Where trainings run."""
    return [
        option(ENGINE, "--workers", type=click.INT, help="Folds at once. [one a core, or at most 4 a GPU]"),
        option(ENGINE, "--engine", type=Registered(engines), help="What runs folds. [local]"),
        option(ENGINE, "--address", help="Of a Ray cluster. [Ray on this machine]"),
        option(ENGINE, "--fold-timeout", type=float, help="Seconds that one fold may take. [3600]"),
        option(ENGINE, "--memory-limit", type=float, help="GiB that one fold may take. [no limit]"),
        option(
            ENGINE, "--device", help="auto (all GPUs, else the CPU), cpu, cuda, cuda:NUMBER or mps. [auto]"
        ),
        option(ENGINE, "--workers-per-device", type=click.INT, help="Folds at once on each GPU. [at most 4]"),
    ]


def study_options() -> list[Decorator]:
    """Where results are kept, and under which name."""
    return [
        option(FIRST, "--study", shell_complete=studies, help="Name of the study. [from data and settings]"),
        option(FIRST, "--config", type=EXISTING, help="TOML file with any of these settings."),
        option(
            TRACKING,
            "--storage",
            envvar=STORAGE_VARIABLE,
            help="Database of the studies, an SQLAlchemy URL. [$AUGSEARCH_STORAGE, or mlruns/studies.db]",
        ),
    ]
