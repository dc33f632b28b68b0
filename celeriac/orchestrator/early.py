"""Hints that go out while the commit that they tell of is on its way: the next worker has its message by the time it may begin.

A step waits for the disk, and for the broker. One after the other they are most of what a step takes when nothing else is
going on. A hint promises nothing, so that it may be wrong about the commit: whoever takes it claims the activity, and a claim
finds what has been committed and nothing else. Three things follow.

- The claim may come too early. It is tried again for :data:`PATIENCE`, until the run is at the version that the hint tells of.
- The commit may take longer than that. Then the hints go out once more when it has come through.
- The commit may be refused, and another one may want something else under the same number. The hint bears a mark of what it is
  about (:func:`mark_of`), since its message has that activity's options, and a claim of anything else is given back. Whoever dies
  before that has used an attempt up, which is why an activity with a single one is not told of early.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from celeriac.orchestrator.model import Commit, RunRef, Task
from celeriac.orchestrator.ports import ActivityReady, Early
from celeriac.orchestrator.status import TaskKind
from celeriac.payloads import Json, to_text

MOST: Final = 4
"""With more activities than this the commit takes long enough for workers to come too early."""
PATIENCE: Final = 0.25
"""Seconds for which a claim is tried that may have come too early."""
FIRST_PAUSE: Final = 0.001
"""Seconds after the first try; doubled each time."""


def mark_of(data: Mapping[str, Json], queue: str | None) -> int:
    """Return a number that tells what a task row holds from anything else, as good as certainly."""
    return zlib.crc32(to_text([data, queue]).encode())


class EarlyHints:
    """The hints of one commit. Calling it makes and publishes them, the first time.

    :param publish: says whether they are out.
    :param clock: seconds, of any beginning.
    """

    __slots__ = ("_at", "_clock", "_commit", "_publish", "_ref", "_told")

    def __init__(
        self,
        ref: RunRef,
        commit: Commit,
        publish: Callable[[Sequence[ActivityReady]], bool],
        clock: Callable[[], float],
    ) -> None:
        self._ref = ref
        self._commit = commit
        self._publish = publish
        self._clock = clock
        self._at: float | None = None
        self._told = False

    def __call__(self) -> None:
        """Publish them, if that has not been tried."""
        if self._at is None:
            self._at = self._clock()
            self._told = self._publish(self._hints())

    def _hints(self) -> Sequence[ActivityReady]:
        version = self._commit.version + len(self._commit.events)
        return [
            ActivityReady(
                self._ref,
                task.seq,
                task.attempt,
                task.data,
                task.queue,
                early=Early(version, mark_of(task.data, task.queue)),
            )
            for task in _activities(self._commit)
        ]

    def were_in_time(self) -> bool:
        """Whether they are out, and who has taken one and found nothing to be claimed is still trying."""
        return self._told and self._at is not None and self._clock() - self._at < PATIENCE / 2


def may_be_early(commit: Commit) -> bool:
    """Whether a commit has hints, and they may go out before it has come through."""
    tasks = _activities(commit)
    return commit.status.open and 0 < len(tasks) <= MOST and all(task.repeatable for task in tasks)


def _activities(commit: Commit) -> Sequence[Task]:
    return [task for task in commit.tasks if task.kind is TaskKind.ACTIVITY]
