"""One driver a study, in whichever folder or on whichever machine; a database that was away for a moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from augsearch.policies import UserError
from augsearch.search.studies.lock import only_driver
from augsearch.search.studies.study import open_storage
from benchmarks.servers import DatabaseServer

HOLD = """
import sys
from augsearch.search.studies.lock import only_driver
with only_driver(sys.argv[1], sys.argv[2]):
    print("here", flush=True)
    sys.stdin.readline()
"""


def held_elsewhere(study: str, storage: str, folder: Path) -> subprocess.Popen[str]:
    """A driver in another folder."""
    folder.mkdir(exist_ok=True)
    driver = subprocess.Popen(
        [sys.executable, "-c", HOLD, study, storage],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "here\n"
    return driver


def refuses_a_second(storage: str, folder: Path) -> None:
    driver = held_elsewhere("s", storage, folder)
    with (
        pytest.raises(UserError, match="study 's' is being run by another process"),
        only_driver("s", storage),
    ):
        pass
    with only_driver("another", storage):
        pass
    driver.kill()
    driver.communicate()
    for _ in range(600):  # until the server has seen that its connection is gone
        try:
            with only_driver("s", storage):
                return
        except UserError:
            continue
    pytest.fail("the lock of a dead driver stays")


def test_a_second_driver_in_another_folder_is_refused_while_the_first_lives(workplace: Path) -> None:
    refuses_a_second(f"sqlite:///{workplace}/shared.db", workplace / "elsewhere")


def test_studies_of_one_name_in_different_files_are_different(workplace: Path) -> None:
    with only_driver("s", "sqlite:///a.db"), only_driver("s", "sqlite:///b.db"), only_driver("s"):
        pass


def test_a_second_driver_on_a_server_is_refused_while_the_first_lives(
    server: DatabaseServer, workplace: Path
) -> None:
    refuses_a_second(server.address, workplace / "elsewhere")


def test_a_server_that_was_restarted_is_connected_to_again(server: DatabaseServer) -> None:
    storage = open_storage(server.address)
    study = optuna.create_study(storage=storage, study_name="s")
    server.stop()
    server.start()
    study.set_user_attr("key", 1)
    study.tell(study.ask(), 1.0)
    assert study.user_attrs == {"key": 1}
    assert [trial.value for trial in study.trials] == [1.0]
    storage.scoped_session.remove()
    storage.engine.dispose()
