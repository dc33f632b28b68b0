"""Histories as the tests write them down: each event's type and its details, without what differs from run to run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from celeriac.orchestrator.events import HistoryEvent

Line = tuple[str, dict[str, Any]]
Story = list[Line]

_DIFFERS: Final = frozenset({"seed", "started_at", "worker", "sent_at", "fire_at", "options"})


def story(history: Iterable[HistoryEvent]) -> Story:
    """Return a history as it can be compared."""
    return [(each.type, {k: v for k, v in each.data.items() if k not in _DIFFERS}) for each in history]


def started(workflow: str, *args: Any) -> Line:
    """A run begins."""
    return "workflow_started", {"workflow": workflow, **({"args": list(args)} if args else {})}


def done(command: int, number: int, *, attempt: int = 1, name: str = "step") -> Story:
    """Step ``number`` is scheduled as the given command, and the given attempt brings its result."""
    return [scheduled(command, number, name), *outcome(command, number, attempt=attempt)]


def scheduled(command: int, number: int, name: str = "step") -> Line:
    """Step ``number`` is scheduled."""
    return "activity_scheduled", {"command": command, "activity": name, "args": [number]}


def outcome(command: int, number: int, *, attempt: int = 1) -> Story:
    """The given attempt of a step brings its result."""
    count = {} if attempt == 1 else {"attempt": attempt}
    return [
        ("activity_started", {"activity": command, **count}),
        ("activity_completed", {"activity": command, "result": number * number}),
    ]


def signal(payload: Any, *, early: bool = False, sender_id: str = "") -> Line:
    """A parcel comes."""
    extra = {**({"early": True} if early else {}), **({"sender_id": sender_id} if sender_id else {})}
    return "signal_received", {"name": "parcel", "payload": payload, **extra}


def slept(command: int) -> Story:
    """A timer is started, and fires."""
    return [("timer_started", {"command": command}), ("timer_fired", {"timer": command})]


def completed(command: int, result: Any) -> Line:
    """The run ends well."""
    return "workflow_completed", {"command": command, "result": result}


def story_of_steps(count: int, *, attempts: dict[int, int] | None = None, workflow: str = "steps") -> Story:
    """Return the story of a run of ``steps``, ``row`` or ``quick_row``.

    :param attempts: which attempt brought the result of a step, where that was not the first.
    """
    found = attempts or {}
    told = [started(workflow, count)]
    name = "quick" if workflow == "quick_row" else "step"
    for number in range(count):
        told += done(number + 1, number, attempt=found.get(number, 1), name=name)
    return [*told, completed(count + 1, result_of_steps(count, workflow))]


def result_of_steps(count: int, workflow: str = "steps") -> Any:
    """Return the result of a run of ``steps``, ``row`` or ``quick_row``."""
    squares: Sequence[int] = [number * number for number in range(count)]
    return squares if workflow == "steps" else sum(squares)
