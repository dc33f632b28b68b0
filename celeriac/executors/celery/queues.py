"""Which queue a task's messages go to, and which of them this worker serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery
from celery.utils.imports import symbol_by_name

from celeriac.executors.celery.quick import LASTING

_ROUTING = frozenset({"queue", "exchange", "routing_key", "exchange_type", "delivery_mode"})


def install(app: Celery, route: Callable[[str], dict[str, str] | None]) -> None:
    """Have the app's routing ask ``route(name)`` for tasks that none of its own routes knows."""
    base = symbol_by_name(app.amqp_cls)

    def last(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
        return route(name)

    setattr(last, LASTING, True)

    def routed(self: Any, queues: Any = None, create_missing: Any = None) -> Any:
        router = base.Router(self, queues, create_missing)
        router.routes = [*(router.routes or ()), last]
        return router

    app.amqp_cls = type(base.__name__, (base,), {"__module__": base.__module__, "Router": routed})
    app.__dict__.pop("amqp", None)


def route_of(app: Celery, name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return where Celery's routing sends a task, as options of ``apply_async``."""
    task = app.tasks.get(name)
    preset = task._get_exec_options() if task is not None else {}  # noqa: SLF001 - what apply_async itself asks for
    wanted = {**{key: value for key, value in preset.items() if value}, **(options or {})}
    given = {key: value for key, value in wanted.items() if key in _ROUTING}
    route = app.amqp.router.route(given, name, (), {}, task_type=task)
    return {key: value for key, value in route.items() if key in _ROUTING}


def queue_of(app: Celery, name: str, options: Mapping[str, Any] | None = None) -> str | None:
    """Return the name of the queue that Celery's routing chooses for a task, or None for a bare exchange."""
    queue = route_of(app, name, options).get("queue")
    return None if queue is None else str(getattr(queue, "name", queue))


def queue_from(app: Celery, delivery_info: Mapping[str, Any] | None) -> str | None:
    """Return the name of the queue that a message came from, where the app knows it by exchange and routing key."""
    info = delivery_info or {}
    exchange, key = info.get("exchange") or "", info.get("routing_key")
    for name, queue in app.amqp.queues.items():
        if (queue.exchange.name or "", queue.routing_key) == (exchange, key):
            return str(name)
    return str(key) if key in app.amqp.queues else None


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
