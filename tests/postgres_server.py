"""A real PostgreSQL for tests, in a folder of its own and on a port that is free."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.etcd_server import free_ports

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
LIGHT = ["fsync=off", "shared_buffers=16MB"]
"""Settings of a server whose data nobody needs."""
READY = "ready to accept connections"
SUPERUSER = "postgres"


class PostgresUnavailable(Exception):
    """There is none, and none could be had."""


def postgres_programs() -> Path:
    """Return the folder of initdb and postgres: what scripts/ensure_postgres.sh finds or gets."""
    done = subprocess.run([ROOT / "scripts/ensure_postgres.sh"], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise PostgresUnavailable(done.stderr.strip())
    return Path(done.stdout.strip())


class PostgresServer:
    """One server. It refuses to run as root, and then runs as a user who owns nothing but its folder.

    Args:
        durable: True: it writes through to the disk, and has the memory that a server of its own would have.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        self._user = _servant() if os.geteuid() == 0 else None
        self._programs = postgres_programs()
        self._directory = Path(tempfile.mkdtemp(prefix="sagaline-postgres-"))  # pytest's own are closed to others
        self._data = self._directory / "data"
        self.port = free_ports(1)[0]
        self._process: subprocess.Popen[str] | None = None
        self._ready = threading.Event()
        self._output: threading.Thread | None = None

    def start(self) -> None:
        """Make its databases, start it, and wait until it serves."""
        if self._user is not None:
            os.chown(self._directory, self._user.pw_uid, self._user.pw_gid)
            self._bring_programs_within_reach()
        initdb = ["initdb", "-D", str(self._data), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        done = self._popen(initdb)
        output, _ = done.communicate(timeout=START_SECONDS)
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {output}")
        weight = ["shared_buffers=512MB", "max_connections=200"] if self._durable else LIGHT
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", *weight]
        options = [word for setting in settings for word in ("-c", setting)]
        self._process = self._popen(["postgres", "-D", str(self._data), "-p", str(self.port), *options])
        self._output = threading.Thread(target=self._read_output, args=(self._process,), daemon=True)
        self._output.start()
        if not self._ready.wait(START_SECONDS) or self._process.poll() is not None:
            raise RuntimeError(f"postgres did not start; see {self._directory / 'postgres.log'}")

    def _bring_programs_within_reach(self) -> None:
        """The folder that they were unpacked in may be closed to the user that the server runs as."""
        try:
            tried = self._popen(["postgres", "--version"])
            tried.communicate(timeout=START_SECONDS)
            reachable = tried.returncode == 0
        except PermissionError:
            reachable = False
        if not reachable:
            copy = self._directory / "programs"
            shutil.copytree(self._programs.parent, copy, symlinks=True)
            self._programs = copy / self._programs.name

    def _popen(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._programs / command[0], *command[1:]],
            cwd=self._directory,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=None if self._user is None else self._user.pw_uid,
            group=None if self._user is None else self._user.pw_gid,
            extra_groups=None if self._user is None else [],
        )

    def _read_output(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with (self._directory / "postgres.log").open("a") as file, process.stdout:
            for line in process.stdout:
                file.write(line)
                file.flush()
                if READY in line:
                    self._ready.set()
        self._ready.set()  # it ended

    def stop(self) -> None:
        """End it, and remove all that it wrote."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: nobody needs the data any more
            self._process.wait(START_SECONDS)
            self._process = None
        if self._output is not None:
            self._output.join(START_SECONDS)
            self._output = None
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Process id of its first process."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """How clients are told of it."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/postgres"

    @property
    def environment(self) -> dict[str, str]:
        """The same in the variables that PostgreSQL's clients of most languages read."""
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": SUPERUSER, "PGDATABASE": "postgres"}

    def new_schema(self, name: str) -> str:
        """Make a schema, and return the URL of connections that see its tables and no others."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        return f"{self.url}?options=-csearch_path%3D{name}"


def _servant() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresUnavailable("PostgreSQL does not run as root, and there is no user `nobody`")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests. Each uses a schema of its own and leaves the server running."""
    try:
        server = PostgresServer()
    except PostgresUnavailable as problem:
        pytest.skip(f"NO POSTGRESQL, so nothing is known of barriers there. {problem}")
    try:
        server.start()
        yield server
    finally:
        server.stop()
