"""What the in-memory store holds, and the indexes over it. Nothing here locks: the store does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, TypeVar

from celeriac.frozen import changed
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import InboxItem, Message, Micros, Run, Task
from celeriac.orchestrator.status import TaskKind
from celeriac.payloads import from_text, to_text
from celeriac.stores import rows

R = TypeVar("R", Run, Task, HistoryEvent, Message)
Place = tuple[Micros, str, TaskKind, int]
"""A row's place in the order of due times: when, and the row's key."""

_JSON_FIELDS: Final[Mapping[type, tuple[str, ...]]] = {
    Run: ("input", "result", "failure", "memo", "attributes", "blocked", "origin"),
    Task: ("data", "details", "failure"),
    HistoryEvent: ("data",),
    Message: ("data",),
}


def copy(row: R) -> R:
    """Send a row's JSON through text, so that nothing is shared.

    :raises TypeError: a value that JSON can't hold.
    """
    values = {name: getattr(row, name) for name in _JSON_FIELDS[type(row)]}
    return changed(row, **{name: from_text(to_text(value)) for name, value in values.items() if value is not None})


def copy_item(item: InboxItem) -> InboxItem:
    """Do the same for what waits in an inbox."""
    return InboxItem(item.number, copy(item.message), item.at)


@dataclass(slots=True)
class Entry:
    """A run with all that belongs to it; every row in it is the store's own."""

    run: Run
    events: list[HistoryEvent] = field(default_factory=list)
    inbox: dict[int, InboxItem] = field(default_factory=dict)
    tasks: dict[tuple[TaskKind, int], Task] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    """The keys of the recorded events."""
    arrived: set[str] = field(default_factory=set)
    """The keys of what waits in the inbox."""

    def __post_init__(self) -> None:
        self.arrived.update(item.message.key for item in self.inbox.values())

    def receive(self, item: InboxItem) -> None:
        """Put a message into the inbox."""
        self.inbox[item.number] = item
        self.arrived.add(item.message.key)

    def consume(self, number: int) -> None:
        """Take a message out of the inbox."""
        item = self.inbox.pop(number, None)
        if item is not None:
            self.arrived.discard(item.message.key)

    def close(self) -> None:
        """Drop all that is left to do."""
        self.inbox.clear()
        self.arrived.clear()
        self.tasks.clear()

    def record(self, events: Sequence[HistoryEvent]) -> None:
        """Append to the history."""
        self.events += events
        self.keys.update(event.key for event in events if event.key is not None)

    def has_seen(self, key: str) -> bool:
        """Whether a message with this key waits in the inbox or has been recorded."""
        return key in self.keys or key in self.arrived


class Shelf:
    """Entries by run id, with the indexes that a database would have."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.open: dict[tuple[str, str], str] = {}
        """Run ids of open runs by namespace and workflow id: one each."""
        self.starts: dict[tuple[str, str], str] = {}
        """Run ids by namespace and start key."""
        self._by_id: dict[tuple[str, str], list[str]] = {}
        self._due: dict[str, list[Place]] = {}
        """Heaps by namespace. A place counts while the row's ``due_at`` is still the one it names."""

    def add(self, entry: Entry, events: Sequence[HistoryEvent], tasks: Sequence[Task]) -> None:
        """Take in a run that is not there yet."""
        run = entry.run
        entry.record(events)
        self.entries[run.run_id] = entry
        self._by_id.setdefault((run.namespace, run.workflow_id), []).append(run.run_id)
        if run.status.open:
            self.open[run.namespace, run.workflow_id] = run.run_id
        if run.start_key:
            self.starts[run.namespace, run.start_key] = run.run_id
        for task in tasks:
            self.put(entry, task)

    def remove(self, entry: Entry) -> None:
        """Drop a run and all that belongs to it."""
        run = entry.run
        del self.entries[run.run_id]
        siblings = self._by_id[run.namespace, run.workflow_id]
        siblings.remove(run.run_id)
        if not siblings:
            del self._by_id[run.namespace, run.workflow_id]
        if run.status.open:
            del self.open[run.namespace, run.workflow_id]
        self.starts.pop((run.namespace, run.start_key), None)

    def put(self, entry: Entry, row: Task) -> None:
        """Write a task row, new or changed."""
        key = (row.kind, row.seq)
        before = entry.tasks.get(key)
        entry.tasks[key] = row
        if row.due_at is not None and (before is None or before.due_at != row.due_at):
            heappush(self._due.setdefault(entry.run.namespace, []), (row.due_at, row.run_id, *key))

    def row(self, run_id: str, kind: TaskKind, seq: int) -> tuple[Entry, Task] | tuple[None, None]:
        """Return a task row with its run's entry, or two Nones."""
        entry = self.entries.get(run_id)
        row = entry.tasks.get((kind, seq)) if entry else None
        return (None, None) if entry is None or row is None else (entry, row)

    def find(self, namespace: str, workflow_id: str | None, run_id: str | None) -> Entry | None:
        """Return the run with this run id, or else the latest with this workflow id."""
        if run_id is None:
            return None if workflow_id is None else self.latest(namespace, workflow_id)
        entry = self.entries.get(run_id)
        return entry if entry is not None and entry.run.namespace == namespace else None

    def latest(self, namespace: str, workflow_id: str) -> Entry | None:
        """Return the open run with this workflow id, else the one created last."""
        entries = [self.entries[run_id] for run_id in self.runs(namespace, workflow_id)]
        entries.reverse()  # of runs created in the same microsecond max() is to find the one added last
        return max(entries, key=lambda each: (each.run.status.open, each.run.created_at), default=None)

    def runs(self, namespace: str, workflow_id: str) -> Sequence[str]:
        """Return the run ids of all runs with this workflow id, in the order in which they were added."""
        return tuple(self._by_id.get((namespace, workflow_id), ()))

    def next_due(self, namespace: str) -> Micros | None:
        """Return the earliest due time of the rows that relays may take."""
        heap = self._due.get(namespace, [])
        while heap:
            due_at, run_id, kind, seq = heap[0]
            entry, row = self.row(run_id, kind, seq)
            if entry is None or row is None or row.due_at != due_at:
                heappop(heap)
            elif rows.served(entry.run, kind):
                return due_at
            else:  # a paused run's row stays in the front, and has to be passed over
                with self.waiting(namespace) as waiting:
                    return next((each.due_at for _, each in waiting), None)
        return None

    @contextmanager
    def waiting(self, namespace: str) -> Iterator[Iterator[tuple[Entry, Task]]]:
        """Go through the rows that relays may take, the earliest first; their places are put back."""
        heap = self._due.setdefault(namespace, [])
        passed: set[Place] = set()

        def walk() -> Iterator[tuple[Entry, Task]]:
            while heap:
                place = heappop(heap)
                due_at, run_id, kind, seq = place
                entry, row = self.row(run_id, kind, seq)
                if entry is None or row is None or row.due_at != due_at or place in passed:
                    continue
                passed.add(place)
                if rows.served(entry.run, kind):
                    yield entry, row

        try:
            yield walk()
        finally:
            for place in passed:
                heappush(heap, place)
