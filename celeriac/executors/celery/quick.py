"""The short way of a message that brings nothing but ids, an activity's, a start's or a turn's, where nobody has a say in it.

``apply_async`` looks up routes, declares queues, asks whoever listens to its signals and prepares for a broken connection. For a
message without arguments that is much of what a step costs, and nothing of it can come out otherwise the second time, unless
somebody has a hand in it: a router that is a function, a receiver of a publish signal, a tracer around ``apply_async``. Then,
and until its queue has been declared on the connection, a message goes Celery's own way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from celery import Celery, signals
from celery.app.routes import MapRoute
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.functional import maybe_evaluate
from kombu.common import Broadcast

from celeriac.executors.celery.straight import Envelope, Letter, Line, goes_straight

_LOG: Final = logging.getLogger("celeriac.dispatch")
LASTING: Final = "celeriac_lasting"
"""Set on a router that says of a task what it has said before."""
_HEARD: Final = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)
_OWN: Final = {
    "celery.app.task": ("shadow_name", "_get_exec_options"),
    "celery.app.base": ("send_task",),
    "celery.app.amqp": ("send_task_message",),
}
"""What is gone around, by the module that it has to come from."""
_KEPT: Final = ("serializer", "compression", "priority", "delivery_mode")
"""Options of a task that say how its message is written."""
_LIMITS: Final = ("time_limit", "soft_time_limit")


@dataclass(slots=True)
class _Way:
    """Where the messages of one task go, and how they are written.

    :param declared: what stands for the queue among what a connection has declared.
    :param envelope: what its letters have in common, once a message has gone through kombu to where letters go.
    :param looked: somebody has looked whether that is so.
    """

    queue: str
    declared: int
    options: Mapping[str, Any]
    limits: Mapping[str, Any]
    envelope: Envelope | None = None
    looked: bool = False


@runtime_checkable
class Sends(Protocol):
    """A workflow's task, whose ``apply_async`` does more than send a message."""

    celeriac_fn: Any

    def sender(self) -> Any:
        """Return what sends one: a partial of Celery's own ``apply_async``."""
        ...


