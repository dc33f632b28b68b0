"""The brokers that faults strike: each can be emptied, and stopped with or without what it holds."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import redis
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from celeriac.embedded import LOOPBACK, find_redis_server, free_port
from tests.servers import ServerMissing

_LIMIT: Final = 90.0
"""Seconds within which a server has to answer; RabbitMQ takes ten of a machine that is busy with nothing else."""
_LOOK: Final = 0.05


class Broker(Protocol):
    """What a session asks of a broker."""

    url: str
    has_channel: bool
    """Whether signals can be published on a channel of it."""

    def start(self) -> None:
        """Start it with what it held, and wait until it answers."""

    def crash(self) -> None:
        """Stop it by SIGKILL."""

    def forget(self) -> None:
        """Remove what it held, while it is stopped."""

    def flush(self) -> None:
        """Remove all messages."""

    def remove(self) -> None:
        """Stop it and remove everything."""


class RedisBroker:
    """A Redis with an append-only file: what was sent is there again after a crash of the process."""

    has_channel = True

    def __init__(self) -> None:
        program = find_redis_server()
        if program is None:
            raise ServerMissing("no redis-server was found")
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="celeriac-redis-"))
        self._port = free_port()
        self._server = _Server(self._folder)
        self.url = f"redis://{LOOPBACK}:{self._port}/0"

    def start(self) -> None:
        """Start it."""
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        options = {"port": str(self._port), "bind": LOOPBACK, "dir": str(data), "save": "", "appendonly": "yes"}
        argv = [str(self._program), *(word for name, value in options.items() for word in (f"--{name}", value))]
        self._server.start(argv, {}, self._answers)

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=1, retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def crash(self) -> None:
        """Stop it."""
        self._server.kill()

    def forget(self) -> None:
        """Remove its file."""
        shutil.rmtree(self._folder / "data", ignore_errors=True)

    def flush(self) -> None:
        """FLUSHALL."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.crash()
        shutil.rmtree(self._folder, ignore_errors=True)


class RabbitBroker:
    """A RabbitMQ: queues and messages are durable."""

    has_channel = False

    def __init__(self) -> None:
        program = shutil.which("rabbitmq-server", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
        if program is None:
            raise ServerMissing("no rabbitmq-server was found. Install one with: apt install rabbitmq-server")
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="celeriac-rabbitmq-"))
        self._port, self._dist = free_port(), free_port()
        self._node = f"chaos{self._port}@localhost"
        self._server = _Server(self._folder)
        self.url = f"pyamqp://guest:guest@{LOOPBACK}:{self._port}//"

    def start(self) -> None:
        """Start it."""
        (self._folder / "plugins").write_text("[].\n")
        self._folder.chmod(0o755)
        if os.geteuid() == 0:  # its script changes to that user
            account = pwd.getpwnam("rabbitmq")
            for path in (self._folder, *self._folder.rglob("*")):
                with suppress(FileNotFoundError):
                    os.chown(path, account.pw_uid, account.pw_gid)
        env = {
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "HOME": str(self._folder),
        }
        self._server.start([self._program], env, self._answers)

    def _answers(self) -> bool:
        try:
            with Connection(self.url, connect_timeout=1) as connection:  # type: ignore[no-untyped-call]
                connection.connect()
        except (OperationalError, OSError):
            return False
        return True

    def crash(self) -> None:
        """Stop it. As root its script has put the virtual machine into a session of another user."""
        for each in Path("/proc").iterdir():
            with suppress(OSError):
                if each.name.isdigit() and str(self._folder).encode() in (each / "environ").read_bytes():
                    os.kill(int(each.name), signal.SIGKILL)
        self._server.kill()

    def forget(self) -> None:
        """Remove its database."""
        shutil.rmtree(self._folder / "data", ignore_errors=True)

    def flush(self) -> None:
        """Purge the queues that tasks are in."""
        with Connection(self.url, connect_timeout=5) as connection:  # type: ignore[no-untyped-call]
            for name in ("celery", "steps"):
                with suppress(OperationalError, OSError, *connection.channel_errors), connection.channel() as channel:
                    channel.queue_purge(name)

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.crash()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Server:
    """A process in a session of its own, with its log."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, argv: list[str], env: Mapping[str, str], answers: Callable[[], bool]) -> None:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                argv,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._process = process
        deadline = time.monotonic() + _LIMIT
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerMissing(f"{argv[0]} did not start:\n{self._log.read_text(errors='replace')[-4000:]}")
            time.sleep(_LOOK)

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


BROKERS: Final[dict[str, Callable[[], Broker]]] = {"redis": RedisBroker, "rabbitmq": RabbitBroker}
