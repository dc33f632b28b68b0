"""Starting a workflow by Celery's verbs: written to the store first, published second."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from celery.utils import uuid
from celery.utils.time import maybe_make_aware
from kombu.compression import get_encoder
from kombu.exceptions import EncodeError, OperationalError
from kombu.serialization import dumps

from celeriac.durations import seconds
from celeriac.errors import InvalidCall
from celeriac.executors.celery import origin as origins
from celeriac.executors.celery.forms import carried_call
from celeriac.executors.celery.headers import HEADER, StartTicket, WorkflowTicket
from celeriac.executors.celery.queues import queue_of, route_of
from celeriac.executors.celery.quick import QuickWays
from celeriac.executors.celery.results import WorkflowResult
from celeriac.executors.celery.straight import Letter
from celeriac.orchestrator.executor import WorkflowOptions
from celeriac.orchestrator.many import Wish
from celeriac.orchestrator.model import Created, CreateOutcome
from celeriac.payloads import Arguments

if TYPE_CHECKING:
    from celeriac.executors.celery.workflows import WorkflowTask

_LOG: Final = logging.getLogger("celeriac.workflows")

OWN: Final = ("id_conflict", "id_reuse", "timeout", "memo", "attributes", "start_key")
"""Options of ``apply_async`` that only workflows have, beside ``workflow_id``."""
REPR_LENGTH: Final = 1024
_ELSEWHERE: Final = frozenset({"queue", "exchange", "routing_key"})
"""Options that say where a start goes, whatever the workflow declares."""
_IN_LETTERS: Final = frozenset({"queue", "headers", "ignore_result"})
"""Options that a start may have whose message is a letter."""
_WITHOUT_PRODUCER: Final = frozenset({"celery.backends.base", "celery.backends.redis"})
"""Where a result backend's ``on_task_call`` comes from that has no use for the producer: a letter takes none."""


