"""Which queue a task's messages go to, and which of them this worker serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery


def queue_of(app: Celery, name: str, options: Mapping[str, Any] | None = None) -> str | None:
    """Return the name of the queue that Celery's routing chooses for a task, or None for a bare exchange."""
    given = dict(options or {})
    task = app.tasks.get(name)
    preset = task._get_exec_options() if task is not None else {}  # noqa: SLF001 - what apply_async itself asks for
    wanted = {**{key: value for key, value in preset.items() if key in _ROUTING and value}, **given}
    route = app.amqp.router.route({k: v for k, v in wanted.items() if k in _ROUTING}, name, (), {}, task_type=task)
    queue = route.get("queue")
    if queue is None:
        return None if route.get("exchange") else app.conf.task_default_queue
    return str(getattr(queue, "name", queue))


_ROUTING = frozenset({"queue", "exchange", "routing_key", "exchange_type", "delivery_mode"})


def serves(app: Celery, queue: str | None) -> bool:
    """Whether this worker takes messages from a queue (None: the default queue)."""
    return (queue or app.conf.task_default_queue) in app.amqp.queues.consume_from


def backlog(app: Celery, queue: str | None) -> int | None:
    """Return how many messages wait in a queue, or None where the broker can't say."""
    name = queue or app.conf.task_default_queue
    with app.connection_for_read() as connection, connection.channel() as channel:
        try:
            return int(channel.queue_declare(name, passive=True).message_count)
        except Exception:  # noqa: BLE001 - brokers differ in how they say no
            return None
