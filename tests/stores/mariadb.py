"""A MariaDB of a test session's own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from celeriac.embedded import free_port
from tests.servers import ServerMissing

_LIMIT = 60.0  # seconds; the first start makes its system tables
_POLL = 0.05  # seconds between two looks


class MariaServer:
    """A MariaDB in a folder of its own, stopped by its pid.

    :raises ServerMissing: the server, or its Python driver, is not installed.
    """

    def __init__(self) -> None:
        self._install, self._program = shutil.which("mariadb-install-db"), shutil.which("mariadbd")
        if self._install is None or self._program is None:
            raise ServerMissing("no MariaDB was found on the PATH. Install one with: apt install mariadb-server")
        if importlib.util.find_spec("pymysql") is None:
            raise ServerMissing("MariaDB's driver is not installed. Install it with: pip install pymysql")
        self._folder = Path(tempfile.mkdtemp(prefix="celeriac-mariadb-"))
        self.port = free_port()

    def __enter__(self) -> Self:
        data = self._folder / "data"
        made = subprocess.run(
            [
                str(self._install),
                "--no-defaults",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--user=root",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise AssertionError(made.stdout + made.stderr)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(self._program),
                    "--no-defaults",
                    "--user=root",
                    f"--datadir={data}",
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    f"--socket={self._folder / 'socket'}",
                    f"--pid-file={self._folder / 'pid'}",
                ],
                stdout=log,
                stderr=log,
            )
        give_up = time.monotonic() + _LIMIT
        while True:
            try:
                self._execute("SELECT 1")
            except OperationalError:
                if self._process.poll() is not None or time.monotonic() > give_up:
                    raise AssertionError((self._folder / "log").read_text()) from None
                time.sleep(_POLL)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(_LIMIT)
        shutil.rmtree(self._folder)

    def create_database(self) -> str:
        """Create an empty database, with the server's own character set, and return its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name} CHARACTER SET latin1")  # ours must not depend on it
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"mariadb+pymysql://root@127.0.0.1:{self.port}/{database}"

    def _execute(self, statement: str) -> None:
        engine = create_engine(self._url(""), poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text(statement))