class Start:
    """One call of ``apply_async``.

    :param arguments: as they are recorded.
    :param own: what only workflows have, as ``WorkflowOptions`` has it.
    :param options: Celery's options.
    """

    def __init__(
        self,
        task: WorkflowTask,
        arguments: Arguments,
        task_id: str | None,
        own: Mapping[str, Any],
        options: dict[str, Any],
    ) -> None:
        self.task = task
        self.arguments = arguments
        self.task_id = task_id or uuid()
        self.own = {name: value for name, value in own.items() if value is not None}
        declared = task.celeriac_settings.queue
        self.options = options if declared is None or options.keys() & _ELSEWHERE else {**options, "queue": declared}
        self._sent: WorkflowResult | None = None
        self.shown = {
            "argsrepr": _short(repr(tuple(arguments.args))),
            "kwargsrepr": _short(repr(dict(arguments.kwargs))),
        }

    def carry_out(self, send: Any) -> WorkflowResult:
        """Record the start and publish it.

        :param send: Celery's own ``apply_async`` of the task.
        """
        expires = self.options.get("expires")
        if (self.task.expires if expires is None else expires) is not None:
            return self.by_message(send)
        self._check_way()
        delay = self._delay()
        created = self.task.runtime.client.create(**self._wanted(), delay=delay)
        if created.outcome is CreateOutcome.CREATED:
            try:
                self.publish(created, send, later=delay > 0)
                self.learn()
            except broker_is_away(self.task) as error:
                workflow_id = created.run.workflow_id
                _LOG.warning("workflow %s is recorded; its start will be published later: %s", workflow_id, error)
        return self.result(created)

    @property
    def is_plain(self) -> bool:
        """Whether it is to begin at once, whenever that is, so that it can be one of many."""
        given = (self.options.get(name) for name in ("countdown", "eta", "expires"))
        return self.task.expires is None and all(each is None for each in given)

    def wish(self) -> Wish:
        """Return the run that it asks for, checked, for ``create_many``."""
        self._check_way()
        return self.task.runtime.client.wish(**self._wanted())

    def _wanted(self) -> dict[str, Any]:
        for name in ("countdown", "eta", "expires"):
            self.options.pop(name, None)
        workflow_id = self.own.get("id", self.task_id)
        return {
            "definition": self.task.definition,
            "arguments": self.arguments,
            "options": WorkflowOptions(**{"id": self.task_id, "start_key": self.task_id, **self.own}),
            "origin": origins.from_options(self.task.app, self.task_id, workflow_id, self.options, self.shown),
            "queue": self._queue(),
        }

    def publish(self, created: Created, send: Any, *, later: bool = False) -> None:
        """Publish the start, once it has been recorded.

        :param later: the message is not to take the first turn.
        :raises Exception: the broker can't be reached (:func:`broker_is_away`); a relay publishes it then.
        """
        letter = None if later or send.keywords["producer"] is not None else self.letter(created)
        if letter is not None:
            self.listen()
            if self._quick.push([letter]):
                return
        self._sent = send((), {}, **self._as_sent(created, later=later))

    def letter(self, created: Created) -> Letter | None:
        """Return the message as a letter; None where there is no straight way for it, or none has been found yet."""
        app, queue = self.task.app, self.options.get("queue")
        if (
            self.options.keys() - _IN_LETTERS
            or not isinstance(queue, str | None)
            or app.current_worker_task is not None
        ):
            return None
        if getattr(type(app.backend).on_task_call, "__module__", "") not in _WITHOUT_PRODUCER:
            return None
        return self._quick.letter(self.task, queue, self._as_sent(created))

    def listen(self) -> None:
        """Have the result backend listen for the result, as Celery does before it sends a message.

        Who begins to listen with ``get()`` may miss it: subscribing and looking whether it is there go over two connections.
        """
        if self.options.get("ignore_result"):
            return
        try:
            self.task.app.backend.on_task_call(None, self.task_id)
        except Exception as error:  # noqa: BLE001 - backends raise what they like, and the run is recorded
            _LOG.warning("the result backend can't be asked to tell of workflow %s: %s", self.task_id, error)

    def learn(self, producer: Any = None) -> None:
        """Look, once, where a message has led that went Celery's own way, so that the next one may be a letter.

        :param producer: who has sent it, if that is known.
        """
        queue = self.options.get("queue")
        if isinstance(queue, str | None) and self._quick.has_to_learn(self.task, queue):
            with self.task.app.producer_or_acquire(producer) as found:
                self._quick.learn(found, self.task, queue)

    @property
    def _quick(self) -> QuickWays:
        return self.task.runtime.dispatcher.quick

    def _as_sent(self, created: Created, *, later: bool = False) -> dict[str, Any]:
        """Return the options of the message, as Celery's ``apply_async`` takes them."""
        run = created.run
        ticket = WorkflowTicket(run.run_id, named=run.workflow_id != self.task_id, later=later)
        headers = {**(self.options.get("headers") or {}), HEADER: ticket.header()}
        return {**self.options, **self.shown, "task_id": self.task_id, "headers": headers}

    def by_message(self, send: Any) -> WorkflowResult:
        """Leave it to the worker to record the start.

        That is for what may expire, which must not be begun by a relay; and for calls of Celery's own that nobody could make
        again, while the store is away.
        """
        own = {name: value for name, value in self.own.items() if name != "start_key"}
        if "timeout" in own:
            own["timeout"] = seconds(own["timeout"], name="timeout", positive=True)
        headers = {**(self.options.pop("headers", None) or {}), HEADER: StartTicket(own).header()}
        described = {**self.options, **self.shown, "task_id": self.task_id, "headers": headers}
        args, kwargs = self.arguments.args, self.arguments.kwargs
        try:
            self._sent = send(*carried_call(args, kwargs), **described)
        except EncodeError:  # the app's serializer is not JSON
            self._sent = send(*carried_call(args, kwargs, texts=True), **described)
        return self.result(None)

    def result(self, created: Created | None) -> WorkflowResult:
        """Return what the caller gets: of the run that there is now, or of the message alone."""
        if created is not None and created.outcome is not CreateOutcome.CREATED:
            self.task_id = created.run.start_key
        # The one that Celery has made waits already: another would have that one, dropped here, call it off.
        result = self._sent or self.task.AsyncResult(self.task_id)
        if self._sent is None:
            result.ignored = bool(self.options.get("ignore_result"))  # get() would wait for ever
        if created is not None:
            result.bind(created.run.workflow_id, created.run.run_id)
        return result

    def _check_way(self) -> None:
        """Refuse a start whose message could never be sent, before it is recorded.

        :raises QueueNotFound, SerializerNotInstalled, InvalidCall: there is no such queue, serializer, compression.
        """
        app, options = self.task.app, self.options
        if options.get("queue") is not None and not app.conf.task_create_missing_queues:
            route_of(app, self.task.name, options)
        if options.get("serializer") is not None:
            dumps(None, serializer=options["serializer"])  # type: ignore[no-untyped-call]
        compression = options.get("compression")
        if compression is not None:
            try:
                get_encoder(compression)  # type: ignore[no-untyped-call]
            except KeyError:
                raise InvalidCall(f"there is no compression {compression!r}") from None

    def _delay(self) -> float:
        """Return the seconds until the start is due, by ``countdown`` or ``eta``."""
        countdown, eta = self.options.get("countdown"), self.options.get("eta")
        if countdown is not None:
            return max(float(countdown), 0.0)
        if isinstance(eta, str):
            eta = datetime.fromisoformat(eta)
        if eta is None:
            return 0.0
        due: datetime = maybe_make_aware(eta, self.task.app.timezone)
        return max((due - datetime.now(UTC)).total_seconds(), 0.0)

    def _queue(self) -> str | None:
        given = self.options.get("queue")
        if given is not None:
            return str(getattr(given, "name", given))
        return queue_of(self.task.app, self.task.name, self.options)


def broker_is_away(task: WorkflowTask) -> tuple[type[BaseException], ...]:
    """Return the exceptions that mean so while something is published."""
    return (OperationalError, *task.app.connection_for_write().recoverable_connection_errors)


def _short(text: str) -> str:
    return text if len(text) <= REPR_LENGTH else text[: REPR_LENGTH - 3] + "..."
