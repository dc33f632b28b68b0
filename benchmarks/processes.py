"""A process that a benchmark starts: in a session of its own, with a log, stopped by its id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

READY: Final = b" ready."
"""What a worker says when it takes work; Celery's own word for it."""
_START_LIMIT: Final = 60.0  # seconds; a loaded machine
_POLL: Final = 0.02  # seconds between two looks


class BenchmarkError(RuntimeError):
    """A server, a worker or a driver did not do what it should; the message has what it said."""


class Child:
    """A process and its descendants, for as long as the object is not stopped.

    :param log: the file that takes what it prints.
    :param talks: whether standard input and output are pipes for us; then only its errors go to the log.
    """

    def __init__(
        self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str], *, talks: bool = False
    ) -> None:
        self.log = log
        with log.open("ab") as file:
            self._process: subprocess.Popen[str] = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else file,
                stderr=file,
                env=dict(environment),
                start_new_session=True,
                text=True,
            )

    @property
    def pid(self) -> int:
        """The id of the first process; also that of its session."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the first process is there."""
        return self._process.poll() is None

    @property
    def pipes(self) -> tuple[IO[str], IO[str]]:
        """Its standard input and output."""
        if self._process.stdin is None or self._process.stdout is None:
            raise BenchmarkError("this process was started without pipes")
        return self._process.stdin, self._process.stdout

    def wait_ready(self) -> None:
        """Wait until its log says that it is ready.

        :raises BenchmarkError: it ended, or took longer than :data:`_START_LIMIT` seconds.
        """
        deadline = time.monotonic() + _START_LIMIT
        while time.monotonic() < deadline:
            if READY in self.log.read_bytes():
                return
            if not self.running:
                break
            time.sleep(_POLL)
        raise BenchmarkError(f"a process did not start. It said:\n{self.said()}")

    def said(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    def freeze(self) -> None:
        """Stop it and its descendants where they are, so that they take nothing from those that are measured."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it and its descendants by SIGKILL: what they have is thrown away, and a warm end takes seconds."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
