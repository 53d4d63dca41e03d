"""The options of each command, from the groups that several have."""

from __future__ import annotations

from collections.abc import Callable

import click

from augsearch.search.options.command import (
    CONFIRMATION,
    DATA,
    ENGINE,
    FINAL,
    FIRST,
    OTHER,
    SEARCH,
    TEACHER,
    TRACKING,
    Registered,
)
from augsearch.search.options.completion import networks, policies
from augsearch.search.options.groups import (
    EXISTING,
    NETWORKS,
    Decorator,
    balance_options,
    confirmation_options,
    data_options,
    engine_options,
    option,
    recipe_options,
    search_options,
    study_options,
    unlabeled_options,
)
from augsearch.search.options.json_output import json_option
from augsearch.search.options.networks import proxy_options, teacher_options, transfer_options
from augsearch.search.options.registered import engines, metrics
from augsearch.search.settings.addresses import TRACKING_VARIABLE


def _searching() -> list[Decorator]:
    return [*search_options(), *training_options()]


def training_options() -> list[Decorator]:
    """On which images, how and where candidates are trained, and in which study that is kept."""
    return [
        *study_options(),
        *engine_options(),
        *data_options(FIRST),
        *proxy_options(),
        *balance_options("search"),
        *transfer_options("none", "head", "full", "search"),
        *teacher_options(),
        *unlabeled_options(FIRST, searched=True),
    ]


def _tracking_uri() -> Decorator:
    return option(
        TRACKING,
        "--tracking-uri",
        envvar=TRACKING_VARIABLE,
        help="Where MLflow logs to. [$MLFLOW_TRACKING_URI, or mlruns/mlflow.db]",
    )


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``run``: those of its search, its confirmation and its final training."""
    options = [
        option(
            FIRST,
            "--budget",
            help="Time for all of it, such as 90s, 4m or 1h30m, or none. [4m for the embedded images]",
        ),
        *_searching(),
        *confirmation_options(),
        option(SEARCH, "--timeout", type=float, help="Seconds after which the search starts no more trials."),
        _tracking_uri(),
        option(TRACKING, "--output", type=EXISTING, help="Folder of the results. [mlruns/STUDY]"),
        option(
            TRACKING,
            "--register",
            help="NAME[@ALIAS] of the final model in MLflow's registry. [not there; the alias is augsearch]",
        ),
        option(
            FIRST,
            "--final-model",
            shell_complete=networks,
            help=f"Network of the final model: {NETWORKS}. [by the images and the device, or the search's]",
        ),
        option(FINAL, "--final/--no-final", default=None, help="Train the final model at the end. [yes]"),
        option(
            FINAL,
            "--final-size",
            type=click.INT,
            help="Side in pixels of the final training. [the search's; its own; what the budget allows]",
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
        option(
            FINAL,
            "--final-seeds",
            type=click.INT,
            help="With how many the final network compares the best policies; 0: it doesn't. "
            "[photos: 3, or what the budget allows]",
        ),
        *recipe_options(),
        *_instead_of_running(),
        option(
            OTHER,
            "--open",
            "opens",
            is_flag=True,
            help="Show the report in a browser, alive while it runs, on this machine alone.",
        ),
        json_option,
    ]
    return with_options(options, command)


def _instead_of_running() -> list[Decorator]:
    return [
        option(
            OTHER,
            "--show-config",
            is_flag=True,
            help="Print the resolved settings as TOML and stop.",
        ),
        option(
            FIRST,
            "--dry-run",
            is_flag=True,
            help="Say what would be trained, how long it takes and in how much memory, and stop.",
        ),
    ]


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
        option(
            OTHER,
            "--json",
            "json_file",
            type=EXISTING,
            is_flag=False,
            flag_value="-",
            metavar="[FILE.json]",
            help="Print JSON instead, or write it to the file too: every figure.",
        ),
    ]
    return with_options(options, command)


def train_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``train``."""
    options = [
        option(
            FIRST,
            "--policy",
            "policy_file",
            shell_complete=policies,
            type=EXISTING,
            required=True,
            help="Policy file to train from, or a ready policy: flip-crop+trivialaugment.",
        ),
        option(
            FIRST,
            "--final-model",
            "--model",
            "final_model",
            shell_complete=networks,
            help=f"Network: {NETWORKS}. [by the images, the device]",
        ),
        option(FIRST, "--output", type=EXISTING, help="Folder for the model. [beside the policy file]"),
        option(
            FIRST,
            "--final-epochs",
            "--epochs",
            "final_epochs",
            type=click.INT,
            help="Epochs. [for 60,000 images]",
        ),
        *unlabeled_options(FIRST, searched=False),
        option(FIRST, "--seed", type=click.INT, help="Of the division into parts and of the training. [0]"),
        option(
            FINAL,
            "--metric",
            type=Registered(metrics),
            help="What the best epoch is chosen by. [that of the policy file's search]",
        ),
        *data_options(DATA),
        *transfer_options("none", "head", "full"),
        *teacher_options(),
        option(TEACHER, "--temperature", type=float, help="Of distillation, instead of the policy file's."),
        option(TEACHER, "--alpha", type=float, help="The teacher's weight, instead of the policy file's."),
        option(
            FINAL,
            "--final-size",
            type=click.INT,
            help="To train at, if another. [that of the network's weights]",
        ),
        *recipe_options(),
        *balance_options(),
        option(
            FINAL, "--mixing", type=click.Choice(["none", "cutmix", "mixup"]), help="Instead of the policy's."
        ),
        option(ENGINE, "--device", help="auto, cpu, cuda, cuda:NUMBER or mps. [auto]"),
        option(ENGINE, "--engine", type=Registered(engines), help="ray trains on a cluster. [here]"),
        option(ENGINE, "--address", help="Of a Ray cluster."),
        _tracking_uri(),
        json_option,
    ]
    return with_options(options, command)


def with_options(options: list[Decorator], command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with ``options``, in their order."""
    for decorate in reversed(options):
        command = decorate(command)
    return command
