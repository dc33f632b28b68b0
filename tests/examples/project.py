"""An example as its reader runs it: its commands as processes, its code in an interpreter of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
START_LIMIT: Final = 40.0
"""Seconds within which a process has to say that it is ready."""
RUN_LIMIT: Final = 60.0
"""Seconds that a command may take."""
_STOP_LIMIT: Final = 20.0
_POLL: Final = 0.05


class Process:
    """A process that stays, and what it has printed."""

    def __init__(self, words: list[str], env: Mapping[str, str], folder: Path, log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                words,
                env=env,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def wait_until_said(self, text: str) -> None:
        """Wait until it has printed a text."""
        deadline = time.monotonic() + START_LIMIT
        while text not in self.said:
            if self._process.poll() is not None:
                raise AssertionError(f"it ended ({self._process.returncode}):\n{self.said}")
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not say {text!r} within {START_LIMIT:g} s:\n{self.said}")
            time.sleep(_POLL)

    def kill(self) -> None:
        """End it and its children as a power cut would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_STOP_LIMIT)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()


class Project:
    """A folder with a project whose app is ``shop``.

    :param data: a folder for what it writes.
    """

    def __init__(self, folder: Path, data: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.data = data
        paths = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CELERY_", "CELERIAC_"))},
            "PYTHONPATH": os.pathsep.join(each for each in paths if each),
            "PYTHONDONTWRITEBYTECODE": "1",
            **env,
        }

    def celery(self, *words: str) -> str:
        """Run ``celery -A shop ...`` to its end and return what it printed."""
        return self._run([sys.executable, "-m", "celery", "-A", "shop", *words])

    def manage(self, *words: str) -> str:
        """Run ``python manage.py ...`` to its end and return what it printed."""
        return self._run([sys.executable, "manage.py", *words])

    def python(self, code: str) -> Any:
        """Run code in an interpreter of its own and return the JSON document on the last line that it printed."""
        return json.loads(self._run([sys.executable, "-c", code]).splitlines()[-1])

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(
            words,
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=RUN_LIMIT,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, *words: str, until: str, name: str = "process") -> Iterator[Process]:
        """Have ``celery -A shop ...`` run, once it has printed ``until``, until the block ends."""
        command = [sys.executable, "-m", "celery", "-A", "shop", *words]
        process = Process(command, self.env, self.folder, self.data / f"{name}.log")
        try:
            process.wait_until_said(until)
            yield process
        finally:
            process.stop()

    @contextmanager
    def worker(self, *words: str, name: str = "one") -> Iterator[Process]:
        """Have a worker run until the block ends."""
        quick = ("--without-mingle", "--without-gossip", "--concurrency=2", "--loglevel=INFO", "-n", f"{name}@%h")
        with self.running("worker", *quick, *words, until="ready.", name=name) as process:
            yield process


@dataclass(frozen=True, slots=True)
class Served:
    """A project and the worker that serves it."""

    project: Project
    worker: Process

    def show(self, workflow_id: str) -> dict[str, Any]:
        """Return what the command line shows of a run."""
        return show(self.project, workflow_id)


def show(project: Project, workflow_id: str) -> dict[str, Any]:
    """Return what the command line shows of a run."""
    found: dict[str, Any] = json.loads(project.celery("workflow", "show", workflow_id, "--json"))
    return found


def types(document: dict[str, Any]) -> list[str]:
    """Return the types of a run's events, without those of timers, of which a quick answer leaves none."""
    return [each["type"] for each in document["history"] if not each["type"].startswith("timer")]
