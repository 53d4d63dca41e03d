"""Is nothing lost, and nothing different, whatever dies? A search under which everything is killed.

First a search that nothing disturbs, then the same one, by the same command, with real trainings in
processes, a real PostgreSQL and a real MLflow server, while one after another is killed with SIGKILL, by
chance: the driver, a worker, PostgreSQL (stopped as by a crash, started again), MLflow. At the end every
fold of every trial must be there once, in the study and in MLflow, and scores and verdict must be those of
the search that nothing disturbed.

    make chaos                           fifty kills
    make chaos CHAOS_ARGS="--kills 5"    a few

Needs root and Debian's ``postgresql``.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import optuna
from mlflow import MlflowClient

from augsearch.search.studies.study import open_storage
from augsearch.search.tracking.names import TRIAL_TAG
from benchmarks.servers import MlflowServer, Postgres, postgres_programs

COMMAND = (
    *("run", "--study", "s", "--engine", "local", "--workers", "2", "--trials", "9", "--folds", "2"),
    *("--epochs", "1", "--fold-size", "100", "--proxy-model", "tiny", "--confirm-folds", "6"),
    *("--finalists", "1", "--teacher", "none", "--no-final", "--budget", "none", "--sampler", "random"),
)
"""A search of a minute or two. It proposes the same whatever ends first, and stops nobody."""
PRUNER = ("--pruner", "none")
BETWEEN = (0.5, 8.0)
"""Seconds between two kills."""
AGAIN = 600
"""Seconds after which a search that does not end is looked upon as hung."""


class Search:
    """The command, started again whenever it ends early."""

    def __init__(self, folder: Path, storage: str, tracking: str) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._addresses = ("--storage", storage, "--tracking-uri", tracking)
        self._log = folder / "log.txt"
        self.started = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run the command from where it is."""
        command = [sys.executable, "-m", "augsearch.search.cli", *COMMAND, *PRUNER, *self._addresses]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self.started += 1

    def kill(self) -> None:
        """Kill the driver; its workers end with it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def kill_worker(self, chance: random.Random) -> bool:
        """Kill one of its workers, idle or not; returns whether there was one."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task")
        found = [
            int(child)
            for task in children.glob("*/children")
            for child in task.read_text(encoding="ascii").split()
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text(encoding="utf-8", errors="replace")
        ]
        if not found:
            return False
        with suppress(ProcessLookupError):
            os.kill(chance.choice(found), signal.SIGKILL)
        return True

    @property
    def ended(self) -> int | None:
        """How it ended; None: it runs."""
        assert self._process is not None
        return self._process.poll()

    def finish(self) -> None:
        """Wait until it has come to its verdict, started again where something that is back now ended it."""
        until = time.monotonic() + AGAIN
        while (code := self.ended) != 0:
            if code is not None:
                self.start()
            if time.monotonic() > until:
                raise click.ClickException(f"no verdict after {AGAIN} s; see {self._log}")
            time.sleep(0.5)


def disturb(
    search: Search, postgres: Postgres, mlflow: MlflowServer, kills: int, chance: random.Random
) -> Counter[str]:
    """Kill one thing after another until there were ``kills`` or the search is at its end."""
    done: Counter[str] = Counter()
    while done.total() < kills:
        time.sleep(chance.uniform(*BETWEEN))
        if search.ended == 0:
            break
        if search.ended is not None:
            search.start()
            continue
        what = chance.choice(("driver", "worker", "worker", "postgresql", "mlflow"))
        if what == "driver":
            search.kill()
            search.start()
        elif what == "worker" and not search.kill_worker(chance):
            continue
        elif what == "postgresql":
            postgres.stop()
            time.sleep(chance.uniform(0, 3))
            postgres.start()
        elif what == "mlflow":
            mlflow.kill()
            time.sleep(chance.uniform(0, 3))
            mlflow.start()
        done[what] += 1
        click.echo(f"{done.total()}: {what}", err=True)
    return done


def results(storage: str) -> dict[str, Any]:
    """What the study came to: every fold's score, by trial, the confirmation's and the verdict."""
    opened = open_storage(storage)
    study = optuna.load_study(storage=opened, study_name="s")
    trials = [
        {
            "params": trial.params,
            "state": trial.state.name,
            "value": trial.value,
            "folds": {key: _score(value) for key, value in trial.user_attrs.items() if key[:5] == "fold "},
        }
        for trial in study.trials
    ]
    confirmed = {
        key: _score(value) for key, value in study.user_attrs.items() if key.startswith("confirmation ")
    }
    verdict = study.user_attrs["verdict"]["verdict"]
    opened.scoped_session.remove()
    opened.engine.dispose()
    return {"trials": trials, "confirmed": confirmed, "verdict": verdict}


def _score(document: dict[str, Any]) -> dict[str, Any]:
    """A fold's result without what it took."""
    return {key: value for key, value in document.items() if key != "seconds"}


def logged_once(uri: str, trials: int) -> None:
    """Check that MLflow has every trial once, and whole.

    Raises:
        ClickException: it has not.
    """
    client = MlflowClient(uri)
    found = [
        (int(run.data.tags[TRIAL_TAG]), run.info.status)
        for experiment in client.search_experiments()
        for run in client.search_runs([experiment.experiment_id])
        if TRIAL_TAG in run.data.tags
    ]
    if sorted(found) != [(number, "FINISHED") for number in range(trials)]:
        raise click.ClickException(f"MLflow has {sorted(found)}")


@click.command()
@click.option("--kills", default=50, show_default=True, help="How many at most; a search may end before.")
@click.option("--seed", default=0, show_default=True, help="What is killed when follows from it.")
def main(kills: int, seed: int) -> None:
    """Kill whatever a search needs, and see that it comes to the same."""
    programs = postgres_programs()
    if programs is None:
        raise click.ClickException("needs root and PostgreSQL: apt-get install postgresql")
    folder, chance = Path(tempfile.mkdtemp(prefix="augsearch-chaos-")), random.Random(seed)
    calm = Search(folder / "calm", "sqlite:///studies.db", "sqlite:///mlflow.db")
    calm.start()
    calm.finish()
    expected = results(f"sqlite:///{calm.folder}/studies.db")
    killed: Counter[str] = Counter()
    rounds = 0
    while killed.total() < kills:
        rounds += 1
        place = folder / f"round {rounds}"
        postgres, mlflow = Postgres(programs), MlflowServer(folder)
        try:
            mlflow.start()
            search = Search(place, postgres.address, mlflow.uri)
            search.start()
            killed += disturb(search, postgres, mlflow, kills - killed.total(), chance)
            search.finish()
            if results(postgres.address) != expected:
                raise click.ClickException(f"another result than undisturbed; see {place}")
            logged_once(mlflow.uri, len(expected["trials"]))
        finally:
            mlflow.kill()
            postgres.remove()
        (folder / "s.db").unlink(missing_ok=True)
        click.echo(f"search {rounds}: the same result, started {search.started} times")
    click.echo(", ".join(f"{count} × {what}" for what, count in killed.items()))
    click.echo(f"{killed.total()} kills in {rounds} searches: {expected['verdict']}")


if __name__ == "__main__":
    main()
