"""The options that say which networks a search trains, and what those start from."""

from __future__ import annotations

import click

from augsearch.search.options.command import PROXY, TEACHER, TRANSFER
from augsearch.search.options.completion import networks
from augsearch.search.options.groups import NETWORKS, Decorator, option

PROXIES = ("auto", "scratch", "finetune")


def proxy_options() -> list[Decorator]:
    """The short trainings that score candidates."""
    return [
        option(
            PROXY,
            "--proxy",
            type=click.Choice(PROXIES),
            help="What the search trains: a small network from scratch, or the final network, fine-tuned on "
            "smaller images. [auto]",
        ),
        option(
            PROXY,
            "--proxy-model",
            shell_complete=networks,
            help=f"Network of the search: {NETWORKS}. [small, or by --proxy]",
        ),
        option(
            PROXY,
            "--proxy-size",
            type=click.INT,
            help="Side in pixels at which weights are fine-tuned. [their own; 64 with --proxy finetune]",
        ),
        option(
            PROXY,
            "--epochs",
            type=click.INT,
            help="Epochs of a fold. [30, more for few images; 6 or a tenth to fine-tune]",
        ),
        option(
            PROXY,
            "--fold-size",
            type=click.INT,
            help="Training images of a fold. [4/5 of all, at most 1,000 or 20 a class]",
        ),
    ]


def transfer_options(*modes: str) -> list[Decorator]:
    """What networks that are not built in start from; ``modes``: what --transfer takes."""
    return [
        option(
            TRANSFER,
            "--weights",
            help="auto (from a cache or the hub), none (from scratch), a .pth or .safetensors file. [auto]",
        ),
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
            help="How weights are used: train a new last layer, or all layers; none: not at all. [full]",
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
            help="How much slower each layer learns than the next. [1; transformers 0.75, ConvNeXts 0.8]",
        ),
    ]


def teacher_options() -> list[Decorator]:
    """Whom candidates distil from."""
    return [
        option(
            TEACHER,
            "--teacher",
            shell_complete=networks,
            help=f"To distil from: self (like the student), {NETWORKS}, runs:/RUN/model, or none. [self]",
        ),
        option(
            TEACHER,
            "--teacher-weights",
            help="Of a teacher not built in: auto, none or a file; then trained. [auto]",
        ),
        option(
            TEACHER,
            "--teacher-view",
            type=click.Choice(["same", "clean"]),
            help="What it sees: the student's augmented images, or the originals, once. [same]",
        ),
    ]