class QuickWays:
    """The short ways that this process knows."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._router: Any = None
        self._ways: dict[tuple[str, str | None], _Way | None] = {}
        self._line = Line(app)

    def publish(self, producer: Any, task: Any, queue: str | None, options: Mapping[str, Any]) -> bool:
        """Publish a message without arguments; False where it has to go Celery's own way, or may not have arrived.

        :param queue: where it is to go, or None for the task's route.
        :param options: as ``apply_async`` takes them.
        """
        way = self._open_way(task, queue)
        if way is None or way.declared not in producer.connection.declared_entities:
            return False
        message, headers = self._message(task, way, options)
        try:
            producer.publish(
                message.body,
                exchange="",
                routing_key=way.queue,
                headers=headers,
                retry=False,
                **way.options,
                **message.properties,
            )
        except SoftTimeLimitExceeded:
            raise  # it comes once only, and is for the task that publishes
        except Exception:  # noqa: BLE001 - a connection that was closed while it was idle, say: Celery's own way opens another
            _LOG.debug("a message of %s may not have been published; once more", task.name, exc_info=True)
            return False
        self._straighten(producer, way)
        return True

    def has_to_learn(self, task: Any, queue: str | None) -> bool:
        """Whether nobody has looked yet where a task's messages lead."""
        way = self._open_way(task, queue)
        return way is not None and not (way.looked and (way.envelope is None or self._line.is_open))

    def learn(self, producer: Any, task: Any, queue: str | None) -> None:
        """Look where a message leads that a producer has just sent Celery's own way, so that the next one may be a letter."""
        way = self._open_way(task, queue)
        if way is not None and way.declared in producer.connection.declared_entities:
            self._straighten(producer, way)

    def _straighten(self, producer: Any, way: _Way) -> None:
        way.looked = True
        if way.options["compression"] or not goes_straight(producer, way.queue):
            return
        if way.envelope is None:
            body = self._app.amqp.create_task_message("", "", (), {}).body
            way.envelope = Envelope.of(producer.channel, way.queue, body, way.options)
        self._line.open(producer.channel)

    def letter(
        self, task: Any, queue: str | None, options: Mapping[str, Any], args: tuple[Any, ...] = ()
    ) -> Letter | None:
        """Return a message as a letter; None where there is no straight way for it, or none has been found yet."""
        way = self._open_way(task, queue) if self._line.is_open else None
        if way is None or way.envelope is None:
            return None
        message, headers = self._message(task, way, options, args)
        try:
            return way.envelope.letter(headers, message.properties, message.body if args else None)
        except TypeError:
            return None

    def push(self, letters: Sequence[Letter]) -> bool:
        """Send letters; False where some may not have arrived."""
        try:
            self._line.push(letters)
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 - a connection that was closed while it was idle, say
            _LOG.debug("%d messages may not have been published; once more", len(letters), exc_info=True)
            return False
        return True

    def _message(
        self, task: Any, way: _Way, options: Mapping[str, Any], args: tuple[Any, ...] = ()
    ) -> tuple[Any, dict[str, Any]]:
        """Return a message as Celery makes it, and its headers with the caller's."""
        described = {**way.limits, **{key: options[key] for key in options if key not in _MEANT_FOR_CELERY}}
        message = self._app.amqp.create_task_message(
            options["task_id"], task.name, args, {}, reply_to=self._app.thread_oid, **described
        )
        return message, {**message.headers, **options["headers"]}

    def _open_way(self, task: Any, queue: str | None) -> _Way | None:
        """Return a message's short way, unless somebody listens who would not hear of it there."""
        return None if any(each.receivers for each in _HEARD) else self._way(task, queue)

    def _way(self, task: Any, queue: str | None) -> _Way | None:
        router = self._app.amqp.router
        if router is not self._router:
            self._router, self._ways = router, {}
        key = (task.name, queue)
        if key not in self._ways:
            self._ways[key] = self._find(task, queue) if self._is_plain(task) else None
        return self._ways[key]

    def _is_plain(self, task: Any) -> bool:
        """Whether Celery itself would do what is done here: no class, no library and no router has put itself in between."""
        app, conf = self._app, self._app.conf
        if conf.task_always_eager or conf.task_send_sent_event or conf.task_inherit_parent_priority:
            return False
        if conf.task_protocol != 2 or task.__v2_compat__:  # noqa: PLR2004 - Celery's second protocol of messages
            return False
        owners = {"celery.app.task": task, "celery.app.base": app, "celery.app.amqp": app.amqp}
        own = [(module, getattr(owners[module], name)) for module, names in _OWN.items() for name in names]
        own.append(("celery.app.task", task.sender().func if isinstance(task, Sends) else task.apply_async))
        if not all(_comes_from(module, each) for module, each in own):
            return False
        routers = map(maybe_evaluate, self._router.routes)
        return all(isinstance(each, MapRoute) or getattr(each, LASTING, False) for each in routers)

    def _find(self, task: Any, queue: str | None) -> _Way | None:
        preset = {key: value for key, value in task._get_exec_options().items() if value is not None}  # noqa: SLF001
        wanted = preset if queue is None else {**preset, "queue": queue}
        found = {
            key: each for key, each in self._router.route(wanted, task.name, (), {}, task_type=task).items() if each
        }
        target = found.pop("queue", None)
        if target is None or found.keys() - {*_KEPT, *_LIMITS, "ignore_result"}:
            return None
        if isinstance(target, Broadcast) or target.exchange.type != "direct" or not target.can_cache_declaration:
            return None
        conf = self._app.conf
        options = {
            "serializer": conf.task_serializer,
            "compression": conf.task_compression,
            "delivery_mode": target.exchange.delivery_mode or conf.task_default_delivery_mode,
            **{key: found[key] for key in _KEPT if key in found},
        }
        return _Way(target.name, hash(target), options, {key: found[key] for key in _LIMITS if key in found})


_MEANT_FOR_CELERY: Final = frozenset({"task_id", "headers", "add_to_parent", "producer", "retry_policy", "queue"})


def _comes_from(module: str, function: Any) -> bool:
    function = getattr(function, "__func__", function)
    if hasattr(function, "__wrapped__"):
        return False
    return getattr(function, "__globals__", {}).get("__name__") == module
