"""What happened in a world, in order: decisions of the scheduler, calls of ports, faults."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from celeriac.orchestrator.model import SECOND, Claim, Commit, Created, Delivery, Micros, TurnView
from celeriac.testing.simulate.scheduler import Strand

SHOWN: Final = 60
"""How many of the last lines are kept."""
_WIDE: Final = 160

Line = tuple[Micros, Strand | None, str, Any, Any]
"""When, who, what was done, with what, and what came of it."""


class Trace:
    """The last lines, or all of them.

    :param start: the time from which the lines count.
    :param whole: keep all lines.
    """

    def __init__(self, start: Micros, *, whole: bool = False) -> None:
        self._start = start
        self._lines: deque[Line] = deque(maxlen=None if whole else SHOWN)
        self.keep = self._lines.append

    def lines(self) -> list[str]:
        """Return the lines as text."""
        return [self._text(each) for each in self._lines]

    def _text(self, line: Line) -> str:
        now, strand, what, given, came = line
        process, doing = ("", "") if strand is None else (strand.process.name, strand.name)
        arrow = "" if came is None else f" -> {_brief(came)}"
        told = "" if given is None else f"({', '.join(map(_brief, given))})"
        seconds = (now - self._start) / SECOND
        return f"{seconds:>14.6f} {process:<9} {doing:<22} {what}{told}{arrow}"[:_WIDE]


def _brief(value: Any) -> str:
    tell = _TELL.get(type(value))
    return tell(value) if tell is not None else str(value)[:48]


def _commit(commit: Commit) -> str:
    events = " ".join(each.type for each in commit.events)
    due = " leave_due" if commit.leave_due else ""
    return f"v{commit.version} seen={commit.inbox_seq} -{list(commit.consumed)} {commit.status}{due}: {events}"


def _view(view: TurnView) -> str:
    numbers = [f"{each.number}:{each.message.key}" for each in view.inbox]
    return f"v{view.run.version} seq={view.run.inbox_seq} {view.run.status} claims={view.claims} inbox={numbers}"


def _delivery(delivery: Delivery) -> str:
    return f"{delivery.outcome}{' wake' if delivery.wake else ''}"


def _claim(claim: Claim) -> str:
    return f"claim of {claim.task.seq} attempt {claim.task.attempt}"


def _created(created: Created) -> str:
    return str(created.outcome)


_TELL: Final[dict[type, Callable[[Any], str]]] = {
    Commit: _commit,
    TurnView: _view,
    Delivery: _delivery,
    Claim: _claim,
    Created: _created,
}
