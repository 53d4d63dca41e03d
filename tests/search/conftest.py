"""A small real data set, and a working directory of its own for every test."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.engine import Engine

from augsearch.policies import Policy
from augsearch.search.race.confirm import Confirmation, Rules, choose_finalists
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import BASELINE_POLICIES
from augsearch.search.studies.study import keep_confirmation, open_storage
from augsearch.trainers.evaluation.metrics import METRICS
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage
from benchmarks.servers import DatabaseServer, MariaDb, Postgres, mariadb_program, postgres_programs


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own, so ``mlruns/`` is its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True, scope="session")
def no_power_cuts() -> Iterator[None]:
    """Databases that don't wait for the disk: a test's hundreds of writes cost more than its trainings."""

    def hurry(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hurry)
    yield
    event.remove(Engine, "connect", hurry)


@pytest.fixture(scope="session")
def stripes_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of 120 grey 16-px images of three classes that can be learned: stripes of three directions."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    patterns = np.stack([np.sin(x), np.sin(y), np.sin((x + y) / 1.5)])
    labels = np.repeat(np.arange(3), 40)
    images = 128 + 60 * patterns[labels] + rng.normal(0, 40, (120, 16, 16))
    path = tmp_path_factory.mktemp("stripes") / "stripes.npz"
    np.savez(path, images=np.clip(images, 0, 255).astype(np.uint8), labels=labels)
    return path


@pytest.fixture
def stripes(stripes_made: Path, tmp_path: Path) -> str:
    """The stripes, in the test's own folder."""
    return str(shutil.copyfile(stripes_made, tmp_path / "stripes.npz"))


Server = TypeVar("Server", Postgres, MariaDb)


def running(server: Server) -> Iterator[Server]:
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server."""
    pytest.importorskip("psycopg", reason="needs psycopg: uv pip install 'psycopg[binary]'")
    programs = postgres_programs()
    if programs is None:
        pytest.skip("needs root and PostgreSQL: apt-get install postgresql")
    yield from running(Postgres(programs))


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A real MariaDB server, which speaks as MySQL does."""
    pytest.importorskip("pymysql", reason="needs pymysql: uv pip install pymysql")
    program = mariadb_program()
    if program is None:
        pytest.skip("needs root and MariaDB: apt-get install mariadb-server")
    yield from running(MariaDb(program))


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    """Each of the real database servers."""
    found: DatabaseServer = request.getfixturevalue(request.param)
    return found


MakeStudy = Callable[..., optuna.Study]


@pytest.fixture
def make_study() -> MakeStudy:
    """Makes studies as a run would leave them, at any stage and of any size, without trainings."""
    return _make_study


def _make_study(
    stage: Literal["searching", "searched", "confirmed"] = "confirmed",
    *,
    trials: int = 16,
    folds: int = 4,
    lead: float = 0.0,
    metric: str = "accuracy",
    name: str = "demo",
) -> optuna.Study:
    """``lead``: of trial 5 over the best baseline; every third candidate stopped early."""
    settings = Settings.of(study=name, trials=trials, folds=folds, confirm_folds=16, metric=metric)
    storage = open_storage(settings.tracking.storage)
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    study.set_user_attr("identity", {"data": "photos 0123456789ab", "folds": folds, "metric": metric})
    study.set_user_attr("settings", settings.flat())
    truths = {number: 0.80 - 0.01 * (number % 5) for number in range(trials)}
    truths[5] = 0.80 + lead
    rng = np.random.default_rng(0)
    for number in range(trials // 2 if stage == "searching" else trials):
        baseline = list(BASELINE_POLICIES)[number] if number < 4 else None  # as in the first edition
        policy = (
            BASELINE_POLICIES[baseline] if baseline else Policy(num_ops=number % 4, magnitude=number % 30)
        )
        stopped = baseline is None and number % 3 == 0
        run = 1 + number % (folds - 1) if stopped else folds
        results = [_made_result(truths[number], metric, rng) for _ in range(run)]
        attributes: dict[str, Any] = {f"fold {fold}": result.to_json() for fold, result in enumerate(results)}
        attributes["candidate"] = Candidate(policy=policy).model_dump(mode="json")
        if baseline:
            attributes["baseline"] = baseline
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED if stopped else TrialState.COMPLETE,
                value=sum(result.score for result in results) / run,
                params={"num_ops": policy.num_ops},
                distributions={"num_ops": IntDistribution(0, 4)},
                user_attrs=attributes,
            )
        )
    if stage == "confirmed":
        finalists = choose_finalists(study, settings.confirmation.finalists)
        while missing := (
            confirmation := Confirmation(
                study, finalists, Rules(settings.confirmation.folds, 0.01, METRICS[metric])
            )
        ).missing():
            for entry, fold in missing:
                result = _made_result(truths[entry.number], metric, rng)
                keep_confirmation(study, entry.number, Fold(Stage.CONFIRMATION, fold), result)
        verdict = confirmation.verdict()
        study.set_user_attr("verdict", verdict.to_json() | {"recommended": verdict.recommended})
    return study


def _made_result(truth: float, metric: str, rng: np.random.Generator) -> FoldResult:
    correct = rng.random(400) < truth + rng.normal(0, 0.005)
    log_loss, ece = 1.2 - truth + rng.normal(0, 0.02), abs(rng.normal(0.05, 0.01))
    values = np.full(400, -log_loss, np.float16) if metric == "log-loss" else None
    accuracy = float(correct.mean())
    return FoldResult(accuracy, log_loss, ece, 2.0, 30_000, correct, accuracy, accuracy, metric, values)
