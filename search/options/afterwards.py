"""The options of commands that find out more of a study or its stand-in; quick to import."""

from __future__ import annotations

from collections.abc import Callable

import click

from augsearch.search.options.command import FINAL, FIRST, SEARCH, TRACKING, Registered
from augsearch.search.options.completion import networks, operations
from augsearch.search.options.groups import engine_options, option
from augsearch.search.options.json_output import json_option
from augsearch.search.options.lists import training_options, with_options
from augsearch.search.options.registered import metrics
from augsearch.search.options.storage import STORAGE


def ablate_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``ablate``."""
    return with_options(
        [
            option(
                FIRST,
                "--folds",
                type=click.IntRange(2, 1000),
                default=8,
                show_default=True,
                help="Fresh folds for each part; more go on from fewer.",
            ),
            option(FIRST, "--trial", type=click.INT, help="A trial's number. [what the verdict recommends]"),
            *engine_options(),
            option(TRACKING, "--storage", **STORAGE),
            json_option,
        ],
        command,
    )


def check_proxy_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``check-proxy``."""
    return with_options(
        [
            option(
                FIRST,
                "--candidates",
                type=click.IntRange(4, 100),
                default=12,
                show_default=True,
                help="How many to train both ways, spread over the space.",
            ),
            option(
                FIRST,
                "--seeds",
                type=click.IntRange(1, 100),
                default=2,
                show_default=True,
                help="Final trainings of each.",
            ),
            option(
                FIRST,
                "--final-model",
                shell_complete=networks,
                help="Network of the final model. [run's: by the images and the device]",
            ),
            *training_options(),
            option(
                FIRST,
                "--operations",
                shell_complete=operations,
                help="That candidates may use, as for run. [randaugment]",
            ),
            option(SEARCH, "--folds", type=click.INT, help="Short trainings of each. [6]"),
            option(SEARCH, "--metric", type=Registered(metrics), help="What ranks them. [accuracy]"),
            option(SEARCH, "--seed", type=click.INT, help="Everything random follows from it. [0]"),
            option(
                FINAL, "--final-size", type=click.INT, help="Side in pixels of the final training. [run's]"
            ),
            option(FINAL, "--final-epochs", type=click.INT, help="Epochs of the final training. [run's]"),
            json_option,
        ],
        command,
    )
