"""What a history is made of: events, past tense, frozen, each with a stable tag and a version.

Three sorts, told apart by their base class:

* an :class:`Input` comes from outside and makes the workflow's code go on: it opens a *step*;
* an :class:`Effect` records a command that the code issued while that input was applied, in program order;
* a :class:`Note` is for people who read the history; replay passes over it.

Tags and field names are written to databases and stay as they are; ``tests/runtime/golden`` holds one of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Final, TypeVar

from celeriac.errors import CeleriacError
from celeriac.frozen import quick
from celeriac.payloads import Json

E = TypeVar("E", bound="type[Event]")
Upcast = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Event:
    """A fact in a run's history."""

    tag: ClassVar[str] = ""
    version: ClassVar[int] = 1
    upcasts: ClassVar[Mapping[int, Upcast]] = {}

    def data(self) -> dict[str, Json]:
        """Return the fields as JSON, defaults left out."""
        found = {}
        for name, default in _DEFAULTS[type(self)]:
            value = getattr(self, name)
            if value != default or default is MISSING:
                found[name] = value
        return found


@dataclass(frozen=True, slots=True)
class Input(Event):
    """An event that makes the code go on."""


@dataclass(frozen=True, slots=True)
class Effect(Event):
    """An event that records a command; ``command`` is its number in program order."""

    command: int


@dataclass(frozen=True, slots=True)
class Close(Effect):
    """An effect that ends the run."""


@dataclass(frozen=True, slots=True)
class Note(Event):
    """An event that only people read."""


_KINDS: Final[dict[str, type[Event]]] = {}
_DEFAULTS: Final[dict[type[Event], tuple[tuple[str, Any], ...]]] = {}


def _event(tag: str, version: int = 1) -> Callable[[E], E]:
    def declare(kind: E) -> E:
        kind.tag = tag
        kind.version = version
        quick(kind)
        _KINDS[tag] = kind
        _DEFAULTS[kind] = tuple(
            (each.name, each.default if each.default_factory is MISSING else each.default_factory())
            for each in fields(kind)
        )
        return kind

    return declare


# --- inputs ---------------------------------------------------------------------------------------------------------


@_event("workflow_started")
@dataclass(frozen=True, slots=True)
class WorkflowStarted(Input):
    """The run exists. Its arguments, and what its own random numbers are seeded with."""

    workflow: str
    definition_version: str = ""
    args: list[Json] = field(default_factory=list)
    kwargs: dict[str, Json] = field(default_factory=dict)
    seed: str = ""
    timeout: float | None = None
    """Seconds the run may take, or None."""


@_event("signal_received")
@dataclass(frozen=True, slots=True)
class SignalReceived(Input):
    """A signal, in the order of its arrival among signals and updates."""

    name: str
    payload: Json = None
    sender_id: str = ""
    sent_at: float | None = None
    early: bool = False
    """It opens no step of its own but belongs to the one that the input before it opened: it came before the first turn, and is
    in the buffer when the function starts; or the signal before it closes the run, which must not close over this one."""


@_event("activity_completed")
@dataclass(frozen=True, slots=True)
class ActivityCompleted(Input):
    """The activity that command number ``activity`` scheduled returned ``result``."""

    activity: int
    result: Json = None


@_event("activity_failed")
@dataclass(frozen=True, slots=True)
class ActivityFailed(Input):
    """The activity ended without a result: its attempts are used up, or another would not help."""

    activity: int
    failure: dict[str, Json]
    attempts: int = 1


@_event("activity_canceled")
@dataclass(frozen=True, slots=True)
class ActivityCanceled(Input):
    """The activity was canceled, and that was waited for."""

    activity: int
    details: Json = None


@_event("local_activity_completed")
@dataclass(frozen=True, slots=True)
class LocalActivityCompleted(Input):
    """The local activity that is command number ``command`` returned ``result``. This one event is all there is of the call."""

    command: int
    activity: str
    result: Json = None
    args: list[Json] = field(default_factory=list)
    kwargs: dict[str, Json] = field(default_factory=dict)
    attempts: int = 1


@_event("local_activity_failed")
@dataclass(frozen=True, slots=True)
class LocalActivityFailed(Input):
    """The local activity ended without a result: its attempts are used up, or another would not help."""

    command: int
    activity: str
    failure: dict[str, Json]
    args: list[Json] = field(default_factory=list)
    kwargs: dict[str, Json] = field(default_factory=dict)
    attempts: int = 1


@_event("local_activity_delayed")
@dataclass(frozen=True, slots=True)
class LocalActivityDelayed(Input):
    """So many attempts have failed; another follows in a later turn, when the timer of the call's own number has fired."""

    command: int
    activity: str
    attempts: int
    failure: dict[str, Json]
    retry_at: int
    """Microseconds since the epoch."""


@_event("timer_fired")
@dataclass(frozen=True, slots=True)
class TimerFired(Input):
    """The timer that command number ``timer`` started is due; or the next attempt of the local activity of that number."""

    timer: int


@_event("cancel_requested")
@dataclass(frozen=True, slots=True)
class CancelRequested(Input):
    """Somebody asked the run to stop. Its code decides how."""

    reason: str = ""


# --- effects --------------------------------------------------------------------------------------------------------


