"""A search that is run by the command, which is started again whenever it ends early."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

LONG = (
    *("--trials", "8", "--folds", "2", "--epochs", "1", "--fold-size", "100", "--proxy-model", "tiny"),
    *("--confirm-folds", "6", "--finalists", "1", "--teacher", "self", "--seed", "3"),
)
"""A search of a minute or two."""
SHORT = (
    *("--trials", "8", "--folds", "1", "--epochs", "1", "--fold-size", "40", "--proxy-model", "tiny"),
    *("--confirm-folds", "2", "--finalists", "1", "--teacher", "self", "--seed", "3"),
)
"""With this seed both its candidates distil, so one that does is confirmed."""
COMMON = ("--no-final", "--budget", "none", "--sampler", "random", "--pruner", "none")
"""It proposes the same whatever ends first, and stops nobody."""
AGAIN = 1800
"""Seconds after which a search that tells nothing new is looked upon as hung."""
STARTS = 10
"""How often it is started again, at its end, before what ends it is looked upon as its own fault."""


class Search:
    """One study, and the process that is at work on it."""

    def __init__(
        self,
        folder: Path,
        study: str,
        options: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.study = folder, study
        self._options, self._environment = (*COMMON, *options), environment or {}
        self.log = folder / f"{study}.log"
        self.started = 0
        self.losses = 0
        """How many of its driver's workers were killed since that began."""
        self._said_before = 0
        """Bytes of its log from before it was started last."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run the command from where it is."""
        command = [sys.executable, "-m", "augsearch.search.cli", "run", "--study", self.study]
        with self.log.open("ab") as log:
            self._said_before = log.tell()
            self._process = subprocess.Popen(
                [*command, *self._options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self._environment},
            )
        self.started += 1
        self.losses = 0

    @property
    def driver(self) -> int:
        """The number of its process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill the driver, if it runs; its workers end with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    close = kill

    @property
    def ended(self) -> int | None:
        """How it ended; None: it runs."""
        assert self._process is not None
        return self._process.poll()

    def finish(self) -> None:
        """Wait until it has come to its verdict, started again where something that is back now ended it.

        Raises:
            ClickException: it hangs, ends early each time, or printed a traceback: a person is told one line.
        """
        size, until, started = -1, 0.0, self.started
        while (code := self.ended) != 0 or self.tracebacks() or self._log_is_behind():
            if self.tracebacks():
                raise click.ClickException(f"a traceback; see {self.log}")
            if code is not None and self.started - started == STARTS:
                raise click.ClickException(f"it ends early each time; see {self.log}")
            if code is not None:
                self.start()
            if (now := self.log.stat().st_size) != size:
                size, until = now, time.monotonic() + AGAIN
            if time.monotonic() > until:
                raise click.ClickException(f"nothing new in {AGAIN} s; see {self.log}")
            time.sleep(0.5)

    def _log_is_behind(self) -> bool:
        """Whether it ended while MLflow was away, and said that it logs the rest when it is run again."""
        said = self.log.read_bytes()[self._said_before :]
        return b"the same command logs it again" in said

    def tracebacks(self) -> int:
        """How many it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace").count("Traceback (most recent call")
