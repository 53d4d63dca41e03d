"""Real servers for tests and benchmarks: PostgreSQL, MariaDB, MLflow, and a network that is far away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy

WAIT = 600
"""Seconds in which a server must have started, however busy the machine is."""


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_programs() -> Path | None:
    """Where PostgreSQL's programs are; None: they can't be run, as they are not there or we are not root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found and os.geteuid() == 0 else None


class Postgres:
    """A PostgreSQL server of its own, run by a user who is not root, as it wants."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="augsearch-pg-"))
        shutil.chown(self._folder, "postgres")
        self.port = free_port()
        self._run("initdb", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def address(self) -> str:
        """Of its database."""
        return self.address_at(self.port)

    @staticmethod
    def address_at(port: int) -> str:
        """The address of such a database behind another port, a proxy's say."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        subprocess.run(
            ["runuser", "-u", "postgres", "--", *command], check=True, cwd="/", stdout=subprocess.DEVNULL
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        how = f"-p {self.port} -k {self._folder} -c fsync=off -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "-w", "-t", str(WAIT), "-l", str(self._folder / "log"), "-o", how, "start")

    def stop(self) -> None:
        """Stop it in the midst of whatever it does, as a crash would."""
        self._run("pg_ctl", "-w", "-t", str(WAIT), "-m", "immediate", "stop")

    def remove(self) -> None:
        """Stop it and remove its files."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it is stopped
            self.stop()
        shutil.rmtree(self._folder)

    def disconnect(self) -> None:
        """Let go of all connections, and so of their locks."""
        everyone = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        with at_once(self.address) as connection:
            connection.execute(sqlalchemy.text(f"SELECT pg_terminate_backend(pid, 60000) {everyone}"))


@contextlib.contextmanager
def at_once(address: str) -> Iterator[sqlalchemy.Connection]:
    """A connection of its own, that is closed afterwards, to do what is not undone."""
    engine = sqlalchemy.create_engine(
        address, poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        yield connection


def mariadb_program() -> str | None:
    """MariaDB's server; None: it can't be run, as it is not there or we are not root."""
    return shutil.which("mariadbd") if os.geteuid() == 0 and shutil.which("mariadb-install-db") else None


class MariaDb:
    """A MariaDB server of its own, which speaks as MySQL does."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="augsearch-my-"))
        self.port = free_port()
        self._data = f"--datadir={self._folder / 'data'}"
        options = ("--user=root", "--auth-root-authentication-method=normal", "--skip-test-db")
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", self._data, *options],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.start()
        with at_once(self._address("")) as connection:
            connection.execute(sqlalchemy.text("CREATE DATABASE studies"))

    @property
    def address(self) -> str:
        """Of its database."""
        return self._address("studies")

    def _address(self, database: str) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        where = (f"--socket={self._folder / 'socket'}", f"--pid-file={self._folder / 'pid'}")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._program, "--no-defaults", "--user=root", self._data, *where),
                    *(f"--port={self.port}", "--bind-address=127.0.0.1"),
                    "--innodb-flush-log-at-trx-commit=2",
                ],
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + WAIT
        while True:
            with contextlib.suppress(sqlalchemy.exc.OperationalError), at_once(self._address("")):
                return
            assert self._process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)

    def stop(self) -> None:
        """End it in the midst of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def remove(self) -> None:
        """End it and remove its files."""
        self.stop()
        shutil.rmtree(self._folder)

    def disconnect(self) -> None:
        """Let go of all connections, and so of their locks."""
        others = "SELECT id FROM information_schema.processlist WHERE id <> connection_id() AND user = 'root'"
        with at_once(self.address) as connection:
            for (number,) in connection.execute(sqlalchemy.text(others)).all():
                with contextlib.suppress(sqlalchemy.exc.OperationalError):  # it went by itself
                    connection.execute(sqlalchemy.text(f"KILL {int(number)}"))


DatabaseServer = Postgres | MariaDb


class MlflowServer:
    """An MLflow server on a database of its own, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._port, self._folder = free_port(), folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        stores = ("--backend-store-uri", f"sqlite:///{self._folder}/s.db")
        files = ("--artifacts-destination", str(self._folder / "files"), "--port", str(self._port))
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--workers", "1", *stores, *files],
                stdout=log,
                stderr=log,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                start_new_session=True,
            )
        until = time.monotonic() + WAIT
        while not self._answers():
            assert self._process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=60) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class FarAway:
    """A TCP proxy behind which a server of this machine is ``seconds`` away, there and back."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port, self._delay, self.port = port, seconds / 2, free_port()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        threading.Thread(target=self._serve, args=[ready], daemon=True).start()
        ready.wait()

    def close(self) -> None:
        """Serve nobody any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", self.port))
        ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass_on(reader, ours), self._pass_on(theirs, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each piece arrives as much later as it is told, in the order in which they were sent."""
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(2**16):
                self._loop.call_later(self._delay, writer.write, piece)
            self._loop.call_later(self._delay, writer.close)