@_event("activity_scheduled")
@dataclass(frozen=True, slots=True)
class ActivityScheduled(Effect):
    """An activity is to be run; ``options`` are the ones in force (see ``ActivityOptions.to_json``)."""

    activity: str
    args: list[Json] = field(default_factory=list)
    kwargs: dict[str, Json] = field(default_factory=dict)
    options: dict[str, Json] = field(default_factory=dict)


@_event("activity_cancel_requested")
@dataclass(frozen=True, slots=True)
class ActivityCancelRequested(Effect):
    """The workflow gave up on the activity that command number ``activity`` scheduled."""

    activity: int
    reason: str = ""


@_event("timer_started")
@dataclass(frozen=True, slots=True)
class TimerStarted(Effect):
    """A timer runs until ``fire_at``, in microseconds since the epoch."""

    fire_at: int


@_event("timer_canceled")
@dataclass(frozen=True, slots=True)
class TimerCanceled(Effect):
    """The timer that command number ``timer`` started is no longer waited for."""

    timer: int


@_event("side_effect_recorded")
@dataclass(frozen=True, slots=True)
class SideEffectRecorded(Effect):
    """What ``ctx.side_effect`` returned, for every replay to come."""

    value: Json = None


@_event("patch_marked")
@dataclass(frozen=True, slots=True)
class PatchMarked(Effect):
    """The run took the new side of ``ctx.patched(patch)``."""

    patch: str


@_event("workflow_completed")
@dataclass(frozen=True, slots=True)
class WorkflowCompleted(Close):
    """The workflow function returned."""

    result: Json = None


@_event("workflow_failed")
@dataclass(frozen=True, slots=True)
class WorkflowFailed(Close):
    """The workflow function raised."""

    failure: dict[str, Json]


@_event("workflow_canceled")
@dataclass(frozen=True, slots=True)
class WorkflowCanceled(Close):
    """The workflow function let its cancellation through."""

    reason: str = ""


# --- notes and ends from outside --------------------------------------------------------------------------------------


@_event("activity_started")
@dataclass(frozen=True, slots=True)
class ActivityStarted(Note):
    """The attempt that brought the outcome which follows: its number, where it ran and since when (microseconds)."""

    activity: int
    attempt: int = 1
    worker: str = ""
    started_at: int = 0


@_event("signal_rejected")
@dataclass(frozen=True, slots=True)
class SignalRejectedEvent(Note):
    """A signal that does not fit what the workflow declares; its code never saw it."""

    name: str
    reason: str
    payload: Json = None
    sender_id: str = ""


@_event("warning_recorded")
@dataclass(frozen=True, slots=True)
class WarningRecorded(Note):
    """Something the workflow's author should know, such as a task whose exception nobody awaited."""

    message: str


@_event("workflow_timed_out")
@dataclass(frozen=True, slots=True)
class WorkflowTimedOut(Note):
    """The run's time was up; none of its code ran."""

    timeout: float = 0.0


@_event("workflow_terminated")
@dataclass(frozen=True, slots=True)
class WorkflowTerminated(Note):
    """The run was ended from outside; none of its code ran."""

    reason: str = ""


# --- the recorded form ----------------------------------------------------------------------------------------------


class UnreadableHistory(CeleriacError, ValueError):
    """A recorded event that this version of celeriac can't read."""


@quick
@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """An event at its place in a history, as stores keep it.

    :param number: its place, counted from 1 without gaps.
    :param type: the event's tag.
    :param at: the store's clock when its turn took it up, in microseconds since the epoch; never decreases.
    :param data: the event's fields as JSON.
    :param version: the version of the fields' meaning.
    :param key: for signals and other deliveries that a sender may repeat: what makes them the same; unique in the run.
    """

    number: int
    type: str
    at: int
    data: dict[str, Json]
    version: int = 1
    key: str | None = None

    @classmethod
    def of(cls, number: int, at: int, event: Event, key: str | None = None) -> HistoryEvent:
        """Put an event into its recorded form."""
        return cls(number, event.tag, at, event.data(), event.version, key)

    def event(self) -> Event:
        """Read the recorded form back.

        :raises UnreadableHistory: an unknown tag, a later version, or fields that don't fit.
        """
        return decode(self.type, self.version, self.data)


def decode(tag: str, version: int, data: dict[str, Json]) -> Event:
    """Make the event that a tag, a version and its recorded fields stand for; older versions are upcast.

    :raises UnreadableHistory: an unknown tag, a later version, or fields that don't fit.
    """
    kind = kind_of(tag)
    while version < kind.version:
        data = kind.upcasts[version](data)
        version += 1
    if version > kind.version:
        raise UnreadableHistory(f"history holds {tag!r} of version {version}; this celeriac reads up to {kind.version}")
    try:
        return kind(**data)
    except TypeError as error:
        raise UnreadableHistory(f"history holds a {tag!r} whose fields don't fit: {error}") from None


def kind_of(tag: str) -> type[Event]:
    """Return the class that a tag stands for.

    :raises UnreadableHistory: an unknown tag.
    """
    kind = _KINDS.get(tag)
    if kind is None:
        raise UnreadableHistory(f"history holds an event {tag!r}, which this version of celeriac does not know")
    return kind


def known_tags() -> tuple[str, ...]:
    """Return every event tag, in the order of declaration."""
    return tuple(_KINDS)
