"""What options take that is found in registries, which are imported when a command uses or explains them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from augsearch.search.options.command import Option, Registered


def engines() -> list[str]:
    """Where folds can run."""
    from augsearch.search.engines.registry import engine_names

    return engine_names()


def metrics() -> list[str]:
    """What candidates can be compared by."""
    from augsearch.trainers.evaluation.metrics import METRICS

    return list(METRICS)


def model_formats() -> list[str]:
    """The formats in which a model is written."""
    from augsearch.trainers.models.export.base import formats

    return list(formats())


class ModelFormat(Option):
    """The option that chooses a format, whose help says which there are."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """What any option has, after a look at what is registered."""
        from augsearch.trainers.models.export.base import formats_in_words

        self.help = f"Of the file, by default by its suffix. {formats_in_words()}."
        return super().get_help_record(ctx)


def model_format_option() -> Callable[..., Any]:
    """``--format``, one of those in which a model is written."""
    return click.option(
        "--format",
        "kind",
        cls=ModelFormat,
        type=Registered(model_formats),
        help="Of the file, by default by its suffix.",
    )


def techniques() -> list[str]:
    """Ways to learn from images without labels."""
    from augsearch.search.space.space import TECHNIQUES

    return list(TECHNIQUES)


def policy_forms() -> list[str]:
    """The forms of other libraries in which a policy is written."""
    from augsearch.policies.exchange.form import forms

    return list(forms())


class PolicyForm(Option):
    """The option that chooses a form, whose help says which there are."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """What any option has, after a look at what is registered."""
        from augsearch.policies.exchange.form import forms

        words = "; ".join(f"{one.name}: {one.content}" for one in forms().values())
        self.help = f"json: the policy file; {words}."
        return super().get_help_record(ctx)


def policy_form_option() -> Callable[..., Any]:
    """``--format``, one of those in which a policy is written."""
    return click.option(
        "--format",
        "kind",
        cls=PolicyForm,
        type=Registered(policy_forms, "json"),
        default="json",
        show_default=True,
        help="What to write.",
    )
