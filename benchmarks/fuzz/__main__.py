"""Do readers of strangers' files hold? Damaged ones by the hundred thousand: a result, or one clear line.

Each reader is given valid files in which bytes were changed, cut out, doubled or put in from elsewhere. It
may read them, or refuse them in one line; any other exception, a second line, or more than twenty seconds for
one file is a fault, and the file that shows it is kept.

    make fuzz                                            an hour
    make fuzz FUZZ_ARGS="--minutes 1 --only images"      a look

File number n of a reader and seed is always the same.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

import click

from benchmarks import environment
from benchmarks.fuzz.damage import damaged
from benchmarks.fuzz.readers import REFUSED, Reader, readers
from benchmarks.progress import progress_on_stderr
from benchmarks.tables import Table

PACKAGES = ("augsearch", "numpy", "opencv-python-headless", "pillow", "pydantic", "torch")
AT_ONCE = 2000
"""Files of a reader before the next one has its turn; then the time is looked at."""
HUNG = 20
"""Seconds that no file takes."""


class FaultError(Exception):
    """A reader did something else than to read or to refuse in one line."""


class HungError(BaseException):
    """A file takes too long. No reader may catch it, as it may what is wrong with a file."""


@dataclass
class Count:
    """What became of the files that a reader was given."""

    read: int = 0
    refused: int = 0
    seconds: float = 0.0
    fault: str | None = None
    """What went wrong, where that was; then the reader is not asked again."""

    @property
    def files(self) -> int:
        """All of them."""
        return self.read + self.refused


@click.command()
@click.option("--minutes", type=click.FloatRange(0), default=60, show_default=True, help="How long in all.")
@click.option("--inputs", type=click.IntRange(1), help="Files a reader at most.  [default: as time allows]")
@click.option("--only", help="Readers whose names have this in them.")
@click.option(
    "--seed", "drawing", type=click.IntRange(0), default=0, show_default=True, help="Of the drawing."
)
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the page here too.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/fuzz"),
    show_default=True,
    help="Folder for files that show a fault.",
)
def main(
    minutes: float, inputs: int | None, only: str | None, drawing: int, markdown: Path | None, keep: Path
) -> None:
    """Give every reader damaged files; the exit status is 1 where one does not hold."""
    warnings.simplefilter("ignore")  # Pillow's of broken files
    with tempfile.TemporaryDirectory() as folder, progress_on_stderr() as progress:
        chosen = [one for one in readers(Path(folder)) if only is None or only.lower() in one.name.lower()]
        if not chosen:
            raise click.ClickException(f"no reader has {only!r} in its name")
        counts = {one.name: Count() for one in chosen}
        ends = time.monotonic() + 60 * minutes
        while True:
            going = [one for one in chosen if _goes_on(counts[one.name], inputs)]
            begun = all(count.files for count in counts.values())
            if not going or (begun and time.monotonic() > ends):
                break
            for reader in going:
                left = AT_ONCE if inputs is None else min(AT_ONCE, inputs - counts[reader.name].files)
                _give(reader, counts[reader.name], left, drawing, keep)
                progress(f"{reader.name}: {counts[reader.name].files:,} files")
    facts = environment.facts(sys.argv[1:], None, "benchmarks.fuzz", PACKAGES) | {"images": "made files"}
    text = "\n\n".join((environment.markdown(facts), _table(counts).markdown())) + "\n"
    click.echo(text)
    if markdown:
        markdown.write_text(text, encoding="utf-8")
    if any(count.fault for count in counts.values()):
        raise SystemExit(1)


def _goes_on(count: Count, inputs: int | None) -> bool:
    return count.fault is None and (inputs is None or count.files < inputs)


def _give(reader: Reader, count: Count, many: int, drawing: int, keep: Path) -> None:
    """Have ``reader`` read the next ``many`` damaged files."""
    began, first = time.monotonic(), count.files
    for number in range(first, first + many):
        content = damaged(reader.whole, Random(f"{drawing} {reader.name} {number}"))
        try:
            _read(reader, content, count)
        except FaultError as fault:
            keep.mkdir(parents=True, exist_ok=True)
            file = keep / f"{reader.name.split()[0]}-{drawing}-{number}"
            file.write_bytes(content)
            count.fault = f"{fault} ({file})"
            break
    count.seconds += time.monotonic() - began


def _read(reader: Reader, content: bytes, count: Count) -> None:
    try:
        with _not_for_long():
            reader.read(content)
    except HungError as hung:
        raise FaultError(str(hung)) from hung
    except REFUSED as refused:
        if len(str(refused).splitlines()) != 1:
            raise FaultError(
                f"refused in {len(str(refused).splitlines())} lines: {str(refused)!r}"
            ) from refused
        count.refused += 1
    except Exception as error:
        raise FaultError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
    else:
        count.read += 1


@contextmanager
def _not_for_long() -> Iterator[None]:
    before: Callable[[int, FrameType | None], object] | int | None = signal.signal(signal.SIGALRM, _hung)
    signal.alarm(HUNG)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _hung(_: int, __: FrameType | None) -> None:
    raise HungError(f"took more than {HUNG} s")


def _table(counts: dict[str, Count]) -> Table:
    rows = [
        (
            name,
            f"{one.files:,}",
            f"{one.read:,}",
            f"{one.refused:,}",
            f"{one.seconds:,.0f}",
            one.fault or "none",
        )
        for name, one in counts.items()
    ]
    total = sum(one.files for one in counts.values())
    return Table(
        f"{total:,} damaged files",
        ("reader", "files", "read", "refused in one line", "seconds", "fault"),
        rows,
        notes="Every file is a valid one in which one to eight places were changed, cut, doubled or put in "
        f"from another. A fault is another exception, a second line, or more than {HUNG} s.",
    )


if __name__ == "__main__":
    main()
