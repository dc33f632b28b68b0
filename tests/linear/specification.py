"""What a store promises of the runs of one workflow id, one call after the other: no clocks, no threads, a screen a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

from celeriac.orchestrator.model import CommitOutcome, CreateOutcome, DeliveryOutcome
from celeriac.orchestrator.status import TaskState, WorkflowStatus
from tests.linear.checker import UNKNOWN, Call

Turn = tuple[str, str]
"""A turn row: its state, and whose it is."""
_IDLE: Final[Turn] = (TaskState.IDLE, "")
_QUEUED: Final[Turn] = (TaskState.QUEUED, "")


@dataclass(frozen=True, slots=True)
class RunState:
    """A run, as far as the calls here can tell.

    :param keys: of all messages that ever arrived; ``inbox``, (number, key) of those not consumed.
    :param activities: (number, whose it is or "") of the rows that are there.
    """

    run_id: str
    start_key: str
    version: int = 1
    inbox_seq: int = 0
    status: str = WorkflowStatus.RUNNING
    turn: Turn = _QUEUED
    keys: frozenset[str] = frozenset()
    inbox: frozenset[tuple[int, str]] = frozenset()
    activities: frozenset[tuple[int, str]] = frozenset()

    @property
    def open(self) -> bool:
        """Whether it takes input."""
        return WorkflowStatus(self.status).open


State = tuple[RunState, ...]
"""The runs of one workflow id, in the order in which they were started."""
Outcome = tuple[Any, State]
"""An answer, and what there is after it."""


def step(state: State, call: Call) -> Iterator[State]:
    """Yield what there may be after the call, if it can have had its answer."""
    for answer, after in _CALLS[call.what](state, *call.given):
        if call.answer in (UNKNOWN, answer):
            yield after


def _put(state: State, run: RunState) -> State:
    return tuple(run if each.run_id == run.run_id else each for each in state)


def _find(state: State, run_id: str | None) -> RunState | None:
    """Return the run with this id; without one, the open run, else the latest."""
    if run_id is not None:
        return next((each for each in state if each.run_id == run_id), None)
    return next((each for each in state if each.open), state[-1] if state else None)


def _start(state: State, run_id: str, start_key: str) -> Iterator[Outcome]:
    for each in state:
        if each.start_key == start_key:
            yield (CreateOutcome.SAME_START, each.run_id), state
            return
    for each in state:
        if each.open:
            yield (CreateOutcome.OPEN_EXISTS, each.run_id), state
            return
    yield (CreateOutcome.CREATED, run_id), (*state, RunState(run_id, start_key))


def _deliver(state: State, run_id: str | None, key: str) -> Iterator[Outcome]:
    run = _find(state, run_id)
    if run is None:
        yield (DeliveryOutcome.NOT_FOUND, None, False), state
    elif key in run.keys:
        yield (DeliveryOutcome.DUPLICATE, run.run_id, False), state
    elif not run.open:
        yield (DeliveryOutcome.CLOSED, run.run_id, False), state
    else:
        arrived, wake = _arrived(run, key)
        yield (DeliveryOutcome.DELIVERED, run.run_id, wake), _put(state, arrived)


def _arrived(run: RunState, key: str) -> tuple[RunState, bool]:
    number, asleep = run.inbox_seq + 1, run.turn == _IDLE
    arrived = replace(run, inbox_seq=number, inbox=run.inbox | {(number, key)}, keys=run.keys | {key})
    return replace(arrived, turn=_QUEUED if asleep else run.turn), asleep and run.status != WorkflowStatus.PAUSED


def _settle(state: State, run_id: str, seq: int, token: str, key: str) -> Iterator[Outcome]:
    run = _find(state, run_id)
    if run is None or not run.open or (seq, token) not in run.activities:
        yield (DeliveryOutcome.REFUSED, None if run is None else run.run_id, False), state
        return
    run = replace(run, activities=run.activities - {(seq, token)})
    if key in run.keys:
        yield (DeliveryOutcome.DUPLICATE, run.run_id, False), _put(state, run)
    else:
        arrived, wake = _arrived(run, key)
        yield (DeliveryOutcome.DELIVERED, run.run_id, wake), _put(state, arrived)


def _view(run: RunState) -> tuple[Any, ...]:
    return run.status, run.version, run.inbox_seq, tuple(sorted(run.inbox))


def _begin(state: State, run_id: str, token: str) -> Iterator[Outcome]:
    run = _find(state, run_id)
    if run is None or not run.open or run.status == WorkflowStatus.PAUSED or run.turn != _QUEUED:
        yield None, state
    else:
        yield _view(run), _put(state, replace(run, turn=(TaskState.RUNNING, token)))


def _release(state: State, run_id: str, token: str) -> Iterator[Outcome]:
    run = _find(state, run_id)
    mine = run is not None and run.turn == (TaskState.RUNNING, token)
    yield mine, _put(state, replace(run, turn=_QUEUED)) if mine and run is not None else state


def _read(state: State, run_id: str) -> Iterator[Outcome]:
    run = _find(state, run_id)
    yield None if run is None else _view(run), state


def _commit(state: State, run_id: str, commit: Commitment) -> Iterator[Outcome]:
    run = _find(state, run_id)
    refused = _refusal(run, commit)
    if run is None or refused is not None:
        yield refused, state
        return
    left = frozenset(each for each in run.inbox if each[0] not in commit.consumed)
    after = replace(run, version=run.version + len(commit.consumed) + commit.more, status=commit.status, inbox=left)
    activities = {each for each in run.activities if each != commit.settles}
    if commit.schedules is not None:
        activities.add((commit.schedules, ""))
    if not after.open:  # what was not recorded goes, and nobody has ever heard of it
        keys = run.keys - {key for _, key in left}
        after = replace(after, keys=keys, inbox=frozenset(), activities=frozenset(), turn=_IDLE)
    elif run.turn[1] in {"", commit.token}:
        after = replace(after, activities=frozenset(activities), turn=_QUEUED if commit.leave_due else _IDLE)
    else:
        after = replace(after, activities=frozenset(activities))
    yield CommitOutcome.COMMITTED, _put(state, after)


@dataclass(frozen=True, slots=True)
class Commitment:
    """As much of a commit as is varied here.

    :param consumed: numbers of messages, each recorded as an event with its key; ``more``, events besides those.
    :param schedules: the number of a new activity.
    :param settles: (number, token) of the activity whose outcome is among the events.
    """

    version: int
    inbox_seq: int
    status: str
    token: str
    consumed: tuple[int, ...] = ()
    more: int = 0
    leave_due: bool = False
    schedules: int | None = None
    settles: tuple[int, str] | None = None


def _refusal(run: RunState | None, commit: Commitment) -> CommitOutcome | None:
    ended = commit.status == WorkflowStatus.TERMINATED
    if run is None or not run.open or run.version != commit.version:
        return CommitOutcome.CONFLICT
    if run.status == WorkflowStatus.PAUSED and not ended:
        return CommitOutcome.CONFLICT
    if commit.settles is not None and commit.settles not in run.activities:
        return CommitOutcome.FENCED
    if run.inbox_seq != commit.inbox_seq and not commit.leave_due:
        return CommitOutcome.INBOX_MOVED
    if not set(commit.consumed) <= {number for number, _ in run.inbox}:
        return CommitOutcome.CONFLICT
    return None


def _pause(state: State, run_id: str, status: str) -> Iterator[Outcome]:
    run = _find(state, run_id)
    if run is None:
        yield (DeliveryOutcome.NOT_FOUND, None, False), state
    elif not run.open:
        yield (DeliveryOutcome.CLOSED, run.run_id, False), state
    else:
        wake = status == WorkflowStatus.RUNNING and run.status != WorkflowStatus.RUNNING
        after = replace(run, status=status, turn=_QUEUED if wake else run.turn)
        yield (DeliveryOutcome.DELIVERED, run.run_id, wake), _put(state, after)


def _claim(state: State, run_id: str, seq: int, token: str) -> Iterator[Outcome]:
    run = _find(state, run_id)
    if run is None or not run.open or (seq, "") not in run.activities:
        yield False, state
    else:
        yield True, _put(state, replace(run, activities=run.activities - {(seq, "")} | {(seq, token)}))


def _delete(state: State) -> Iterator[Outcome]:
    if any(run.open for run in state):
        yield None, state
    else:
        yield len(state), ()


def _purge(state: State) -> Iterator[Outcome]:
    # A run that somebody else holds may be passed over.
    closed = [run for run in state if not run.open]
    for count in range(len(closed), -1, -1):
        for gone in combinations(closed, count):
            yield count, tuple(run for run in state if run not in gone)


_CALLS: Final[dict[str, Callable[..., Iterator[Outcome]]]] = {
    "start": _start,
    "deliver": _deliver,
    "settle": _settle,
    "begin": _begin,
    "release": _release,
    "read": _read,
    "commit": _commit,
    "pause": _pause,
    "claim": _claim,
    "delete": _delete,
    "purge": _purge,
}
