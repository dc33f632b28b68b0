"""Starting a workflow by Celery's verbs: written to the store first, published second."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from celery.utils import uuid
from celery.utils.time import maybe_make_aware
from kombu.exceptions import OperationalError

from celeriac.durations import seconds
from celeriac.executors.celery import origin as origins
from celeriac.executors.celery.headers import HEADER, StartTicket, WorkflowTicket
from celeriac.executors.celery.queues import queue_of
from celeriac.executors.celery.results import WorkflowResult
from celeriac.orchestrator.executor import WorkflowOptions
from celeriac.orchestrator.model import Created, CreateOutcome
from celeriac.payloads import Arguments

if TYPE_CHECKING:
    from celeriac.executors.celery.workflows import WorkflowTask

_LOG: Final = logging.getLogger("celeriac.workflows")

OWN: Final = ("id_conflict", "id_reuse", "timeout", "memo", "attributes", "start_key")
"""Options of ``apply_async`` that only workflows have, beside ``workflow_id``."""
REPR_LENGTH: Final = 1024


class Start:
    """One call of ``apply_async``.

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
        self.options = options
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
            return self._by_message(send)
        delay = self._delay()
        for name in ("countdown", "eta", "expires"):
            self.options.pop(name, None)
        created = self.task.runtime.client.create(
            self.task.definition,
            self.arguments,
            WorkflowOptions(**{"id": self.task_id, "start_key": self.task_id, **self.own}),
            origin=origins.from_options(
                self.task.app, self.task_id, self.own.get("id", self.task_id), self.options, self.shown
            ),
            queue=self._queue(),
            delay=delay,
        )
        if created.outcome is CreateOutcome.CREATED:
            self._publish(created, send, later=delay > 0)
            return self._result(created)
        self.task_id = created.run.start_key
        return self._result(created)

    def _publish(self, created: Created, send: Any, *, later: bool) -> None:
        run = created.run
        ticket = WorkflowTicket(run.run_id, named=run.workflow_id != self.task_id, later=later)
        headers = {**(self.options.pop("headers", None) or {}), HEADER: ticket.header()}
        try:
            send((), {}, task_id=self.task_id, headers=headers, **self.options, **self.shown)
        except (OperationalError, *self.task.app.connection_for_write().recoverable_connection_errors) as error:
            _LOG.warning("workflow %s is recorded; its start will be published later: %s", run.workflow_id, error)

    def _by_message(self, send: Any) -> WorkflowResult:
        """Leave it to the worker to record the start: what may expire must not be begun by a relay."""
        own = {name: value for name, value in self.own.items() if name != "start_key"}
        if "timeout" in own:
            own["timeout"] = seconds(own["timeout"], name="timeout", positive=True)
        headers = {**(self.options.pop("headers", None) or {}), HEADER: StartTicket(own).header()}
        send(
            list(self.arguments.args),
            dict(self.arguments.kwargs),
            task_id=self.task_id,
            headers=headers,
            **self.options,
            **self.shown,
        )
        return self._result(None)

    def _result(self, created: Created | None) -> WorkflowResult:
        result = WorkflowResult(self.task_id, backend=self.task.backend, task_name=self.task.name, app=self.task.app)
        if created is not None:
            result.bind(created.run.workflow_id, created.run.run_id)
        return result

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
        given = self.options.get("queue") or self.task.celeriac_settings.queue
        if given is not None:
            return str(getattr(given, "name", given))
        return queue_of(self.task.app, self.task.name, self.options)


def _short(text: str) -> str:
    return text if len(text) <= REPR_LENGTH else text[: REPR_LENGTH - 3] + "..."
