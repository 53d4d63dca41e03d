"""What the driver remembers is what the database has, in few statements, whatever happens to either."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import event

from augsearch.policies import UserError
from augsearch.search.settings.settings import Settings
from augsearch.search.space.suggest import suggest
from augsearch.search.studies import driver_storage as module
from augsearch.search.studies import retries, samplers
from augsearch.search.studies.driver_storage import DriverStorage, driver_storage, together
from augsearch.search.studies.lock import only_driver
from augsearch.search.studies.samplers import seed_sampler
from augsearch.search.studies.study import open_storage, open_study, take_up
from benchmarks.servers import DatabaseServer

SQLITE = "sqlite:///studies.db"
SPACE = Settings.of().space
TIMES = ("_datetime_start", "datetime_complete")
_opened: list[RDBStorage] = []


@pytest.fixture(autouse=True)
def none_stays_connected() -> Iterator[None]:
    yield
    while _opened:
        storage = _opened.pop()
        storage.scoped_session.remove()
        storage.engine.dispose()


def opened(address: str) -> RDBStorage:
    _opened.append(open_storage(address, pre_ping=False))
    return _opened[-1]


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def address(request: pytest.FixtureRequest) -> str:
    return SQLITE if request.param == "sqlite" else str(request.getfixturevalue(request.param).address)


def driven(address: str, name: str, renew: Callable[[], None] | None = None) -> optuna.Study:
    """The study as a driver opens it, with its baselines waiting."""
    storage = driver_storage(opened(address), name, renew)
    assert isinstance(storage, DriverStorage)
    return open_study(storage, name, {"data": 1}, SPACE)


def one_trial(study: optuna.Study, seed: int) -> None:
    """What a race does with one candidate of two folds."""
    with together(study):
        seed_sampler(study, "tpe", seed, startup=3)
        trial = study.ask()
        trial.set_user_attr("candidate", suggest(trial, SPACE).model_dump(mode="json"))
    for fold in range(2):
        with together(study):
            trial.set_user_attr(f"fold {fold}", {"accuracy": 0.5, "correct": "AAAA"})
            trial.report(0.5 + seed / 100, fold)
            if fold == 1:
                study.tell(trial, 0.5 + seed / 100)


def known(study: optuna.Study) -> list[dict[str, Any]]:
    """All of its trials; folds in words, because nan is not nan, parameters in their order, and no times."""
    return [
        {key: value for key, value in vars(trial).items() if key not in ("_trial_id", *TIMES)}
        | {"intermediate_values": str(trial.intermediate_values), "_params": list(trial.params.items())}
        for trial in study.get_trials()
    ]


def in_database(address: str, name: str) -> optuna.Study:
    return optuna.load_study(storage=opened(address), study_name=name)


@contextmanager
def statements(study: optuna.Study) -> Iterator[list[str]]:
    engine, seen = study._storage._remote.engine, list[str]()  # type: ignore[attr-defined]

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def same_in_both(study: optuna.Study, address: str) -> None:
    kept = in_database(address, study.study_name)
    assert known(kept) == known(study)
    for there, here in zip(kept.trials, study.trials, strict=True):
        for time in TIMES:
            one, other = vars(there)[time], vars(here)[time]
            assert one == other or abs(one - other) <= timedelta(seconds=1)  # MySQL rounds to seconds
    assert kept.user_attrs == study.user_attrs


def test_optuna_reads_what_the_driver_remembers_and_it_goes_on(address: str) -> None:
    study = driven(address, "same")
    for seed in range(8):  # six baselines, then what the sampler proposes
        one_trial(study, seed)
    study.set_user_attr("verdict", {"mean": 1.5, "names": ["a", "b"]})
    study.set_user_attr("verdict", None)
    with together(study):
        trial = study.ask()
        trial.set_user_attr("odd", "é\u2028'\"")
        trial.report(float("nan"), 0)
        trial.report(float("inf"), 1)
        study.tell(trial, state=TrialState.FAIL)
    same_in_both(study, address)
    again = driven(address, "same")
    assert known(again) == known(study)
    one_trial(again, 9)
    same_in_both(again, address)


def test_of_a_long_study_tpe_looks_at_the_latest_trials_and_the_best_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = driven(SQLITE, "long")
    for seed in [9, *range(24)]:
        one_trial(study, seed)
    ended = study.get_trials(states=(TrialState.COMPLETE,))
    assert samplers.looked_at(study.trials) == ended
    monkeypatch.setattr(samplers, "LATEST", 12)
    monkeypatch.setattr(samplers, "BEST", 3)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.ask()
    seen = samplers.looked_at(study.trials)
    assert [trial.number for trial in seen] == [0, 11, 12, *range(13, 25), 26]
    few = optuna.create_study(direction="maximize")
    few.add_trials(seen)
    proposed = []
    for one in (study, few):
        seed_sampler(one, "tpe", 1, startup=3)
        trial = one.ask()
        suggest(trial, SPACE)
        proposed.append(trial.params)
    assert proposed[0] == proposed[1]
    assert len(study.trials) == 28


def test_a_trial_takes_few_statements(address: str) -> None:
    study = driven(address, "few")
    one_trial(study, 0)
    for seed in range(1, 7):
        with statements(study) as seen:
            one_trial(study, seed)
        # Itself, its parameters, its attributes and the sampler's; each fold and its report; state and value.
        assert len(seen) <= 10, seen


def test_a_trial_that_is_not_whole_is_not_there(address: str) -> None:
    study = driven(address, "whole")
    before = known(in_database(address, "whole"))
    with suppress(KeyboardInterrupt), together(study):
        trial = study.ask()
        suggest(trial, SPACE)
        raise KeyboardInterrupt
    assert known(in_database(address, "whole")) == before
    # What an error ends was found out before it.
    with suppress(UserError), together(study):
        study.set_user_attr("found", 1)
        raise UserError
    assert in_database(address, "whole").user_attrs["found"] == 1


def test_scores_of_very_many_images_are_kept(address: str) -> None:
    study = driven(address, "large")
    scores = "A" * 300_000
    study.set_user_attr("scores", scores)
    trial = study.ask()
    trial.set_user_attr("fold 0", {"values": scores})
    study.tell(trial, 0.5)
    same_in_both(study, address)


def test_what_was_left_running_is_taken_up(address: str) -> None:
    study = driven(address, "left")
    with together(study):
        params = suggest(study.ask(), SPACE)
    again = driven(address, "left")
    (running,) = again.get_trials(states=(TrialState.RUNNING,))
    with together(again):
        assert suggest(take_up(again, running), SPACE) == params
    same_in_both(again, address)


def test_what_is_written_again_is_there_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a commit may be lost with the connection: nobody knows then whether it was made."""

    def twice(work: Callable[[int], Any]) -> Any:
        work(0)
        return work(1)

    study = driven(address, "once")
    monkeypatch.setattr(module, "persistently", twice)
    for seed in range(8):
        one_trial(study, seed)
    study.set_user_attr("key", 1)
    same_in_both(study, address)


