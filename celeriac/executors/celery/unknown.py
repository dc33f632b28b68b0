"""Messages of celeriac for tasks that this worker does not have: left to a worker that has them, instead of failed."""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from typing import Any, Final

from celery import bootsteps

from celeriac.executors.celery.headers import ActivityTicket, WorkflowTicket, ticket_in

_LOG: Final = logging.getLogger("celeriac.worker")

FIRST: Final = 0.1
MOST: Final = 10.0
"""Seconds that such a message is held before it is put back: the first time, and at most."""
GROWTH: Final = 1.25
"""By how much longer each time. Not by much, because chance alone may lead a message to the wrong one of two workers many
times in a row.
"""
REMEMBERED: Final = 10_000
"""How many of them are remembered; one that is forgotten begins anew."""


class LeaveToOthers(bootsteps.Step):
    """Puts the messages back after a while, so that a worker of another release finds them, and no result says they failed."""

    name = "celeriac-unknown"

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        self._original = consumer.on_unknown_task
        self._times: OrderedDict[str, int] = OrderedDict()
        self._held: set[str] = set()
        self._told: set[str] = set()
        consumer.on_unknown_task = self._on_unknown_task

    def _on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        headers = message.headers or {}
        ticket = ticket_in(headers)
        if isinstance(ticket, (ActivityTicket, WorkflowTicket)) and "id" in headers:
            self._leave(headers["id"], headers.get("task", ""), message)
        else:
            self._original(body, message, exc)

    def _leave(self, task_id: str, name: str, message: Any) -> None:
        if name not in self._told:
            self._told.add(name)
            _LOG.warning("this worker has no task %r; its messages are left for one that has", name)
        if task_id in self._held:  # sent again while the first is here: one of them will do
            message.ack()
            return
        times = self._times.pop(task_id, 0) + 1
        self._times[task_id] = times
        if len(self._times) > REMEMBERED:
            self._times.popitem(last=False)
        self._held.add(task_id)
        delay = min(FIRST * GROWTH ** min(times - 1, 100), MOST) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._consumer.qos.increment_eventually()  # it takes no place of a message that can be worked on
        self._consumer.timer.call_after(delay, self._put_back, (task_id, message))

    def _put_back(self, task_id: str, message: Any) -> None:
        self._held.discard(task_id)
        self._consumer.qos.decrement_eventually()
        try:
            message.requeue()
        except Exception:  # noqa: BLE001 - a lost connection gives back all that is unacknowledged
            _LOG.debug("message of %s is given back by the broker", task_id, exc_info=True)
