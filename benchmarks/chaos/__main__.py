"""Is nothing lost, and nothing different, whatever dies? A search under which everything is killed.

First a search that nothing disturbs, then the same one, by the same command, with real trainings, a real
PostgreSQL and a real MLflow server, in rounds by turns with ``--engine local`` and on a Ray cluster of two
nodes, while one thing after another happens to it by chance: the driver, a worker, a process of Ray's, a Ray
node, PostgreSQL and MLflow are killed; workers are stopped for a while; teachers' files are removed. In the
second half of the rounds there are two studies in one folder. At the end every fold of every trial must be
there once, in the study and in MLflow, and scores and verdict must be those of the search that nothing
disturbed.

Last, a round for each engine with ``--fold-timeout`` and ``--memory-limit``, in which an operation crashes
the interpreter, hangs, or takes all memory, once each, and workers hang for good: candidates that take more
than they may lose and say so, and all else is as undisturbed.

    make chaos                           fifty kills
    make chaos CHAOS_ARGS="--short"      a handful with each engine

Needs root, Debian's ``postgresql``, and Ray (``pip install 'augsearch[ray]'``).
"""

from __future__ import annotations

import importlib.util
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import click

from benchmarks.chaos import house
from benchmarks.chaos.disturbances import WITH_LOCAL, WITH_RAY, Disturbance, Surroundings, stop_for_good
from benchmarks.chaos.nodes import RayNodes
from benchmarks.chaos.results import check_limited, check_logged_once, check_same, results
from benchmarks.chaos.search import LONG, SHORT, Search
from benchmarks.servers import MlflowServer, Postgres, postgres_programs

KINDS = {"local": WITH_LOCAL, "ray": WITH_RAY}
ENGINES = tuple(KINDS)
IN_A_ROUND = 10
"""Kills; then the search comes to its end."""
HANDFUL = {"local": 4, "ray": 6}
"""Kills of the short form: of each kind there is one."""
LIMITS = ("--fold-timeout", "60", "--memory-limit", "2")
STUMBLING = ("--operations", "rotate,stumble", "--trials", "12", "--teacher", "none")


