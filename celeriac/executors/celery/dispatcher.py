"""Hints as Celery messages."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils import uuid
from kombu.exceptions import EncodeError, OperationalError

from celeriac.errors import StoreError
from celeriac.executors.celery import origin as origins
from celeriac.executors.celery import queues
from celeriac.executors.celery.forms import carried_call
from celeriac.executors.celery.headers import HEADER, TURN_TASK, ActivityTicket, WorkflowTicket
from celeriac.executors.celery.keptclient import keep_client
from celeriac.executors.celery.onetrip import in_one_trip
from celeriac.executors.celery.quick import QuickWays
from celeriac.executors.celery.straight import Letter
from celeriac.orchestrator.attempts import activity_id
from celeriac.orchestrator.model import Micros, RunRef
from celeriac.orchestrator.ports import ActivityReady, Hint, RunFinished, TurnReady
from celeriac.payloads import Json

_LOG: Final = logging.getLogger("celeriac.dispatch")

GRACE: Final = 5.0
"""Seconds that an attempt has, after its time is up, to notice and to end by itself; then its process is ended."""
REPR_LENGTH: Final = 1024
"""How many characters of arguments are shown to those who watch."""
_DESCRIBED: Final = (
    "group_id",
    "group_index",
    "chord",
    "chain",
    "reply_to",
    "root_id",
    "parent_id",
    "shadow",
    "ignore_result",
    "replaced_task_nesting",
    "countdown",
    "argsrepr",
    "kwargsrepr",
    "origin",
)
"""Options that describe the task and travel inside the message."""
_QUICK: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
"""A broker that does not answer must not hold a turn up: the relay publishes later."""


@dataclass(frozen=True, slots=True)
class QuietMessage:
    """A message of celeriac's own.

    :param name: the task's.
    :param message: as Celery's ``amqp`` makes it: headers, properties, body, and what to say of its having been sent.
    :param options: how it is to be sent.
    """

    name: str
    task_id: str
    message: Any
    options: Mapping[str, Any]


class CeleryDispatcher:
    """Publishes hints through the app, each by the task's own ``apply_async`` where this process has the task.

    :param expect: tells the relay nearby of a due time.
    :param is_id_only: whether a task's messages need no arguments, because the worker reads them from the store.
    """

    def __init__(self, app: Celery, expect: Callable[[Micros], None], is_id_only: Callable[[Any], bool]) -> None:
        self._app = app
        self._expect = expect
        self._is_id_only = is_id_only
        self.quick = QuickWays(app)
        """The short ways of messages, of starts too."""

    def publish(self, hints: Sequence[Hint]) -> None:
        """Publish hints in order, over one connection; several in one round trip where the transport can."""
        if self._send_letters(hints):
            return
        with self._app.producer_or_acquire() as producer:
            keep_client(producer.channel)
            if not self._send_together(hints, producer):
                self._send_each(hints, producer)

    def publish_early(self, hints: Sequence[ActivityReady]) -> bool:
        """Publish hints before their commit has come through, where they all have a straight way."""
        return self._send_letters(hints)

    def _send_letters(self, hints: Sequence[Hint]) -> bool:
        """Publish hints that all have a straight way; False where one has none, or may not have been published."""
        letters: list[Letter] = []
        for hint in hints:
            letter = self._letter(hint)
            if letter is None:
                return False
            letters.append(letter)
        return self.quick.push(letters)

    def _letter(self, hint: Hint) -> Letter | None:
        if isinstance(hint, RunFinished) or hint.delay:
            return None
        if isinstance(hint, TurnReady):
            turn, options = self._app.tasks[TURN_TASK], {"task_id": uuid(), "headers": {}, "ignore_result": True}
            return self.quick.letter(turn, hint.run.queue, options, (hint.run.run_id,)) if hint.run.queue else None
        task = self._app.tasks.get(hint.data["name"])
        if task is None or not self._is_id_only(task):
            return None
        return self.quick.letter(task, hint.queue, self._options(hint, task))

    def _send_together(self, hints: Sequence[Hint], producer: Any) -> bool:
        """Publish several hints in one round trip; False where that can't be done, or may not have been.

        What is published twice is claimed once. Only what tells Celery of a workflow's end is not for this: its links would
        run twice.
        """
        if len(hints) <= 1 or any(isinstance(each, RunFinished) for each in hints):
            return False
        send = functools.partial(self._send_each, hints, producer)
        return in_one_trip(producer, send, log=_LOG, what=f"{len(hints)} messages")

    def _send_each(self, hints: Sequence[Hint], producer: Any) -> None:
        for hint in hints:
            try:
                self._send(hint, producer)
            except (StoreError, OperationalError, OSError, SoftTimeLimitExceeded):
                raise  # the next one would fare no better; the limit is for whoever runs here
            except Exception:  # noqa: BLE001 - a route that leads nowhere, say, must not keep the others from going
                _LOG.exception("%s could not be published", hint)

    def _send(self, hint: Hint, producer: Any) -> None:
        if isinstance(hint, TurnReady):
            self._turn(hint, producer)
        elif isinstance(hint, ActivityReady):
            self.send_activity(hint, producer)
        else:
            self._finish(hint, producer)

    def _turn(self, hint: TurnReady, producer: Any) -> None:
        options: dict[str, Any] = {"ignore_result": True}
        if hint.delay:
            options["countdown"] = hint.delay
        self._send_quietly(producer, TURN_TASK, (hint.run.run_id,), hint.run, uuid(), options)
        if hint.run.queue:
            self.quick.learn(producer, self._app.tasks[TURN_TASK], hint.run.queue)

    def destination(self, run: RunRef) -> dict[str, Any]:
        """Return where a run's own messages go, as options of ``apply_async``: its queue, else its workflow's route."""
        if run.queue:
            return {"queue": run.queue}
        return queues.route_of(self._app, run.name)

    def send_activity(self, hint: ActivityReady, producer: Any, own: Mapping[str, Any] | None = None) -> None:
        """Publish an activity's attempt.

        :param own: options that take the place of the usual ones; the attempt is not to be claimed by who takes it.
        """
        name, task = hint.data["name"], self._app.tasks.get(hint.data["name"])
        options = {**self._options(hint, task, own), "producer": producer}
        args, kwargs = hint.data.get("args", ()), hint.data.get("kwargs", {})
        brings_ids = task is not None and own is None and self._is_id_only(task)
        if brings_ids:
            if not hint.delay and self.quick.publish(producer, task, hint.queue, options):
                return
            args, kwargs = (), {}
        send = self._app.send_task if task is None else task.apply_async
        prefix = (name,) if task is None else ()
        try:
            send(*prefix, *carried_call(args, kwargs), **options)
        except EncodeError:  # the app's serializer is not JSON
            send(*prefix, *carried_call(args, kwargs, texts=True), **options)
        if brings_ids:
            self.quick.learn(producer, task, hint.queue)

    @staticmethod
    def _options(hint: ActivityReady, task: Any, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the options of an attempt's message, as ``apply_async`` takes them."""
        carried = origins.carried_options(hint.data, hint.run.workflow_id)
        ticket = ActivityTicket(hint.run.run_id, hint.seq, hint.attempt, early=hint.early)
        options: dict[str, Any] = {
            **carried,
            "task_id": activity_id(hint.run.run_id, hint.seq),
            "headers": {**carried.get("headers", {}), **({HEADER: ticket.header()} if own is None else {})},
            "retries": hint.attempt - 1,
            "ignore_result": True,
            "add_to_parent": False,
            "retry_policy": _QUICK,
            **_shown(hint.data),
            **(own or {}),
        }
        if hint.queue is not None:
            options["queue"] = hint.queue
        limit = hint.data.get("options", {}).get("start_to_close")
        if limit is not None and (task is None or task.time_limit is None):
            options["time_limit"] = limit + GRACE
        if hint.delay:
            options["countdown"] = hint.delay
        return options

    def _finish(self, hint: RunFinished, producer: Any) -> None:
        if hint.origin is not None:
            self._publish_quietly(producer, self.last_message(hint.run, hint.origin), hint.run)

    def last_message(self, run: RunRef, origin: Mapping[str, Json]) -> QuietMessage:
        """Return the message that tells Celery of a run's end."""
        task_id, options = origins.unpack(origin)
        ticket = WorkflowTicket(run.run_id, finish=True)
        options["headers"] = {**options.get("headers", {}), HEADER: ticket.header()}
        return self._message(run.name, (), task_id, options)

    def _send_quietly(
        self, producer: Any, name: str, args: tuple[Any, ...], run: RunRef, task_id: str, options: dict[str, Any]
    ) -> None:
        """Send a task as Celery does, publish signals included, but without a sent event and without waiting for its result."""
        self._publish_quietly(producer, self._message(name, args, task_id, options), run)

    def _message(self, name: str, args: tuple[Any, ...], task_id: str, options: dict[str, Any]) -> QuietMessage:
        stamps = options.get("stamped_headers") or []
        link, link_error = (_listed(options.pop(each, None)) for each in ("link", "link_error"))
        described = {key: options.pop(key) for key in _DESCRIBED if key in options}
        message = self._app.amqp.create_task_message(
            task_id,
            name,
            args,
            {},
            callbacks=link,
            errbacks=link_error,
            create_sent_event=False,
            **described,
            **options,
        )
        for each in ("stamped_headers", *stamps, "shadow", "argsrepr", "kwargsrepr", "origin"):
            options.pop(each, None)
        return QuietMessage(name, task_id, message, options)

    def _publish_quietly(self, producer: Any, quiet: QuietMessage, run: RunRef) -> None:
        amqp = self._app.amqp
        route = amqp.router.route(self.destination(run), quiet.name)
        amqp.send_task_message(producer, quiet.name, quiet.message, retry_policy=_QUICK, **route, **quiet.options)

    def expect(self, due_at: Micros) -> None:
        """Tell the relay nearby that something falls due then."""
        self._expect(due_at)

    def backlog(self, queue: str | None) -> int | None:
        """Return how many messages wait in a queue, or None where that can't be told."""
        return queues.backlog(self._app, queue)


def _shown(data: Mapping[str, Json]) -> dict[str, str]:
    args, kwargs = data.get("args", ()), data.get("kwargs", {})
    return {"argsrepr": _short(repr(tuple(args))), "kwargsrepr": _short(repr(dict(kwargs)))}


def _listed(found: Any) -> list[Any] | None:
    return found if found is None or isinstance(found, list) else [found]


def _short(text: str) -> str:
    return text if len(text) <= REPR_LENGTH else text[: REPR_LENGTH - 3] + "..."
