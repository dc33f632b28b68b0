"""One scheduler for everything that happens in a world: strands of work that take turns at the calls of ports.

A *strand* is one action of one process (a turn, an activity's attempt, a relay's tick, a client's call), in a greenlet. It
runs until it lets go; then the hub decides by the world's dice what goes on. Nothing runs at the same time as anything
else, so the same seed makes the same schedule.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final, TypeVar, cast

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from celeriac.orchestrator.model import SECOND, Micros

T = TypeVar("T")


class Crash(BaseException):
    """The process that runs this has been killed: nothing that its code does from here on has any effect."""


class SoftLimit(Exception):
    """The executor's time limit for this task, raised into it wherever it stands."""


class Violation(AssertionError):
    """Something that may never happen has happened."""


class ManualClock:
    """The store's clock: stands still until it is moved on.

    :param now: where it begins, in microseconds since the epoch.
    """

    def __init__(self, now: Micros) -> None:
        self.now = now

    def __call__(self) -> Micros:
        """Return the time."""
        return self.now


class Strand:
    """One action under way.

    :param call: what it does.
    :param process: whose it is; a frozen process's strands don't go on, a dead one's are unwound.
    :param name: what it does, for the trace.
    :param hint: the message that it was begun for, if any.
    """

    __slots__ = ("call", "carrier", "dead", "hint", "name", "process")

    def __init__(self, call: Callable[[], Any], process: Any, name: str, hint: Any = None) -> None:
        self.call = call
        self.process = process
        self.name = name
        self.hint = hint
        self.dead = False
        self.carrier: Carrier | None = None


class Carrier(greenlet):  # type: ignore[misc]
    """The greenlet of one strand after the other: making one costs more than most strands do in it."""

    def __init__(self) -> None:
        super().__init__(self._carry)
        self.strand: Strand | None = None

    def _carry(self) -> None:
        while True:
            self._do()
            _SPARE.carriers.append(self)
            self.parent.switch()

    def _do(self) -> None:
        strand = cast(Strand, self.strand)
        try:
            strand.call()
        finally:
            strand.dead = True
            self.strand = None  # nor does a frame of a spare carrier keep it, and its whole world with it


class _Spare(threading.local):
    """Carriers without a strand, by thread: a greenlet can't leave the one in which it was begun."""

    def __init__(self) -> None:
        self.carriers: list[Carrier] = []


_SPARE: Final = _Spare()


class Hub:
    """Strands that can go on, and what is to happen at which time."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.ready: list[Strand] = []
        self._home = getcurrent()
        self._numbers = itertools.count()
        self.to_come: list[tuple[Micros, int, Callable[[], None]]] = []

    # -- from the hub ----------------------------------------------------------------------------------------------

    def begin(self, strand: Strand) -> None:
        """Let a new strand run until it lets go for the first time."""
        strand.process.strands.append(strand)
        spare = _SPARE.carriers
        carrier = spare.pop() if spare else Carrier()
        carrier.parent = self._home
        carrier.gr_context = None
        carrier.strand, strand.carrier = strand, carrier
        self.resume(strand)

    def resume(self, strand: Strand) -> None:
        """Let a strand go on until it lets go or ends."""
        strand.carrier.switch()  # type: ignore[union-attr]  # it has begun
        if strand.dead:
            strand.process.ended(strand)

    def unwind(self, strand: Strand) -> None:
        """End a strand of a process that was killed.

        :raises Violation: it goes on whatever one does.
        """
        for _ in range(20):
            if strand.dead:
                return
            strand.carrier.throw(Crash())  # type: ignore[union-attr]  # it has begun
        raise Violation(f"{strand.name} goes on although its process is dead")

    def at(self, when: Micros, call: Callable[[], None]) -> None:
        """Have something called by the hub at a time of the clock."""
        heappush(self.to_come, (when, next(self._numbers), call))

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Have something called by the hub so many seconds from now."""
        self.at(self.clock.now + round(seconds * SECOND), call)

    @property
    def next_at(self) -> Micros | None:
        """When the next thing is to happen, or None when nothing is."""
        return self.to_come[0][0] if self.to_come else None

    def happen(self) -> None:
        """Call what is to happen next, whatever the time."""
        heappop(self.to_come)[2]()

    # -- from a strand ---------------------------------------------------------------------------------------------

    @property
    def current(self) -> Strand:
        """The strand that is running."""
        return cast(Strand, getcurrent().strand)

    @property
    def running(self) -> Strand | None:
        """The same, or None where no strand is running."""
        return getattr(getcurrent(), "strand", None)

    def let_go(self) -> None:
        """Let others run; the strand goes on when the hub has it go on.

        :raises Crash: its process was killed meanwhile.
        """
        self.wake(self.current)
        self.wait()

    def wait(self) -> None:
        """Let others run until somebody wakes the strand.

        :raises Crash: its process was killed meanwhile.
        """
        self._home.switch()

    def wake(self, strand: Strand) -> None:
        """Let a waiting strand go on, now or when its process thaws."""
        if not strand.process.alive or strand.dead:
            return
        (strand.process.frozen if strand.process.is_frozen else self.ready).append(strand)

    def sleep(self, seconds: float) -> None:
        """Let time pass for the running strand.

        :raises Crash: its process was killed meanwhile.
        """
        strand = self.current
        self.later(seconds, lambda: self.wake(strand))
        self.wait()


def running_strand() -> Strand:
    """Return the strand that is running."""
    return cast(Strand, getcurrent().strand)


class TurnLock:
    """Stands in for the thread on which a process runs its turns: one call at a time."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._holder: Strand | None = None
        self._waiting: list[Strand] = []

    def run(self, call: Callable[[], T]) -> T:
        """Call when nobody else does, and return what the call returns."""
        me = self._hub.current
        while self._holder is not None and self._holder is not me:
            self._waiting.append(me)
            self._hub.wait()
        outer, self._holder = self._holder, me
        try:
            return call()
        finally:
            self._holder = outer
            if outer is None and self._waiting:
                self._hub.wake(self._waiting.pop(0))
