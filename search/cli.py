"""``augsearch``: every file of ``search/commands`` is a command."""

from __future__ import annotations

import re
import sys
from importlib import import_module

import click

from augsearch.search.options.command import INTERRUPTED
from augsearch.trainers.system.registry import modules_of

_ROOM = "augsearch.search.commands"


class Commands(click.Group):
    """The commands of the room, in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """By the place that each gives itself."""
        found = [import_module(f"{_ROOM}.{name}") for name in modules_of(_ROOM)]
        placed = sorted((module.PLACE, module.command.name) for module in found)
        return [name for _, name in placed]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of the file of that name."""
        name = cmd_name.replace("-", "_")
        if name not in modules_of(_ROOM) or "_" in cmd_name:
            return None
        command: click.Command = import_module(f"{_ROOM}.{name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; Ctrl-C while it is still being loaded is told as later."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nStopped.", err=True)
            sys.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each with what its help says first, as far as it says one thing; click would cut it off."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, _first_words(command.help or "")) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _first_words(text: str) -> str:
    found = re.match(r".+?(\?|(?=[.:;,](\s|$)))", " ".join(text.split()))
    return found[0] if found else text


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"augsearch {version('augsearch')}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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


if __name__ == "__main__":
    main()