class Chaos:
    """All rounds of one run, on one PostgreSQL, one MLflow server and one Ray cluster."""

    def __init__(self, folder: Path, options: Sequence[str], seed: int, until: ExitStack) -> None:
        """``until``: what ends all that is started."""
        programs = postgres_programs()
        if programs is None:
            raise click.ClickException("needs root and PostgreSQL: apt-get install postgresql")
        self._folder, self._options, self._until = folder, tuple(options), until
        self._chance = random.Random(seed)
        self._calm: dict[tuple[str, ...], dict[str, Any]] = {}
        self._nodes: RayNodes | None = None
        self._decks: dict[str, list[Disturbance]] = {engine: [] for engine in ENGINES}
        self.happened: Counter[str] = Counter()
        self.kills = self.rounds = 0
        self._postgres, self._mlflow = Postgres(programs), MlflowServer(folder)
        until.callback(self._postgres.remove)
        until.callback(self._mlflow.kill)
        self._mlflow.start()

    def undisturbed(self, options: tuple[str, ...], environment: Mapping[str, str] | None = None) -> Any:
        """What a search with these options comes to, in SQLite and on this machine alone."""
        if options not in self._calm:
            place = self._folder / f"calm {len(self._calm) + 1}"
            search = Search(place, "calm", (*options, "--engine", "local", "--workers", "2"), environment)
            with closing(search):
                search.start()
                search.finish()
            self._calm[options] = results(f"sqlite:///{place}/mlruns/studies.db", "calm")
            click.echo(f"undisturbed: {self._calm[options]['verdict']}", err=True)
        return self._calm[options]

    def round(self, engine: str, kills: int, studies: int = 1) -> None:
        """Some kills, and what else happens, under one study or some; then they are compared."""
        wanted = [(*self._options, *_UNLIKE[number]) for number in range(studies)]
        expected = [self.undisturbed(options) for options in wanted]
        if engine == "ray" and self._nodes is None:
            self._nodes = self._until.enter_context(closing(RayNodes(self._folder / "far")))
        with self._searches(wanted, self._nodes if engine == "ray" else None) as around:
            self._disturb(around, kills, engine)
            self._finish(around)
            self._compare(around, expected)
            self._told(engine, around, "the same as undisturbed")

    def _compare(self, around: Surroundings, expected: Sequence[dict[str, Any]]) -> None:
        for search, came_to in zip(around.searches, expected, strict=True):
            found = results(self._postgres.address, search.study)
            check_same(found, came_to)
            check_logged_once(self._mlflow.uri, search.study, found)

    def limited_round(self, engine: str) -> None:
        """An operation crashes, hangs and takes all memory; and a worker hangs for good."""
        place = self._folder / "house"
        home = place if place.exists() else house.build(place)
        markers = self._folder / f"markers {engine}"
        environment = {"PYTHONPATH": str(home), house.MARKERS: str(markers)}
        options = (*self._options, *STUMBLING)
        calm = self.undisturbed(options, environment)
        markers.mkdir()
        for what in house.STUMBLES:
            (markers / what).touch()
        with ExitStack() as until:
            nodes = until.enter_context(closing(RayNodes(None, environment))) if engine == "ray" else None
            around = until.enter_context(self._searches([(*options, *LIMITS)], nodes, environment))
            while (worker := around.some_worker()) is None and around.searches[0].ended is None:
                time.sleep(0.1)
            if stop_for_good(around, worker):
                self.happened["a worker that hangs for good"] += 1
            self._finish(around)
            study = around.searches[0].study
            found = results(self._postgres.address, study)
            lost = check_limited(found, calm)
            check_logged_once(self._mlflow.uri, study, found)
            met = [what for what in house.STUMBLES if not (markers / what).exists()]
            self.happened.update(f"an operation's {what}" for what in met)
            self._told(engine, around, f"as undisturbed but for {'; '.join(lost) or 'nothing'}")

    @contextmanager
    def _searches(
        self,
        wanted: Sequence[tuple[str, ...]],
        nodes: RayNodes | None,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Surroundings]:
        self.rounds += 1
        place = self._folder / f"round {self.rounds}"
        engine = ("--engine", "local") if nodes is None else ("--engine", "ray", "--address", nodes.address)
        engine = (*engine, "--workers", str(2 // len(wanted)))
        where = ("--storage", self._postgres.address, "--tracking-uri", self._mlflow.uri)
        searches = [
            Search(place, f"round-{self.rounds}-{letter}", (*options, *engine, *where), environment)
            for letter, options in zip("st", wanted, strict=False)
        ]
        around = Surroundings(searches, self._postgres, self._mlflow, nodes, self._chance)
        with ExitStack() as until:
            until.callback(around.clear)
            for search in searches:
                search.start()
                until.callback(search.close)
            yield around

    def _disturb(self, around: Surroundings, kills: int, engine: str) -> None:
        """One thing after another, until there were ``kills`` or the searches are at their end.

        Each kind comes as often as the others: what finds nothing to happen to comes again later.
        """
        until, in_vain = self.kills + kills, 0
        while self.kills < until:
            around.wait_for_folds()
            for search in around.searches:
                if search.ended not in (None, 0):
                    search.start()
            if all(search.ended == 0 for search in around.searches):
                return
            deck = self._decks[engine]
            if in_vain >= len(deck):
                deck += self._chance.sample(KINDS[engine], len(KINDS[engine]))
            kind = deck.pop()
            if kind.happen(around):
                in_vain = 0
                self.happened[kind.name] += 1
                self.kills += kind.is_kill
                click.echo(f"{self.kills}: {kind.name}", err=True)
            else:
                in_vain += 1
                deck.insert(0, kind)

    @staticmethod
    def _finish(around: Surroundings) -> None:
        for search in around.searches:
            search.finish()

    def _told(self, engine: str, around: Surroundings, outcome: str) -> None:
        started = " and ".join(str(search.started) for search in around.searches)
        many = "two studies" if len(around.searches) > 1 else "one study"
        click.echo(f"round {self.rounds}, {engine}, {many}: {outcome}; started {started} times")


_UNLIKE = ((), ("--finalists", "2"))
"""How two studies of one folder differ: they share the folds of the search, and their teachers."""


@click.command()
@click.option("--kills", default=50, show_default=True, help="How many at least.")
@click.option("--seed", default=0, show_default=True, help="What is killed when follows from it.")
@click.option("--short", is_flag=True, help="A handful with each engine, under as small a search as can be.")
@click.option("--engine", type=click.Choice(ENGINES), help="This one alone.")
def main(kills: int, seed: int, short: bool, engine: str | None) -> None:
    """Kill whatever a search needs, and see that it comes to the same."""
    engines = ENGINES if engine is None else (engine,)
    if "ray" in engines and importlib.util.find_spec("ray") is None:
        raise click.ClickException("needs Ray: pip install 'augsearch[ray]', or --engine local")
    folder = Path(tempfile.mkdtemp(prefix="augsearch-chaos-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started ends with it
    click.echo(f"in {folder}", err=True)
    with ExitStack() as until:
        chaos = Chaos(folder, SHORT if short else LONG, seed, until)
        if short:
            for one in engines:
                chaos.round(one, HANDFUL[one])
        else:
            while chaos.kills < kills:
                number = chaos.rounds
                most = min(IN_A_ROUND, kills - chaos.kills)
                chaos.round(engines[number % len(engines)], most, 1 + number // len(engines) % 2)
            for one in engines:
                chaos.limited_round(one)
        click.echo(", ".join(f"{count} × {what}" for what, count in chaos.happened.most_common()))
        click.echo(f"{chaos.kills} kills in {chaos.rounds} rounds")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
