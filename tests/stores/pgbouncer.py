"""A PgBouncer in transaction mode before a PostgreSQL, as a test's own server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from sqlalchemy.engine import URL, make_url

from celeriac.embedded import free_port
from tests.servers import ServerMissing

_LIMIT = 20.0  # seconds
_POLL = 0.02  # seconds between two looks


class PgBouncer:
    """Two server connections for all its clients.

    :param url: the database behind it.
    :raises ServerMissing: it is not installed.
    """

    def __init__(self, url: str) -> None:
        program = shutil.which("pgbouncer")
        if program is None:
            raise ServerMissing("no pgbouncer was found on the PATH. Install it with: apt install pgbouncer")
        self._program = program
        self._behind = make_url(url)
        self._folder = Path(tempfile.mkdtemp(prefix="celeriac-pgbouncer-"))
        self.port = free_port()

    @property
    def url(self) -> URL:
        """The database, through the pooler."""
        return self._behind.set(port=self.port)

    def __enter__(self) -> Self:
        settings = f"""
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
[databases]
{self._behind.database} = host={self._behind.host} port={self._behind.port} user={self._behind.username}
"""
        (self._folder / "pgbouncer.ini").write_text(settings)
        account: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to be root
            user = pwd.getpwnam("nobody")
            account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, self._folder / "pgbouncer.ini"], stdout=log, stderr=log, **account
            )
        give_up = time.monotonic() + _LIMIT
        while True:
            try:
                psycopg.connect(self.url.set(drivername="postgresql").render_as_string(), connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > give_up or self._process.poll() is not None:
                    raise AssertionError((self._folder / "log").read_text()) from None
                time.sleep(_POLL)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(_LIMIT)
        shutil.rmtree(self._folder)
