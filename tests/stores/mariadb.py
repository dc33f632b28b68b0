"""A MariaDB of a test session's own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from celeriac.embedded import LOOPBACK, EmbeddedServerError, free_port
from tests.servers import ServerMissing

_LIMIT: Final = 60.0  # seconds; the first start makes its system tables
_POLL: Final = 0.05  # seconds between two looks
_ATTEMPTS: Final = 3  # another process may take the free port between our look and the server's bind
_SYSTEM: Final = "/usr/sbin:/usr/local/sbin:/usr/libexec"
"""Where Debian and others put the server's program, which is not on everybody's PATH."""


class MariaServer:
    """A MariaDB in a folder of its own that makes commits durable, for as long as the object is started.

    :raises ServerMissing: the server, or its Python driver, is not installed.
    """

    def __init__(self) -> None:
        path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM}"
        install, program = shutil.which("mariadb-install-db", path=path), shutil.which("mariadbd", path=path)
        if install is None or program is None:
            raise ServerMissing("no MariaDB was found on the PATH. Install one with: apt install mariadb-server")
        if importlib.util.find_spec("pymysql") is None:
            raise ServerMissing("MariaDB's driver is not installed. Install it with: pip install 'celeriac[mysql]'")
        self._install, self._program = install, program
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def pid(self) -> int | None:
        """The id of the server's process, or None while it is stopped."""
        return None if self._process is None else self._process.pid

    def start(self) -> Self:
        """Make its system tables unless they are there, start it and wait until it answers. Started twice is once."""
        if self._process is not None:
            return self
        if self._folder is not None:
            self._launch(self._folder)
            return self
        self._folder = self._make_folder()
        for more in reversed(range(_ATTEMPTS)):
            self.port = free_port()
            try:
                self._launch(self._folder)
            except EmbeddedServerError:
                if not more:
                    raise
            else:
                break
        return self

    def _launch(self, folder: Path) -> None:
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    *_common(folder),
                    f"--port={self.port}",
                    f"--bind-address={LOOPBACK}",
                    f"--socket={folder / 'socket'}",
                    f"--pid-file={folder / 'pid'}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait(folder)

    def stop(self, *, crash: bool = False) -> None:
        """Stop it; connections are cut. The data stays until :meth:`remove`.

        :param crash: by SIGKILL: recovery at the next start.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if crash:
            process.kill()
        else:
            process.terminate()
        process.wait(_LIMIT)

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

    def create_database(self) -> str:
        """Create an empty database, with another character set than ours, and return its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name} CHARACTER SET latin1")  # ours must not depend on it
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database by its URL."""
        self._execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _url(self, database: str) -> str:
        return f"mariadb+pymysql://root@{LOOPBACK}:{self.port}/{database}"

    def _execute(self, statement: str) -> None:
        engine = create_engine(self._url(""), poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text(statement))

    def _make_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="celeriac-mariadb-"))
        how = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        made = subprocess.run(
            [self._install, *_common(folder), *how],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            shutil.rmtree(folder)
            raise EmbeddedServerError(f"mariadb-install-db failed:\n{made.stdout}{made.stderr}")
        return folder

    def _wait(self, folder: Path) -> None:
        deadline = time.monotonic() + _LIMIT
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            try:
                self._execute("SELECT 1")
            except OperationalError:
                time.sleep(_POLL)
            else:
                return
        said = (folder / "log").read_text()
        self.stop()
        raise EmbeddedServerError(f"MariaDB did not start on port {self.port}. It said:\n{said}")


def _common(folder: Path) -> list[str]:
    """Return the options of both programs; the first one has to be the first. As root it has to be told that it may."""
    user = ["--user=root"] if os.geteuid() == 0 else []
    return ["--no-defaults", f"--datadir={folder / 'data'}", *user]
