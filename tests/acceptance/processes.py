"""pytest-celery's components over processes of this machine instead of Docker's containers.

:class:`LocalProcess` has the few members of the Docker SDK's ``Container`` that the stock wrapper classes call, so that
those work on it as they are.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import redis
from pytest_celery import CeleryWorkerContainer, RedisContainer

from celeriac.embedded import LOOPBACK, EmbeddedRedis

REPOSITORY: Final = Path(__file__).parents[2]
_END: Final = 10.0
"""Seconds that a killed process may take to be gone."""


class LocalProcess:
    """A process and all that it starts, in the place of a container.

    :param ident: what a container's id would be.
    """

    attrs: Final[dict[str, Any]] = {"NetworkSettings": {"Networks": {}, "Ports": {}}}

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], folder: Path, ident: str) -> None:
        self.name = name
        self.id = ident
        self._argv = list(argv)
        self._env = {**os.environ, **env}
        self._folder = folder
        self._log = folder / f"{name}.log"
        self.start()

    @property
    def pid(self) -> int:
        """The id of the process, and of the group of all that it starts."""
        return self._process.pid

    @property
    def status(self) -> str:
        """Docker's word for its state."""
        return "running" if self._process.poll() is None else "exited"

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._process.poll()

    def start(self) -> None:
        """Start it, in a session of its own so that all its children can be reached."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._folder,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509, it makes one system call and takes no lock
            )

    def reload(self) -> None:
        """Nothing is cached."""

    def logs(self, **_: Any) -> bytes:
        """Return what it has printed so far."""
        return self._log.read_bytes()

    def kill(self, signal: str | int | None = None) -> None:
        """Send a signal: SIGKILL to all its processes, as it would end a container, another to the first one."""
        number = _number(signal)
        if number == SIGKILL:
            self.kill_group()
            self._process.wait(_END)
        else:
            self._process.send_signal(number)

    def kill_group(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to all its processes, also to those that the first one has left behind."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def wait(self, timeout: float) -> int:
        """Wait for its end and return how it ended."""
        return self._process.wait(timeout)

    def restart(self, timeout: float = _END) -> None:
        """Stop it, if it has not ended, and start it again."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout)
        self.start()

    def remove(self) -> None:
        """End it and whatever it has started."""
        self.kill_group()
        self._process.wait(_END)


SIGKILL: Final = signal.SIGKILL
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """Have Linux kill this process when the tests are killed and can't do it; Celery has its children do the same."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, SIGKILL)


def _number(given: str | int | None) -> int:
    if given is None:
        return SIGKILL
    return signal.Signals[given] if isinstance(given, str) else given


class LocalWorker(CeleryWorkerContainer):
    """A real ``celery worker`` in a process of its own."""

    @classmethod
    def launch(cls, name: str, argv: Sequence[str], env: Mapping[str, str], content: Mapping[str, bytes]) -> Self:
        """Start one in a folder of its own.

        :param argv: its command, as :meth:`command` returns it.
        :param env: its ``PYTHONPATH``, if it has one, comes before the folder's and this repository's code.
        :param content: the files that the container's volume would hold.
        """
        folder = Path(tempfile.mkdtemp(prefix=f"celeriac-{name}-"))
        for path, data in content.items():
            folder.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
            folder.joinpath(path).write_bytes(data)
        ident = uuid.uuid4().hex
        argv = [sys.executable, "-m", *(each.replace("%h", ident[:12]) for each in argv)]
        before = [env["PYTHONPATH"]] if "PYTHONPATH" in env else []
        path = os.pathsep.join([*before, str(folder), str(REPOSITORY)])
        found = cls(LocalProcess(name, argv, {**env, "PYTHONPATH": path}, folder, ident))
        found.folder = folder
        return found

    @property
    def process(self) -> LocalProcess:
        """The process itself."""
        found: LocalProcess = self._container
        return found

    def kill(self, signal: str | int | None = None) -> None:
        """Send a signal; see :meth:`LocalProcess.kill`."""
        self.process.kill(signal)

    def logs(self) -> str:
        """Return what it has printed so far."""
        return self.process.logs().decode(errors="replace")

    def teardown(self) -> None:
        """End it and remove its folder."""
        self.process.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


class _ServerAsContainer:
    """An embedded Redis in the place of a container."""

    attrs: Final[dict[str, Any]] = {
        "NetworkSettings": {"Networks": {}, "Ports": {}},
        "Config": {"Hostname": LOOPBACK},
    }
    name = id = "redis"

    def __init__(self, server: EmbeddedRedis) -> None:
        self.server = server

    @property
    def status(self) -> str:
        return "running" if self.server.pid else "exited"

    def reload(self) -> None:
        """Nothing is cached."""

    def restart(self, timeout: float = 0) -> None:
        self.server.restart()


class LocalRedis(RedisContainer):
    """The tests' Redis as pytest-celery's broker and backend."""

    def __init__(self, server: EmbeddedRedis) -> None:
        super().__init__(_ServerAsContainer(server))
        self.server = server

    @property
    def port(self) -> int:
        """The port, inside and outside."""
        return int(self.server.url.rpartition(":")[2].partition("/")[0])

    @property
    def url(self) -> str:
        """The URL that workers use."""
        return self.server.url

    @property
    def host_url(self) -> str:
        """The URL that the tests use: the same."""
        return self.server.url

    @property
    def ready_prompt(self) -> None:
        """It answers already."""
        return

    @property
    def client(self) -> redis.Redis:
        """A client of it."""
        return redis.Redis.from_url(self.server.url, decode_responses=True)

    def restart(self, timeout: float = 0) -> None:
        """Restart it on the same port, empty."""
        self.server.restart()
