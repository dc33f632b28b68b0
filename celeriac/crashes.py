"""Named points in the path of the code at which a process kills itself, for tests of what a crash there leaves behind.

Nothing of this is in force unless ``CELERIAC_CRASH_AT`` is in the environment when the process starts. It holds either

- a point and a number, such as ``after-commit:2``: each process counts, and ends by SIGKILL when it passes the point for the
  second time; or
- a folder's path: whoever passes a point takes the file of that name away, ``after-commit.1``, then ``after-commit.2``, and who
  took the last one ends. So a point is armed and told to have been passed while processes run, and one file kills once. A
  file with the id of a process in it is not for that process.

A process of a prefork pool is a process of its own: the relay, its timers and the listener of signals end the worker's first
process, turns and activities end a child of it.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

VARIABLE: Final = "CELERIAC_CRASH_AT"
"""The environment variable that arms; it is no setting."""


class CrashPoint(StrEnum):
    """Where a crash is worth a test."""

    BEFORE_COMMIT = "before-commit"
    """A turn has been decided; nothing is written."""
    IN_TRANSACTION = "in-transaction"
    """The statements of a transaction have run; it is not committed. Single statements have no such moment."""
    PUBLISHED_EARLY = "published-early"
    """A turn's hints have gone to the broker while its commit was on its way; what became of that is not known."""
    AFTER_COMMIT = "after-commit"
    """A turn is written; the process has drawn no conclusion from that."""
    BEFORE_PUBLISH = "before-publish"
    """A turn is written and its run cached; nobody has been told, unless its hints went out early."""
    AFTER_PUBLISH = "after-publish"
    """The hints of a turn have gone to the broker."""
    BEFORE_OUTCOME = "before-outcome"
    """An activity has had its effect; its outcome is not written."""
    AFTER_OUTCOME = "after-outcome"
    """An activity's outcome is written; its message is not acknowledged."""
    BEFORE_DELIVERY = "before-delivery"
    """A signal or a cancel request is about to be written."""
    AFTER_DELIVERY = "after-delivery"
    """It is written; the turn that it made due is not published."""
    RELAY_CLAIMED = "relay-claimed"
    """A relay has taken rows that are due, and done nothing with them."""
    TIMER_DUE = "timer-due"
    """A relay is about to fire a timer."""
    TIMER_FIRED = "timer-fired"
    """A timer has fired; the turn that it made due is not published."""
    IN_MIGRATION = "in-migration"
    """Some of the tables are made, others are not."""


def arm(value: str) -> Callable[[CrashPoint], None]:
    """Return what to call at each point, for a value of the environment variable.

    :raises ValueError: it names no point, or no number from 1 on.
    """
    if os.sep in value:
        return _Folder(Path(value)).passing
    name, _, count = value.partition(":")
    if name not in set(CrashPoint) or not (count or "1").isdigit() or count == "0":
        raise ValueError(f"{VARIABLE}={value!r}: write a folder, or a point and a number: {', '.join(CrashPoint)}")
    return _Count(CrashPoint(name), int(count or 1)).passing


class _Count:
    """Ends the process at the given passing of one point."""

    def __init__(self, point: CrashPoint, number: int) -> None:
        self._point = point
        self._number = number
        self._passed: Counter[CrashPoint] = Counter()

    def passing(self, point: CrashPoint) -> None:
        self._passed[point] += 1
        if point is self._point and self._passed[point] == self._number:
            _end()


class _Folder:
    """Ends the process that takes the last file of a point."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def passing(self, point: CrashPoint) -> None:
        for file in sorted(self._folder.glob(f"{point}.*")):
            try:
                if file.read_text() == str(os.getpid()):
                    continue
                file.unlink()
            except FileNotFoundError:
                continue  # another process has passed with it
            if not any(self._folder.glob(f"{point}.*")):
                _end()
            return


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _pass_by(_: CrashPoint) -> None:
    """Go on: nothing is armed."""


passing: Final = arm(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else _pass_by
"""Called at each point."""
