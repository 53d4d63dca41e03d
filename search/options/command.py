"""How commands look and behave in a terminal: help in groups, and errors in one line."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from augsearch.search.console import Display

_FAILED, _USER_ERROR, INTERRUPTED = 1, 2, 130

FIRST = "Most used"
DATA = "Data"
SEARCH = "Search"
PROXY = "Short trainings"
CONFIRMATION = "Confirmation"
FINAL = "Final training"
UNLABELED = "Images without labels"
TEACHER = "Teacher"
TRANSFER = "Weights of networks that are not built in"
ENGINE = "Where it runs"
TRACKING = "Where it is kept"
OTHER = "Other options"
GROUPS = (
    *(FIRST, DATA, SEARCH, PROXY, CONFIRMATION, FINAL, UNLABELED, TEACHER, TRANSFER, ENGINE, TRACKING),
    OTHER,
)
"""The groups of options, as the help lists them; after what is most used, the sections of the settings."""


class Option(click.Option):
    """An option that stands in a group of the help."""

    def __init__(self, *names: Any, group: str = OTHER, **rest: Any) -> None:
        super().__init__(*names, **rest)
        self.group = group


class Command(click.Command):
    """A command whose help lists options in groups, and whose errors are one line."""

    def __init__(self, *arguments: Any, resumes: bool = False, **rest: Any) -> None:
        """``resumes``: whether the same command goes on where one before it was stopped."""
        super().__init__(*arguments, **rest)
        self.params += [_amount_option("quiet", "Show results alone."), _amount_option("verbose", _VERBOSE)]
        if self.callback is not None:
            self.callback = friendly(self.callback, resumes=resumes)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups[getattr(parameter, "group", OTHER)].append(record)
        shown = {name: records for name, records in groups.items() if records}
        for name, records in shown.items():
            with formatter.section("Options" if len(shown) == 1 else name):
                formatter.write_dl(records)


_VERBOSE = "Show every step, and where an error came from."


def _amount_option(name: str, words: str) -> Option:
    return Option(
        [f"-{name[0]}", f"--{name}"], is_flag=True, expose_value=False, callback=_keep_amount, help=words
    )


def _keep_amount(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Have ``display`` know how much is to be said."""
    if not wanted:
        return
    if context.meta.setdefault(_AMOUNT, option.name) != option.name:
        raise click.UsageError("--quiet and --verbose say the opposite; leave one out", context)


_AMOUNT = "augsearch amount"
"""What a command's context knows that under."""


def amount() -> Any:
    """How much the command at work is to say: ``quiet``, ``usual`` or ``verbose``."""
    context = click.get_current_context(silent=True)
    return "usual" if context is None else context.meta.get(_AMOUNT, "usual")


def display(*, as_json: bool = False) -> Display:
    """What the command at work prints on, as ``--quiet`` and ``--verbose`` want it.

    ``as_json``: results are JSON on stdout, and stderr has all else.
    """
    from rich.console import Console

    from augsearch.search.console import Display

    console = Console(highlight=False, stderr=as_json)
    return Display(console, amount(), results=not as_json)


def confirmed(question: str) -> bool:
    """Whether a person says yes; asked on stderr, as stdout may be a program's.

    Raises:
        UserError: there is nobody to ask.
    """
    from augsearch.policies import UserError

    try:
        return click.confirm(question, err=True)
    except click.Abort:
        raise UserError("nothing is done, as there is nobody to ask; --yes does it without asking") from None


class Registered(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """One of the names that a registry knows; it is asked when it matters, as importing it takes time."""

    name = "name"

    def __init__(self, names: Callable[[], Sequence[str]], *more: str) -> None:
        """``more``: names beside those of the registry."""
        self._names, self._more = names, more

    @property
    def choices(self) -> list[str]:
        """All names."""
        return [*self._more, *self._names()]

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """``[tpe|gp|…]``, as a choice shows itself."""
        return f"[{'|'.join(self.choices)}]"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so."""
        return [CompletionItem(name) for name in self.choices if name.startswith(incomplete)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """``value``, if it is one of the names."""
        return click.Choice(self.choices).convert(value, param, ctx)


def friendly(command: Callable[..., None], *, resumes: bool = False) -> Callable[..., None]:
    """Bad input ends a command with one line and status 2; Ctrl-C and SIGTERM with a word on how to go on.

    ``resumes``: whether the same command goes on.
    """
    stopped = "Stopped."
    if resumes:
        stopped = "Stopped; nothing is lost. The same command goes on where it stopped."

    @functools.wraps(command)
    def guarded(**options: Any) -> None:
        try:
            with _ended_like_ctrl_c():
                _in_one_line(command, options)
        except KeyboardInterrupt:
            click.echo(f"\n{stopped}", err=True)
            sys.exit(INTERRUPTED)

    return guarded


def _in_one_line(command: Callable[..., None], options: dict[str, Any]) -> None:
    """Run ``command``; what a person can mend is told in one line."""
    from augsearch.policies import UserError  # takes a while, in which somebody may press Ctrl-C

    _never_fail_to_print()
    try:
        command(**options)
    except UserError as error:
        _say_where(error)
        click.echo(f"Error: {error}", err=True)
        sys.exit(_USER_ERROR)
    except BrokenPipeError:  # the reader has had enough, as `| head` has: click ends in silence
        raise
    except Exception as error:
        from augsearch.policies.errors import lacks_right
        from augsearch.search.options.faults import in_one_line

        said = in_one_line(error)
        if said is None:  # a mistake of ours: whoever mends it needs all of it
            raise
        _say_where(error)
        click.echo(f"Error: {said}", err=True)
        sys.exit(_USER_ERROR if lacks_right(error) else _FAILED)


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM is a KeyboardInterrupt, but not any more for whoever called the command in a program."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _say_where(error: Exception) -> None:
    """With ``--verbose``, where in the program an error came from."""
    if amount() == "verbose":
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)


def _never_fail_to_print() -> None:
    """Have what a terminal or a log can't show be written by its number: printing must never lose work."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
