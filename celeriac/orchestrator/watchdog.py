"""Ends turns that do not yield: one native thread that looks at the turn thread's CPU and wall time.

The limits are those of one step, so a turn of many steps, or a replay of many, is not taken for code that does not yield.

CPU time counts, so that a stopped or loaded machine blocks nobody; wall time is the wider net for code that waits.

Where gevent has put its own threads and clocks in place of the system's, the real ones are taken: a greenlet would never
get its turn while another one spins.
"""

from __future__ import annotations

import _thread
import ctypes
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from celeriac.errors import TurnAbandoned

LOOKS_PER_SECOND: Final = 20
IDLE_LOOKS: Final = 100
"""After so many looks without a turn under way the thread ends; the next turn starts another."""


class _Watched:
    """One stretch of a turn: which thread, how many steps it had taken at the last look, since when, and whether it was struck.

    The first look takes the times. So a turn that is over before it costs nothing but this object.
    """

    __slots__ = ("clock", "cpu", "cpu_limit", "ident", "stack", "steps", "taken", "wall", "wall_limit")

    def __init__(self, cpu_limit: float, wall_limit: float, steps: Callable[[], int]) -> None:
        self.steps = steps
        self.taken: int | None = None
        self.ident = _native(_thread, "get_ident")()
        self.cpu_limit = cpu_limit
        self.wall_limit = wall_limit
        self.wall = self.cpu = 0.0
        # Asked for by the thread itself: nobody may ask for the clock of a thread that has ended.
        self.clock = _cpu_clock(self.ident)
        self.stack: list[str] | None = None

    def overdue(self) -> bool:
        taken = self.steps()
        if taken != self.taken:
            self.taken, self.wall = taken, time.monotonic()
            if self.clock is not None:
                self.cpu = time.clock_gettime(self.clock)
            return False
        if time.monotonic() - self.wall > self.wall_limit:
            return True
        return self.clock is not None and time.clock_gettime(self.clock) - self.cpu > self.cpu_limit

    def strike(self) -> None:
        """Raise TurnAbandoned inside the watched thread, once a look, until it has let go."""
        if self.stack is None:
            frame = sys._current_frames().get(self.ident)  # noqa: SLF001 - the only way to another thread's stack
            frames = traceback.extract_stack(frame)[-12:] if frame is not None else []
            self.stack = [f"{each.filename}:{each.lineno} in {each.name}" for each in frames]
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(TurnAbandoned))


def _native(module: Any, name: str) -> Any:
    """Return a function as it was before gevent patched the process, if it has."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(module, name) if monkey is None else monkey.get_original(module.__name__, name)


def _cpu_clock(ident: int) -> int | None:
    """Return the clock of a thread's CPU time, where the system has one."""
    try:
        return time.pthread_getcpuclockid(ident)
    except (AttributeError, OSError):
        return None


def _one_step() -> int:
    return 0


class Watchdog:
    """Watches the turns of this process."""

    def __init__(self, *, cpu_limit: float = 2.0, wall_limit: float = 30.0) -> None:
        self.cpu_limit = cpu_limit
        self.wall_limit = wall_limit
        self._watched: dict[int, _Watched] = {}
        self._looking = False
        self._lock = _native(_thread, "allocate_lock")()

    @contextmanager
    def watching(self, steps: Callable[[], int] = _one_step) -> Iterator[None]:
        """Limit a stretch of workflow code.

        :param steps: counts the steps that the code has taken; with each of them it has the whole time again.
        :raises TurnAbandoned: it took longer; the message holds the stack where it was struck.
        """
        watched = _Watched(self.cpu_limit, self.wall_limit, steps)
        self._watched[watched.ident] = watched
        if not self._looking:
            self._start()
        try:
            yield
        except TurnAbandoned:
            pass
        finally:
            self._watched.pop(watched.ident, None)
            if watched.stack is not None:
                # A second strike may be on its way into this thread: take it back.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(watched.ident), None)
        if watched.stack is not None:
            raise TurnAbandoned(
                f"the turn did not yield within {self.cpu_limit:g} s of CPU time or {self.wall_limit:g} s of wall time. "
                f"Move long work into an activity. It was at:\n  " + "\n  ".join(watched.stack)
            )

    def after_fork(self) -> None:
        """Forget the parent's thread and turns."""
        self._watched = {}
        self._looking = False
        self._lock = _native(_thread, "allocate_lock")()

    def _start(self) -> None:
        with self._lock:
            if not self._looking:
                self._looking = True
                _native(_thread, "start_new_thread")(self._look, ())

    def _look(self) -> None:
        sleep = _native(time, "sleep")
        idle = 0
        while idle < IDLE_LOOKS:
            sleep(1 / LOOKS_PER_SECOND)
            idle = 0 if self._watched else idle + 1
            for watched in list(self._watched.values()):
                with suppress(OSError):  # the clock of a thread that has ended since
                    if watched.overdue() and watched.ident in self._watched:
                        watched.strike()
        self._looking = False
        if self._watched:  # a turn that began in between took this thread for one that goes on
            self._start()