def test_a_server_that_is_away_is_waited_for(server: DatabaseServer) -> None:
    study = driven(server.address, "away")
    one_trial(study, 0)
    server.stop()
    started = threading.Timer(1, server.start)
    started.start()
    for seed in range(1, 8):
        one_trial(study, seed)
    started.join()
    same_in_both(study, server.address)


def test_a_server_that_stays_away_ends_the_command_in_one_line(
    server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from augsearch.search.options.faults import in_one_line

    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.1))
    study = driven(server.address, "gone")
    one_trial(study, 0)
    server.stop()
    try:
        with pytest.raises(Exception, match=r"connection failed|Can't connect") as ended:
            one_trial(study, 1)
    finally:
        server.start()
    said = in_one_line(ended.value)
    assert said is not None
    assert said.startswith("the database failed (")
    assert said.endswith("nothing is lost: the same command goes on")
    again = driven(server.address, "gone")
    for seed in range(1, 4):
        one_trial(again, seed)
    assert sum(trial.state is TrialState.COMPLETE for trial in again.trials) == 4


def test_a_lock_that_was_lost_is_taken_again_unless_another_driver_has_it(server: DatabaseServer) -> None:
    with only_driver("lease", server.address) as renew:
        study = driven(server.address, "lease", renew)
        server.disconnect()
        study.set_user_attr("key", 1)  # it has the lock again
        with pytest.raises(UserError, match="is being run by another process"):
            only_driver("lease", server.address).__enter__()
        server.disconnect()
        with only_driver("lease", server.address):
            with pytest.raises(UserError, match="is being run by another process"):
                study.set_user_attr("key", 2)
            other = driven(server.address, "lease")
            other.set_user_attr("key", 3)
        with pytest.raises(UserError, match="was taken up by another process meanwhile"):
            study.set_user_attr("key", 4)
    assert in_database(server.address, "lease").user_attrs["key"] == 3


@pytest.mark.parametrize(
    ("said", "passes"),
    [("database is locked", True), ("database or disk is full", False), ("no such table: trials", False)],
)
def test_a_file_is_waited_for_only_while_it_is_locked(said: str, passes: bool) -> None:
    import sqlite3

    from sqlalchemy.exc import OperationalError

    error = OperationalError("INSERT", {}, sqlite3.OperationalError(said))
    assert retries.may_pass(error) is passes
