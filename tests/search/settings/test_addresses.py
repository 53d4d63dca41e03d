"""Nobody is told a password: not the terminal, nor the study, the report, MLflow or a settings file."""

from __future__ import annotations

import tomllib

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from augsearch.policies import UserError
from augsearch.search import command_lines
from augsearch.search.cli import main
from augsearch.search.report.facts import changed_settings
from augsearch.search.settings.addresses import is_redacted, redacted
from augsearch.search.settings.files import load_settings, show_settings
from augsearch.search.settings.settings import DEFAULTS, Settings
from augsearch.search.studies.study import open_storage

SECRET = "s3cret"
STORAGE = f"postgresql+psycopg://me:{SECRET}@db.example.org/studies?sslpassword={SECRET}&sslmode=require"
TRACKING = f"https://{SECRET}@mlflow.example.org"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (STORAGE, "postgresql+psycopg://me:***@db.example.org/studies?sslpassword=***&sslmode=require"),
        (TRACKING, "https://***@mlflow.example.org"),
        (f"mysql://me:{SECRET}@{SECRET}@host/db", "mysql://me:***@host/db"),
        (f"said 'postgresql://me:{SECRET}@host/db' twice", "said 'postgresql://me:***@host/db' twice"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:///mlruns/a@b:c.db", "sqlite:///mlruns/a@b:c.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_what_is_told_of_an_address(address: str, told: str) -> None:
    assert redacted(address) == told
    assert is_redacted(told) == (SECRET in address)


words = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/'\"#?"), min_size=4)


@given(words)
def test_no_password_is_told(password: str) -> None:
    secret = f"<{password}>"
    assert secret not in redacted(f"mysql://me:{secret}@host:3306/db")
    assert redacted(redacted(f"mysql://me:{secret}@host/db")) == redacted(f"mysql://me:{secret}@host/db")


def test_settings_are_told_without_passwords_wherever_they_go(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.of(storage=STORAGE, tracking_uri=TRACKING)
    told = [settings.flat(), show_settings(settings), changed_settings(settings)]
    told += [command_lines.run_command(settings), command_lines.ui_command(settings)]
    told += [command_lines.export_command(settings, "s")]
    recorded = Settings.recorded(settings.flat())
    told += [changed_settings(recorded)]
    assert SECRET not in str(told)
    # What can't be used again is not written as if it could.
    tomllib.loads(show_settings(settings))
    assert recorded.tracking.storage == DEFAULTS["storage"]
    with pytest.raises(UserError, match=r"storage nosuch://me:\*\*\*@host"):
        open_storage(f"nosuch://me:{SECRET}@host/db")
    # Who has it in the environment needs no flag for the next command.
    monkeypatch.setenv("AUGSEARCH_STORAGE", STORAGE)
    assert "--storage" not in command_lines.export_command(settings, "s")


def test_settings_files_may_name_them_and_flags_come_first() -> None:
    assert load_settings(None, {"storage": STORAGE}).tracking.storage == STORAGE


@pytest.mark.parametrize(
    ("variable", "address", "command"),
    [
        ("AUGSEARCH_STORAGE", f"nosuch://me:{SECRET}@host/db", ["export", "s"]),
        ("AUGSEARCH_STORAGE", f"nosuch://me:{SECRET}@host/db", ["report", "s"]),
        ("AUGSEARCH_STORAGE", f"nosuch://me:{SECRET}@host/db", ["ablate", "s"]),
        ("MLFLOW_TRACKING_URI", f"sqlite:///gone.db?password={SECRET}", ["ui"]),
    ],
)
def test_the_environment_is_heeded_and_told_without_its_password(
    variable: str, address: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert redacted(address) in done.stderr
    assert SECRET not in done.output + done.stderr
    # What is given with the command comes first.
    flag = "--storage" if variable == "AUGSEARCH_STORAGE" else "--tracking-uri"
    said = CliRunner().invoke(main, [*command, flag, "sqlite:///other.db"]).stderr
    assert "other.db" in said or "no study 's'" in said
