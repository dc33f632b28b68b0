"""Real workers as child processes, and what is to be seen of them from outside: the log, the events, the ledger."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import redis
from celery import Celery

T = TypeVar("T")

ROOT: Final = Path(__file__).parents[2]
PR_SET_PDEATHSIG: Final = 1
PATIENCE: Final = 40.0
"""Seconds after which something that should have happened long ago is taken for never."""


def eventually(look: Callable[[], T], until: Callable[[T], Any] = bool, *, patience: float = PATIENCE) -> T:
    """Look again and again until what is seen is as it should be; return it, or fail with what was seen last."""
    deadline = time.monotonic() + patience
    pause = 0.005
    while True:
        seen = look()
        if until(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"still, after {patience:g} s: {seen!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def _die_with_the_tests() -> None:
    """Have the kernel, where it can, end a command whose tests were killed."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A Celery command in a session of its own, its output in a file."""

    def __init__(self, folder: Path, name: str, words: Sequence[str], env: dict[str, str]) -> None:
        self._asked = False
        self.path = folder / f"{name}.log"
        self._output = self.path.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", *words],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env},
            start_new_session=True,
            preexec_fn=_die_with_the_tests,  # noqa: PLW1509 - it makes one system call
        )

    @property
    def log(self) -> str:
        """All that it has said so far."""
        return self.path.read_text(errors="replace")

    def says(self, text: str) -> Self:
        """Wait until it has said something."""

        def there(log: str) -> bool:
            if self.process.poll() is not None and text not in self.log:
                raise AssertionError(f"it ended with {self.process.returncode} and said\n{self.log}")
            return text in log

        eventually(lambda: self.log, there)
        return self

    def ask_to_stop(self) -> None:
        """Ask it to end, as Ctrl-C does, once."""
        if self.process.poll() is None and not self._asked:
            self._asked = True
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> float:
        """End it warmly and return how many seconds that took."""
        started = time.monotonic()
        self.ask_to_stop()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.kill()
        self._output.close()
        return time.monotonic() - started

    def kill(self) -> None:
        """End it and its children at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def troubles(self) -> list[str]:
        """Return what it has logged as an error, warnings and expected failures of tasks left out."""
        lines = re.findall(r"^\[[^\]]*(?:ERROR|CRITICAL)/[^\]]*\] (.*)$", self.log, re.MULTILINE)
        expected = r"Task \S+ raised|.*time limit|Process .*exited|Chord .* raised"
        return [line for line in lines if not re.match(expected, line)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Worker(Process):
    """A ``celery worker`` that is ready."""

    def __init__(
        self,
        folder: Path,
        app: str,
        *options: str,
        name: str = "w",
        pool: str = "prefork",
        concurrency: int = 2,
        events: str = "-E",
        **env: str,
    ) -> None:
        self.name = name
        words = ["-A", app, "worker", "-P", pool, "-c", str(concurrency), "-n", f"{name}@here", "-l", "INFO"]
        words += events.split()
        super().__init__(folder, name, [*words, "--without-mingle", "--without-gossip", *options], env)
        self.says("ready.")


def stop_all(processes: Sequence[Process]) -> None:
    """Stop processes, all at once."""
    for each in processes:
        each.ask_to_stop()
    for each in processes:
        each.stop()


class Events:
    """Hears the workers' events, from when it is made, and keeps them by task."""

    def __init__(self, app: Celery) -> None:
        self.heard: list[dict[str, Any]] = []
        self._over = threading.Event()
        self._app = app
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def of(self, task_id: str) -> list[str]:
        """Return the types of one task's events, in the order of arrival."""
        return [each["type"].removeprefix("task-") for each in self.heard if each.get("uuid") == task_id]

    def full(self, task_id: str, kind: str) -> list[dict[str, Any]]:
        """Return one task's events of one type, whole."""
        return [each for each in self.heard if each.get("uuid") == task_id and each["type"] == f"task-{kind}"]

    def names(self) -> set[str]:
        """Return the names of all tasks that were heard of."""
        return {each["name"] for each in self.heard if "name" in each}

    def close(self) -> None:
        """Hear no more."""
        self._over.set()
        self._thread.join(5)

    def _listen(self) -> None:
        with self._app.connection_for_read() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self.heard.append})
            with receiver.consumer_context() as (own, _channel, _consumers):
                self._ready.set()
                while not self._over.is_set():
                    try:
                        own.drain_events(timeout=0.2)
                    except TimeoutError:
                        continue


class Ledger:
    """What activities have noted down while they ran: who, where, when does not matter, in order."""

    def __init__(self, url: str) -> None:
        self.redis: redis.Redis = redis.Redis.from_url(url, decode_responses=True)

    def read(self, key: str) -> list[str]:
        """Return all notes under a key."""
        return list(self.redis.lrange(f"ledger:{key}", 0, -1))

    def has(self, key: str, count: int) -> list[str]:
        """Wait for so many notes, and return them."""
        return eventually(lambda: self.read(key), lambda notes: len(notes) >= count)


def tale(handle: Any) -> list[str]:
    """Tell a run's history, a line an event, without ids, times and seeds."""
    return [_line(each.type, each.data) for each in handle.history()]


def _line(kind: str, data: dict[str, Any]) -> str:
    shown = dict(data)
    for name in (
        "seed",
        "started_at",
        "worker",
        "command",
        "options",
        "workflow",
        "args",
        "kwargs",
        "fire_at",
        "sent_at",
    ):
        shown.pop(name, None)
    failure = shown.pop("failure", None)
    words = [f"{name}={value!r}" for name, value in shown.items()]
    if failure is not None:
        words.append(f"{failure['type']}: {failure['message']}")
    return " ".join([kind, *words])
