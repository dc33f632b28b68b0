"""What the demo is played on: a Redis, an SQLite file, worker processes, all in a folder of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import celeriac
from celeriac.demo import ledger
from celeriac.embedded import EmbeddedRedis
from celeriac.errors import CeleriacError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

STOP_LIMIT: Final = 3.0
"""Seconds that a worker has to end when it is asked to; then it is killed."""
_LOG_TAIL: Final = 30
"""How many lines of a worker's log are shown when it ended by itself."""
_OURS: Final = ("CELERIAC_", "CELERY_", "DEMO_")
_CELERY_OPTIONS: Final = {"APP", "BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE"}


class DemoFailed(CeleriacError, RuntimeError):
    """The demo could not be played to its end; the message says what happened."""


class Worker:
    """A Celery worker with two processes, in a session of its own so that Ctrl-C does not reach it.

    :param name: what it is called on the screen and in the ledger.
    """

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.killed = False
        options = ("-c", "2", "--without-mingle", "--without-gossip", "-l", "INFO", "-n", f"{name}@demo")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-m", "celery", "-A", "celeriac.demo.shop", "worker", *options],
                env={**environment, ledger.WORKER: name},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def up(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def freeze(self) -> None:
        """Stop all its processes where they are."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill all its processes at once, as a power cut would."""
        self._send(signal.SIGKILL)
        self.process.wait()
        self.killed = True

    def stop(self) -> None:
        """Ask it to end, and see that nothing of it is left."""
        if self.up:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_LIMIT)
        self._send(signal.SIGKILL)
        self.process.wait()

    def tail(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL:])

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            os.killpg(self.process.pid, number)


class Stage:
    """Redis, store, ledger and workers; a context manager.

    :param pictures: the folder of the pictures.
    :param keep: leave the folder with logs, store and thumbnails behind.
    """

    def __init__(self, pictures: Path, *, keep: bool = False) -> None:
        self.keep = keep
        self._pictures = pictures
        self.redis = EmbeddedRedis()
        self.workers: list[Worker] = []
        self.folder = Path()
        self._environment: dict[str, str] = {}

    @property
    def ledger(self) -> Path:
        """The file of the ledger."""
        return self.folder / "ledger.jsonl"

    @property
    def pictures(self) -> Path:
        """The folder of the pictures: a link to wherever they are."""
        return self.folder / "pictures"

    @property
    def thumbnails(self) -> Path:
        """The folder of the thumbnails."""
        return self.folder / "thumbnails"

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="celeriac-demo-"))
        try:
            self.thumbnails.mkdir()
            self.pictures.symlink_to(self._pictures, target_is_directory=True)
            self.redis.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self._set_environment()
        return self

    def _set_environment(self) -> None:
        """Point this process and the workers at our own servers, whatever the user's environment says."""
        for name in list(os.environ):
            if name.startswith(_OURS) or name in _CELERY_OPTIONS:
                del os.environ[name]
        os.environ |= {
            "DEMO_BROKER": self.redis.url,
            "DEMO_STORE": f"sqlite:///{self.folder / 'store.db'}",
            ledger.FILE: str(self.ledger),
        }
        here = str(Path(celeriac.__file__).parents[1])  # run from a checkout, the workers find it too
        path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        self._environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "TMPDIR": str(self.folder)}

    def start_worker(self, name: str) -> Worker:
        """Start a worker; it takes a second or two until it is ready."""
        worker = Worker(name, self.folder, self._environment)
        self.workers.append(worker)
        return worker

    def check(self) -> None:
        """See that nobody has ended who was not killed.

        :raises DemoFailed: with the end of that worker's log.
        """
        for worker in self.workers:
            if not worker.up and not worker.killed:
                code = worker.process.returncode
                raise DemoFailed(f"worker {worker.name} ended with exit code {code}. Its log:\n{worker.tail()}")

    def await_listeners(self, channel: str, number: int, seconds: float) -> None:
        """Wait until so many workers listen on a Redis channel, which they do once they are ready.

        :raises DemoFailed: they did not within so many seconds.
        """
        import redis  # noqa: PLC0415 - slow to import

        deadline = time.monotonic() + seconds
        with redis.Redis.from_url(self.redis.url) as client:
            while int(client.pubsub_numsub(channel)[0][1]) < number:
                self.check()
                if time.monotonic() > deadline:
                    logs = "\n\n".join(each.tail() for each in self.workers)
                    raise DemoFailed(f"the workers were not ready after {seconds:g} s. Their logs:\n{logs}")
                time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            if worker.up:
                worker.process.terminate()  # all at once, so that they end side by side
        for worker in self.workers:
            worker.stop()
        self.redis.stop()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
