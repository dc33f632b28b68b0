"""The relay: looks at what is due in the store and was lost or is late, and makes it happen again.

One thread a worker calls :meth:`Relay.tick`. Whatever a tick does is guarded by the store, so any number of
relays may run.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Final

from celeriac.activities.options import ActivityOptions
from celeriac.crashes import CrashPoint, passing
from celeriac.durations import Duration, seconds
from celeriac.orchestrator.attempts import Attempts, overdue_failure, schedule_to_close_failure, timeout_failure
from celeriac.orchestrator.model import SECOND, DueTask, Fence, Message, Micros, Task, micros
from celeriac.orchestrator.ports import ActivityReady, Hint, RunFinished, TurnReady
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState

_LOG: Final = logging.getLogger("celeriac.relay")

BACKOFF_FIRST: Final = 30.0
BACKOFF_MOST: Final = 600.0
"""Seconds between publications of a row that nobody claims: the first time, and at most."""
SPARE: Final = 2
"""How many rows one tick publishes again into a queue that has a backlog, though nothing says that they were lost."""

_Due = tuple[Task, Hint, Micros]
"""A row that is to be published, its hint, and the store's time."""


class Relay:
    """Publishes again, fires and times out what is due in one namespace.

    :param batch: how many rows one tick takes.
    :param republish_max: how long a row that nobody claims waits at most before it is published again.
    :param hold: how long a taken row stays out of other relays' sight (timedelta or seconds).
    """

    def __init__(
        self,
        attempts: Attempts,
        *,
        namespace: str,
        batch: int = 100,
        hold: Duration = 5.0,
        republish_max: Duration = BACKOFF_MOST,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._most = seconds(republish_max, name="republish_max", positive=True)
        self.attempts = attempts
        self.engine = attempts.engine
        self.store = attempts.store
        self.namespace = namespace
        self.batch = batch
        self._hold = micros(seconds(hold, name="hold", positive=True))
        self._first_look = seconds(attempts.settings.republish_after, name="republish_after")
        self._draw = draw
        self._backlogs: dict[str | None, tuple[Micros, int]] = {}
        self._spared: dict[str | None, int] = {}
        """How many rows of a queue were published all the same since its backlog was last asked for."""

    def tick(self) -> int:
        """Handle what is due, at most one batch, and return how many rows that were."""
        rows = self.store.take_due(self.namespace, limit=self.batch, hold=self._hold)
        if rows:
            passing(CrashPoint.RELAY_CLAIMED)
        hints: list[_Due] = []
        for row in rows:
            try:
                hint = _HANDLE[row.task.kind](self, row)
            except Exception:  # noqa: BLE001 - one row must not keep the others waiting
                _LOG.exception("row %s %s of run %s could not be handled", row.task.kind, row.task.seq, row.task.run_id)
                continue
            if hint is not None:
                hints.append((row.task, hint, row.now))
        self._publish(hints)
        return len(rows)

    def next_due(self) -> Micros | None:
        """Return when the next row falls due."""
        return self.store.next_due(self.namespace)

    def _publish(self, hints: list[_Due]) -> None:
        """Publish what was never published, or is likely to be lost; put off what may only have to wait its turn."""
        queues: dict[str | None, list[_Due]] = {}
        for task, hint, now in hints:
            queues.setdefault(_queue(task, hint), []).append((task, hint, now))
        chosen: list[_Due] = []
        for queue, due in queues.items():
            waiting = [each for each in due if each[0].published]
            lost = self._lost(queue, waiting, self._backlog(queue, due[0][2])) if waiting else []
            chosen += [each for each in due if not each[0].published] + lost
            for task, _, now in waiting:
                if not any(task is each[0] for each in lost):
                    self._put_off(task, now)
        # A row that could not be published stays as it was taken: it is due again when the hold is over.
        if chosen and self.engine.publish([hint for _, hint, _ in chosen]):
            for task, _, now in chosen:
                self.store.postpone(task, delay=self._until(task, now), published=task.published + 1)

    def _lost(self, queue: str | None, waiting: list[_Due], backlog: int) -> list[_Due]:
        """Choose of the rows that were published before those to publish again.

        A backlog is not a loss. But where more rows wait than messages do, some messages are gone; and since messages of
        others may hide that for ever, a few rows that have been put off before are published all the same: so few in a
        second, however many ticks that is, that an overloaded system does not flood itself.
        """
        missing = len(waiting) - backlog
        if missing > 0:
            return waiting[: max(missing, SPARE)]
        spare = SPARE - self._spared.get(queue, 0)
        spared = [each for each in waiting if each[0].published % 2 == 0][:spare]
        self._spared[queue] = self._spared.get(queue, 0) + len(spared)
        return spared

    def _put_off(self, task: Task, now: Micros) -> None:
        """Look at a row again later; an even number of looks says that it has been put off since it was published."""
        looks = 1 if task.published % 2 else 2
        delay = self._jittered(self._first_look * 2.0 ** min(task.published // 2, 10))
        self.store.postpone(task, delay=self._within(task, now, delay), published=task.published + looks)

    def _backlog(self, queue: str | None, now: Micros) -> int:
        """Return how much waits in a queue, as of when a series of ticks began: what they publish themselves is no backlog."""
        asked_at, backlog = self._backlogs.get(queue, (0, 0))
        if now - asked_at >= SECOND:
            try:
                backlog = self.engine.dispatcher.backlog(queue) or 0
            except Exception:  # noqa: BLE001 - a broker that can't say counts as one that holds nothing
                backlog = 0
            self._backlogs[queue] = (now, backlog)
            self._spared[queue] = 0
        return backlog

    def _until(self, task: Task, now: Micros) -> Micros:
        return self._within(task, now, self._jittered(BACKOFF_FIRST * 2.0 ** min(task.published // 2, 10)))

    def _jittered(self, delay: float) -> Micros:
        return micros(min(delay, self._most) * (1 - 0.2 * self._draw()))

    @staticmethod
    def _within(task: Task, now: Micros, delay: Micros) -> Micros:
        deadlines = [each for each in (task.schedule_to_start_by, task.schedule_to_close_by) if each is not None]
        return max(min([delay, *(each - now for each in deadlines)]), 0)

    # -- by kind -------------------------------------------------------------------------------------------------------

    def _turn(self, row: DueTask) -> Hint | None:
        return TurnReady(row.run)

    def _finish(self, row: DueTask) -> Hint | None:
        return RunFinished(row.run, row.origin)

    def _timer(self, row: DueTask) -> Hint | None:
        task = row.task
        message = Message(MessageKind.TIMER, f"timer:{task.seq}", {"timer": task.seq})
        passing(CrashPoint.TIMER_DUE)
        delivery = self.store.settle(_fence(task), message)
        passing(CrashPoint.TIMER_FIRED)
        self.engine.delivered(delivery)
        return None

    def _timeout(self, row: DueTask) -> Hint | None:
        message = Message(MessageKind.TIMEOUT, "timeout", {})
        self.engine.delivered(self.store.settle(_fence(row.task), message))
        return None

    def _activity(self, row: DueTask) -> Hint | None:
        task = row.task
        options = ActivityOptions.from_json(task.data.get("options", {}))
        if task.schedule_to_close_by is not None and task.schedule_to_close_by <= row.now:
            self.attempts.timed_out(task, _fence(task), schedule_to_close_failure(options))
            return None
        if task.state is TaskState.QUEUED:
            return self._queued(row, options)
        failure = overdue_failure(task, row.now)
        if failure is not None:
            self.attempts.failed(task, row.run, _fence(task), failure, now=row.now)
        return None

    def _queued(self, row: DueTask, options: ActivityOptions) -> Hint | None:
        task = row.task
        if task.cancel_requested:
            self.attempts.canceled(task, _fence(task))
            return None
        if task.schedule_to_start_by is not None and task.schedule_to_start_by <= row.now:
            limit = options.schedule_to_start or 0
            failure = timeout_failure("schedule_to_start", f"no worker took it within {limit:g} s")
            self.attempts.timed_out(task, _fence(task), failure)
            return None
        return ActivityReady(row.run, task.seq, task.attempt, task.data, task.queue)


def _fence(task: Task) -> Fence:
    return Fence(task.run_id, task.kind, task.seq, task.token or "")


def _queue(task: Task, hint: Hint) -> str | None:
    return task.queue if isinstance(hint, ActivityReady) else hint.run.queue


_HANDLE: Final[dict[TaskKind, Callable[[Relay, DueTask], Hint | None]]] = {
    TaskKind.TURN: Relay._turn,  # noqa: SLF001 - its own table
    TaskKind.ACTIVITY: Relay._activity,  # noqa: SLF001
    TaskKind.TIMER: Relay._timer,  # noqa: SLF001
    TaskKind.TIMEOUT: Relay._timeout,  # noqa: SLF001
    TaskKind.FINISH: Relay._finish,  # noqa: SLF001
}
