"""A workflow as a Celery task: started by Celery's verbs, suspended without blocking a worker, ended by its last message."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from celery import states
from celery.app.task import Task
from celery.exceptions import Ignore, TaskRevokedError
from celery.result import EagerResult
from celery.utils import uuid

from celeriac.errors import (
    CeleriacError,
    InvalidCall,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    WorkflowCanceledError,
    WorkflowFailedError,
)
from celeriac.executors.celery import events, forbidden, startmany
from celeriac.executors.celery import origin as origins
from celeriac.executors.celery.ending import CLOSED
from celeriac.executors.celery.forms import carried
from celeriac.executors.celery.headers import (
    ActivityTicket,
    BadTicket,
    StartTicket,
    WorkflowTicket,
    refusal,
    ticket_of,
)
from celeriac.executors.celery.leaving import LeftOpen
from celeriac.executors.celery.misspelt import refuse_misspelt
from celeriac.executors.celery.queues import queue_from
from celeriac.executors.celery.results import WorkflowResult
from celeriac.executors.celery.runtime import CeleryRuntime, runtime_of
from celeriac.executors.celery.starting import OWN, Start
from celeriac.executors.local import LocalExecutor
from celeriac.orchestrator import many
from celeriac.orchestrator.definition import WorkflowDefinition, WorkflowSettings
from celeriac.orchestrator.executor import WorkflowOptions
from celeriac.orchestrator.given import check_id
from celeriac.orchestrator.model import Run
from celeriac.orchestrator.status import TaskKind
from celeriac.payloads import Arguments, Json

_LOG: Final = logging.getLogger("celeriac.workflows")

RETRY_MOST: Final = 30.0
"""Seconds, at most, between tries to record a start while the store is away."""
_CANVAS: Final = frozenset({"parent_id", "root_id", "reply_to"})
"""Options that only a canvas gives."""
_FINISHES: Final = "celeriac_finishes"
"""Set on a request that is the last message of a run: its run id."""


class WorkflowTask(Task):
    """The Celery task that stands for a workflow. Its messages are a start and an end; the turns in between have their own."""

    abstract = True
    typing = False
    # A start that comes from a program without celeriac is durable only once a worker has recorded it.
    acks_late = True
    reject_on_worker_lost = True
    # Sent once more, the message would be shown as a retry, perhaps over the end that the lost process has told.
    retry_on_worker_lost = False
    max_retries = None
    Request = "celeriac.executors.celery.requests:WorkflowRequest"
    celeriac_fn: Callable[..., Any]
    celeriac_settings = WorkflowSettings()
    tracks_started = False
    """Whether the beginning of the first turn is stored as ``STARTED`` (``track_started``)."""
    __definition: WorkflowDefinition | None = None

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Keep Celery from storing ``STARTED`` for each message, over the end that another one has told; see ``begun``."""
        super().on_bound(app)
        if cls.track_started:
            cls.tracks_started, cls.track_started = True, False

    @property
    def definition(self) -> WorkflowDefinition:
        """The workflow's definition, under the task's name."""
        if self.__definition is None:
            self.__definition = WorkflowDefinition(self.name, type(self).celeriac_fn, self.celeriac_settings)
        return self.__definition

    @property
    def runtime(self) -> CeleryRuntime:
        """The runtime of the task's app."""
        return runtime_of(self.app)

    # -- starting ------------------------------------------------------------------------------------------------------

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        *,
        workflow_id: str | None = None,
        **options: Any,
    ) -> Any:
        """Start the workflow: written to the store first, published second; durable when it returns.

        Celery's options, and these:

        :param workflow_id: the workflow id; the task id unless given.
        :param id_conflict: ``fail``, ``attach`` or ``terminate`` when the id belongs to an open run.
        :param id_reuse: ``allow``, ``after_failure`` or ``never``.
        :param timeout: the longest the run may take (timedelta or seconds).
        :raises InvalidCall, PayloadError: the arguments do not fit; nothing was started.
        :raises WorkflowIdInUse: the id belongs to an open run, or may not be used again.
        :raises StoreUnavailable: the store can't be reached; nothing was started. A link of a canvas and beat are not told:
            their start is a message, which a worker records.
        """
        forbidden.refuse_to_start(self.name)
        options.update(link=link, link_error=link_error, shadow=shadow, workflow_id=workflow_id)
        if self.app.conf.task_always_eager:
            return self._eagerly(args or (), kwargs or {}, task_id, _own(options))
        send = self.sender(producer)
        try:
            return self.prepare(args, kwargs, task_id, **options).carry_out(send)
        except CeleriacError as error:
            if not self._is_celerys_call(error, producer, options):
                raise
            _LOG.warning("workflow %s is started by message, for a worker to record: %s", self.name, error)
            own = _own(options)
            given = {name: each for name, each in options.items() if each is not None}
            return Start(self, Arguments(args or (), kwargs or {}), task_id, own, given).by_message(send)

    def _is_celerys_call(self, error: CeleriacError, producer: Any, options: Mapping[str, Any]) -> bool:
        """Whether Celery makes the call, as a chain's next link, a chord's body or from beat, and the error is not for it.

        It would fail the task before, which has succeeded, or pass over the hour. A worker waits for the store, and what is wrong
        with the arguments is this task's failure, as with any other task.
        """
        linked = self.app.current_worker_task is not None and not options.keys().isdisjoint(_CANVAS)
        return linked or (producer is not None and isinstance(error, StoreUnavailable))

    def prepare(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> Start:
        """Return a start with all that :meth:`apply_async` takes, its arguments checked.

        :raises InvalidCall, PayloadError: the arguments do not fit.
        """
        own = _own(options)
        arguments = self.definition.signature.write(tuple(args or ()), dict(kwargs or {}))
        for name in ("link", "link_error", "shadow"):
            if not options.get(name):
                options.pop(name, None)
        if self.ignore_result:
            options.setdefault("ignore_result", True)
        return Start(self, arguments, task_id, own, options)

    def start_many(self, starts: Iterable[Any], *, return_exceptions: bool = False) -> Sequence[Any]:
        """Start the workflow many times: what :meth:`apply_async` does, at a fraction of the cost.

        All are durable when this returns. They are written a few hundred in one transaction, and their messages go out in one
        round trip where the transport can. Those with a countdown, an eta or an expiry are started one by one in between.

        :param starts: each a tuple of arguments; or a dict with what :meth:`apply_async` takes (``args``, ``kwargs``,
            ``workflow_id`` ...), which a signature of this workflow is too; or ``WorkflowOptions``.
        :param return_exceptions: return what refused a start in its place, instead of raising it for all.
        :returns: a result for each start, in order.
        :raises InvalidCall, PayloadError: arguments that do not fit; nothing was started.
        :raises StartsRefused: some ids are in use; all other starts were made. Has what became of each.
        :raises StoreUnavailable: the store can't be reached; a note says how many starts were made before.
        """
        if self.app.conf.task_always_eager:
            calls = [startmany.call_of(self, place, each) for place, each in enumerate(starts)]
            results: Sequence[Any] = [
                startmany.or_refusal(functools.partial(self.apply_async, **call)) for call in calls
            ]
        else:
            results = self.record_many(starts)
        return many.told(self.name, results, return_exceptions=return_exceptions)

    def record_many(self, starts: Iterable[Any]) -> Sequence[Any]:
        """Do the same whether or not the app is eager, and return what refused a start in its place."""
        return startmany.start_many(self, starts)

    def sender(self, producer: Any = None) -> Callable[..., Any]:
        """Return what publishes a message of this task as Celery does."""
        return functools.partial(super().apply_async, producer=producer)

    def start(
        self,
        arguments: Arguments,
        own: Mapping[str, Any],
        *,
        task_id: str | None = None,
        producer: Any = None,
        **options: Any,
    ) -> WorkflowResult:
        """Start the workflow with arguments that have been recorded already.

        :param own: what only workflows have, as ``WorkflowOptions`` has it.
        :param options: Celery's options.
        """
        return Start(self, arguments, task_id, own, options).carry_out(self.sender(producer))

    def _eagerly(self, args: Any, kwargs: Any, task_id: str | None, own: dict[str, Any]) -> Any:
        """Run to the end in this process, with a clock that jumps over waits (``task_always_eager``)."""
        task_id = task_id or uuid()
        executor = LocalExecutor(self.runtime.registry, hooks=self.runtime.hooks)
        options = WorkflowOptions(**{"id": task_id, **own, "args": tuple(args), "kwargs": dict(kwargs)})
        handle = executor.execute(self.definition, options)
        try:
            value = handle.result()
        except WorkflowFailedError as error:
            if self.app.conf.task_eager_propagates:
                raise
            return EagerResult(task_id, error, states.FAILURE)
        return EagerResult(task_id, value, states.SUCCESS)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run the workflow to its end in this process, with a clock that jumps over waits."""
        workflow_id = options.get("workflow_id")
        own = {"id": workflow_id} if workflow_id is not None else {}
        return self._eagerly(args or (), kwargs or {}, options.get("task_id"), own)

    def AsyncResult(self, task_id: str, **kwargs: Any) -> WorkflowResult:  # noqa: N802 - Celery's name
        """Return what tells of the task with this id, with what only workflows have."""
        given = {"backend": self.backend, "task_name": self.name, "app": self.app, **kwargs}
        return WorkflowResult(task_id, **given)

    # -- in the worker -------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse to be called like a function: a workflow only runs under replay.

        :raises InvalidCall: always, outside a worker.
        """
        if self.request.called_directly or self.request.id is None:
            short = self.name.rsplit(".", 1)[-1]
            raise InvalidCall(
                f"workflow {self.name!r} was called like a function, but a workflow only runs under replay. Start it with "
                f"{short}.delay(...) or {short}.apply_async(args=(...), workflow_id=...). "
                f"In a test, do so inside WorkflowEnvironment."
            )
        return self.handle_message(*args, **kwargs)

    def handle_message(self, *args: Any, **kwargs: Any) -> Any:
        """Handle one message of the workflow: its start, or its end."""
        ticket = ticket_of(self.request)
        if isinstance(ticket, BadTicket):
            raise refusal(ticket)
        if isinstance(ticket, WorkflowTicket):
            return self._finish(ticket.run_id) if ticket.finish else self._begin(ticket)
        if isinstance(ticket, ActivityTicket):
            raise refusal(BadTicket("it is an activity's, and this is a workflow"))
        own = ticket.options if isinstance(ticket, StartTicket) else {}
        return self._begin(WorkflowTicket(self._record_start(args, kwargs, own)), known=True)

    def _record_start(self, args: Sequence[Any], kwargs: Mapping[str, Any], own: Mapping[str, Any]) -> str:
        """Write the run of a start that came from a program without celeriac. Its task id makes it the same start."""
        request = self.request
        arguments = self.definition.signature.write(args, kwargs)
        options = WorkflowOptions(**{"id": request.id, **own, "start_key": request.id})
        origin = origins.from_request(request, named=options.id != request.id)
        queue = queue_from(self.app, request.delivery_info)
        try:
            return self.runtime.client.create(
                self.definition, arguments, options, origin=origin, queue=queue
            ).run.run_id
        except StoreRefused:
            raise  # as it would be each time
        except StoreError as error:
            self._later(error)

    def _begin(self, ticket: WorkflowTicket, *, known: bool = False) -> NoReturn:
        """Take the first turn, if nobody has, and leave the task open until the run's last message.

        :param known: the run was recorded from this very message.
        """
        if not ticket.later:
            # Tenants and traces put their headers on while the start is published, which is after it was recorded.
            late = None if known or not origins.custom_headers(self.request) else self._origin(ticket)
            try:
                self.runtime.turn(ticket.run_id, late)
            except StoreError as error:
                _LOG.warning("the first turn of run %s waits for the store: %s", ticket.run_id, error)
        if self.runtime.ended_last != ticket.run_id:
            events.waiting(self)
        raise LeftOpen

    def _origin(self, ticket: WorkflowTicket) -> dict[str, Json]:
        return origins.from_request(self.request, named=ticket.named)

    def _finish(self, run_id: str) -> Any:
        """Return the run's result, in its JSON form, or raise its failure, for Celery to do the rest."""
        client, run = self.runtime.client, getattr(self.request, CLOSED, None)
        if not isinstance(run, Run):  # a message has brought the end, and may bring anything by this name
            try:
                run = client.store.find_run(client.namespace, run_id=run_id)
            except StoreError as error:
                self._later(error)
        if run is None or run.status.open:
            raise Ignore
        if (run.name, (run.origin or {}).get("task_id")) != (self.name, self.request.id):
            raise refusal(BadTicket(f"the run {run_id!r} is not that of this task"))
        setattr(self.request, _FINISHES, run_id)
        if run.failure is None:
            return carried(run.result, texts=self.app.conf.result_serializer != "json")
        try:
            return client.outcome(run)
        except WorkflowCanceledError as error:
            self._end_as_revoked(run, str(error))
        except WorkflowFailedError as error:
            raise type(error)(str(error)) from None

    def _end_as_revoked(self, run: Run, why: str) -> NoReturn:
        """End the task as Celery ends a revoked one, but with its chord, chain and error callbacks told."""
        request = self.request
        self.backend.mark_as_failure(
            request.id,
            TaskRevokedError(why),
            request=request,
            store_result=not request.ignore_result,
            state=states.REVOKED,
        )
        events.revoked(self)
        self.finished(run.run_id)
        raise Ignore

    # -- after Celery has traced the last message: links are on their way, the result is stored ----------------------------

    def on_success(self, *args: Any) -> None:
        """Forget the last message."""
        super().on_success(*args)
        self._note_finished()

    def on_failure(self, *args: Any) -> None:
        """Forget the last message."""
        super().on_failure(*args)
        self._note_finished()

    def _note_finished(self) -> None:
        run_id = getattr(self.request, _FINISHES, None)
        if run_id is not None:
            self.finished(run_id)

    def finished(self, run_id: str) -> None:
        """Forget a run's last message. Where the store is away, it will come once more: links run at least once."""
        try:
            self.runtime.store.remove_task(run_id, TaskKind.FINISH, 0)
        except StoreError as error:
            _LOG.warning("the end of run %s will be told once more: %s", run_id, error)

    def _later(self, error: Exception) -> NoReturn:
        """Have this very message again in a while: the store is away, and nothing may be lost."""
        countdown = min(0.5 * 2.0 ** min(self.request.retries, 10), RETRY_MOST)
        _LOG.warning("workflow %s (%s) waits %g s for the store: %s", self.name, self.request.id, countdown, error)
        raise Task.retry(self, countdown=countdown, max_retries=None)

    def retry(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: a workflow is not retried by its message.

        :raises InvalidCall: always.
        """
        raise InvalidCall(f"workflow {self.name!r} can't retry itself; give its activities a RetryPolicy")

    def signature_from_request(self, *args: Any, **kwargs: Any) -> Any:
        """Send a message again past :meth:`apply_async`, which starts workflows."""
        signature = super().signature_from_request(*args, **kwargs)
        signature._type = _Resend(self)  # noqa: SLF001 - the signature asks its type to send
        return signature

    def send_resend(self, args: Any, kwargs: Any, **options: Any) -> Any:
        """Publish a message of this task as it is."""
        return super().apply_async(args, kwargs, **options)


def _own(options: dict[str, Any]) -> dict[str, Any]:
    """Take out of Celery's options what only workflows have, as ``WorkflowOptions`` has it."""
    refuse_misspelt(options, (*OWN, "workflow_id"), "the start of a workflow")
    own: dict[str, Any] = {name: options.pop(name) for name in OWN if name in options}
    workflow_id = options.pop("workflow_id", None)
    if workflow_id is not None:
        own["id"] = check_id(workflow_id)
    return own


class _Resend:
    """Stands in for the task in the signature of a message that is sent again."""

    def __init__(self, task: WorkflowTask) -> None:
        self._task = task
        self.name = task.name
        self.app = task.app

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        return self._task.send_resend(args, kwargs, **options)
