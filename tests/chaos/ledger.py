"""What activities did, read back from outside the engine."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.cluster import LEASE
from tests.chaos.members import Diary


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    :param at: seconds by the machine's monotonic clock.
    """

    pid: int
    at: float
    what: str
    run: str
    activity: str
    attempt: int


class Ledger:
    """All lines, in order, and by activity."""

    def __init__(self, path: Path) -> None:
        text = path.read_text() if path.exists() else ""
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        self.entries = sorted((Entry(**json.loads(line)) for line in lines), key=lambda entry: entry.at)
        self.by_activity: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            self.by_activity[entry.activity].append(entry)

    def count(self, what: str) -> int:
        """Return how many lines say so."""
        return sum(entry.what == what for entry in self.entries)

    def attempts(self, activity: str, what: str) -> list[int]:
        """Return the attempts of an activity of which there is such a line."""
        return [entry.attempt for entry in self.by_activity.get(activity, ()) if entry.what == what]

    def overlaps(self, diary: Diary) -> Iterator[tuple[Entry, Entry]]:
        """Yield the executions of one activity of which the second began within the lease of the first, for no reason.

        Reasons are that the first process stood still, so that it could not renew, and that a crash of the database has lost
        its claim. Half a lease is allowed for what passes between a claim and its line.
        """
        for entries in self.by_activity.values():
            for holder, entry in _pairs(entries):
                stopped = any(holder.pid in stop.pids and stop.meets(holder.at, entry.at) for stop in diary.stops)
                crashed = any(outage.meets(holder.at - LEASE, entry.at) for outage in diary.outages)
                if entry.at - holder.at < LEASE / 2 and not stopped and not crashed:
                    yield holder, entry


def _pairs(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Yield executions and those that began before they were left."""
    holder: Entry | None = None
    for entry in entries:
        if entry.what == "begun":
            if holder is not None:
                yield holder, entry
            holder = entry
        elif entry.what == "left" and holder is not None and (holder.pid, holder.attempt) == (entry.pid, entry.attempt):
            holder = None
