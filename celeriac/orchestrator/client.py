"""What anybody may do to runs from outside: start, signal, query, cancel, terminate, look."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from celeriac.crashes import CrashPoint, passing
from celeriac.durations import Duration, seconds
from celeriac.errors import (
    InvalidCall,
    ResultTimeout,
    StaleWrite,
    WorkflowCanceledError,
    WorkflowClosed,
    WorkflowFailedError,
    WorkflowIdInUse,
    WorkflowNotFound,
    WorkflowTerminatedError,
    WorkflowTimedOutError,
)
from celeriac.failures import Failure, summary
from celeriac.orchestrator import events, many, queries
from celeriac.orchestrator.definition import Registry, WorkflowDefinition
from celeriac.orchestrator.engine import Engine
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.executor import Signal, WorkflowHandle, WorkflowOptions
from celeriac.orchestrator.given import arguments_of, check_id, choice, holdable, noted
from celeriac.orchestrator.model import (
    Created,
    CreateOutcome,
    Delivery,
    DeliveryOutcome,
    IdConflict,
    IdReuse,
    Message,
    Micros,
    NewRun,
    Run,
    RunFilter,
    RunRef,
    Task,
    micros,
    moment,
)
from celeriac.orchestrator.ports import TurnReady
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState, WorkflowStatus
from celeriac.orchestrator.turn import CANCELED
from celeriac.payloads import Arguments, Json, check_size

MAX_TRIES: Final = 50
PURGE_BATCH: Final = 500
"""How many runs one transaction deletes."""


def new_id() -> str:
    """Return a random id, as Celery makes them."""
    return str(uuid.uuid4())


class Client:
    """The operations on runs, over an engine's store, registry and dispatcher. Safe for use by many threads."""

    def __init__(self, engine: Engine, registry: Registry, *, namespace: str) -> None:
        self.engine = engine
        self.store = engine.store
        self.registry = registry
        self.namespace = namespace

    def fresh_id(self) -> str:
        """Return a new id. Executors for tests give the same ones each time."""
        return new_id()

    def wall_time(self) -> float:
        """Return the sender's clock, in seconds since the epoch."""
        return time.time()

    # -- starting ------------------------------------------------------------------------------------------------------

    def execute(self, workflow: Any, options: WorkflowOptions | None = None) -> WorkflowHandle[Any]:
        """Start a workflow and return its handle; durable when this returns.

        :param workflow: a declared workflow or its name.
        :raises UnknownDefinition: no workflow of that name.
        :raises InvalidCall, PayloadError: the arguments do not fit; nothing was started.
        :raises WorkflowIdInUse: the id belongs to an open run, or may not be used again.
        """
        options = options or WorkflowOptions()
        definition = self.definition(workflow)
        created = self.create(definition, self.arguments(definition, options), options)
        if created.outcome is CreateOutcome.CREATED:
            self.engine.publish([TurnReady(run_ref(created.run))])
        return WorkflowHandle(self, created.run.workflow_id, created.run.run_id)

    @staticmethod
    def arguments(definition: WorkflowDefinition, options: WorkflowOptions) -> Arguments:
        """Check and record the arguments of a start.

        :raises InvalidCall, PayloadError: they do not fit.
        """
        return definition.signature.write(*arguments_of(definition, options))

    def definition(self, workflow: Any) -> WorkflowDefinition:
        """Return the definition that a declared workflow or a name stands for."""
        if isinstance(workflow, WorkflowDefinition):
            return workflow
        name = workflow if isinstance(workflow, str) else getattr(workflow, "name", None)
        if isinstance(name, str):
            return self.registry.known_workflow(name)
        raise InvalidCall(f"{workflow!r} is no workflow; pass a function declared with @durable.workflow, or its name")

    def create(
        self,
        definition: WorkflowDefinition,
        arguments: Arguments,
        options: WorkflowOptions,
        *,
        origin: Mapping[str, Json] | None = None,
        queue: str | None = None,
        delay: float = 0.0,
    ) -> Created:
        """Write a run. Publishing its first turn is the caller's.

        :param delay: seconds until the first turn; a relay publishes it then.
        :raises WorkflowIdInUse: the id belongs to an open run, or may not be used again.
        """
        wish = self.wish(definition, arguments, options, origin=origin, queue=queue)
        new = wish.new if delay <= 0 else replace(wish.new, turn_due=micros(delay))
        created = self._settled(new, wish.conflict, self.store.create(new))
        if created.outcome is CreateOutcome.CREATED and delay > 0:
            self._postpone(created.run.run_id, new.turn_due)
        return created

    def _settled(self, new: NewRun, conflict: IdConflict, created: Created) -> Created:
        """Return what a start comes to that had this answer, where its id may be another's.

        :raises WorkflowIdInUse: the id belongs to an open run, or may not be used again.
        """
        for _ in range(MAX_TRIES):
            if created.outcome in (CreateOutcome.CREATED, CreateOutcome.SAME_START):
                return created
            if created.outcome is CreateOutcome.REUSE_REFUSED or conflict is IdConflict.FAIL:
                raise _in_use(created.run)
            if conflict is IdConflict.ATTACH:
                return created
            self.terminate_run(created.run.run_id, "another run was started with its id")
            created = self.store.create(new)
        raise StaleWrite(f"workflow id {new.workflow_id!r} was taken again and again while it was to be started")

    # -- starting many -------------------------------------------------------------------------------------------------

    def start_many(
        self, workflow: Any, starts: Iterable[WorkflowOptions | Sequence[Any]], *, return_exceptions: bool = False
    ) -> Sequence[Any]:
        """Start a workflow many times, and return the handles in order; all are durable when this returns.

        They are written and published :data:`celeriac.orchestrator.many.CHUNK` at a time. Arguments are checked before anything
        is written; an id that is in use refuses the one start and leaves the others alone.

        :param workflow: a declared workflow or its name.
        :param starts: each a tuple of arguments, or ``WorkflowOptions``.
        :param return_exceptions: return what refused a start in its place, instead of raising it for all.
        :raises UnknownDefinition: no workflow of that name.
        :raises InvalidCall, PayloadError: arguments that do not fit; nothing was started.
        :raises StartsRefused: some ids are in use; all other starts were made. Has what became of each.
        """
        definition = self.definition(workflow)
        wishes = [self._wished(definition, place, each) for place, each in enumerate(starts)]
        results: list[Any] = []
        for begin in range(0, len(wishes), many.CHUNK):
            with many.among(begin, len(wishes)):
                made = self.create_many(wishes[begin : begin + many.CHUNK])
            fresh = [each for each in made if isinstance(each, Created) and each.outcome is CreateOutcome.CREATED]
            self.engine.publish([TurnReady(run_ref(each.run)) for each in fresh])
            results += [
                WorkflowHandle(self, each.run.workflow_id, each.run.run_id) if isinstance(each, Created) else each
                for each in made
            ]
        return many.told(definition.name, results, return_exceptions=return_exceptions)

    def _wished(self, definition: WorkflowDefinition, place: int, given: Any) -> many.Wish:
        options = many.options_of(place, given)
        with many.at(place):
            return self.wish(definition, self.arguments(definition, options), options)

    def wish(
        self,
        definition: WorkflowDefinition,
        arguments: Arguments,
        options: WorkflowOptions,
        *,
        origin: Mapping[str, Json] | None = None,
        queue: str | None = None,
    ) -> many.Wish:
        """Return a start that has been checked and is still to be written, for :meth:`create_many`."""
        conflict = choice(IdConflict, options.id_conflict, "id_conflict")
        return many.Wish(self._new_run(definition, arguments, options, origin, queue), conflict)

    def create_many(self, wishes: Sequence[many.Wish]) -> list[many.Outcome]:
        """Write many runs in one go and say what became of each. Publishing their first turns is the caller's.

        :param wishes: a few hundred at most.
        """
        outcomes: list[many.Outcome] = []
        for wish, created in zip(wishes, self.store.create_many([each.new for each in wishes]), strict=True):
            try:
                outcomes.append(self._settled(wish.new, wish.conflict, created))
            except (WorkflowIdInUse, StaleWrite) as error:
                outcomes.append(error)
        return outcomes

    def _postpone(self, run_id: str, delay: Micros) -> None:
        """Note that nobody has published the first turn, so that the relay does not take it for one in a backlog."""
        turn = Task(run_id, TaskKind.TURN, 0, TaskState.QUEUED, None, self.namespace, attempt=0)
        self.store.postpone(turn, delay=delay, published=0)

    def _new_run(
        self,
        definition: WorkflowDefinition,
        arguments: Arguments,
        options: WorkflowOptions,
        origin: Mapping[str, Json] | None,
        queue: str | None,
    ) -> NewRun:
        workflow_id = self.fresh_id() if options.id is None else check_id(options.id)
        timeout: Duration | None = options.timeout if options.timeout is not None else definition.settings.timeout
        limit = None if timeout is None else seconds(timeout, name="timeout", positive=True)
        args, kwargs = list(arguments.args), dict(arguments.kwargs)
        check_size(
            [*args, *kwargs.values()], self.registry.max_payload, f"the arguments of workflow {definition.name!r}"
        )
        started = events.WorkflowStarted(
            definition.name, definition.settings.version, args, kwargs, self.fresh_id(), limit
        )
        return NewRun(
            run_id=self.fresh_id(),
            workflow_id=workflow_id,
            namespace=self.namespace,
            name=definition.name,
            epoch=uuid.uuid4().hex,
            start_key=holdable("a start's key", options.start_key) if options.start_key else self.fresh_id(),
            started=started,
            input={"args": args, "kwargs": kwargs},
            definition_version=definition.settings.version,
            queue=holdable("a queue's name", queue) if queue else definition.settings.queue,
            timeout=None if limit is None else micros(limit),
            origin=dict(origin) if origin is not None else None,
            memo=noted(options.memo, f"memo of workflow {definition.name!r}"),
            attributes=noted(options.attributes, f"attributes of workflow {definition.name!r}"),
            id_reuse=choice(IdReuse, options.id_reuse, "id_reuse"),
            turn_due=micros(self.engine.settings.republish_after),  # type: ignore[arg-type]
        )

    # -- sending -------------------------------------------------------------------------------------------------------

    def signal(self, workflow_id: str, signal: Signal) -> None:
        """Send a signal; recorded when this returns.

        :raises SignalRejected, PayloadError: it does not fit; nothing was recorded.
        :raises WorkflowNotFound, WorkflowClosed: nobody takes it.
        """
        run = self.store.find_run(self.namespace, workflow_id=workflow_id) if self.registry.workflows else None
        name, payload = self.registry.check_signal(
            run.name if run else None, signal.type or signal.name, signal.payload
        )
        self.deliver_signal(workflow_id, replace(signal, name=name, payload=payload))

    def deliver_signal(self, workflow_id: str, signal: Signal) -> Delivery:
        """Put a signal whose payload is JSON already into the run's inbox."""
        data: dict[str, Json] = {
            "name": signal.name,
            "payload": signal.payload,
            "sent_at": signal.sent_at or self.wall_time(),
        }
        if signal.sender_id:
            data["sender_id"] = signal.sender_id
        key = holdable("a signal's key", signal.key) if signal.key else self.fresh_id()
        return self._deliver(workflow_id, Message(MessageKind.SIGNAL, f"signal:{key}", data))

    def cancel(self, workflow_id: str, reason: str = "") -> None:
        """Ask a run to stop; recorded when this returns. Canceling twice is canceling once.

        :raises WorkflowNotFound, WorkflowClosed: there is nothing to cancel.
        """
        self._deliver(workflow_id, Message(MessageKind.CANCEL, "cancel", {"reason": reason}))

    def _deliver(self, workflow_id: str, message: Message) -> Delivery:
        passing(CrashPoint.BEFORE_DELIVERY)
        delivery = self.store.deliver(message, namespace=self.namespace, workflow_id=workflow_id)
        passing(CrashPoint.AFTER_DELIVERY)
        if delivery.outcome is DeliveryOutcome.NOT_FOUND:
            raise WorkflowNotFound(workflow_id)
        if delivery.outcome is DeliveryOutcome.CLOSED:
            raise WorkflowClosed(workflow_id, delivery.run.status if delivery.run else "closed")
        self.engine.delivered(delivery)
        return delivery

    def terminate(self, workflow_id: str, reason: str = "") -> None:
        """End a run at once; none of its code runs.

        :raises WorkflowNotFound, WorkflowClosed: there is nothing to terminate.
        """
        run = self.describe(workflow_id)
        if not run.status.open:
            raise WorkflowClosed(workflow_id, run.status)
        self.terminate_run(run.run_id, reason)

    def terminate_run(self, run_id: str, reason: str) -> None:
        """End a run at once, by its run id; a run that has closed meanwhile stays as it is."""
        failure: dict[str, Json] = {"type": "WorkflowTerminatedError", "message": reason or "terminated"}
        event = events.WorkflowTerminated(reason)
        self.engine.close_at_once(self.namespace, run_id, WorkflowStatus.TERMINATED, event, failure)

    def pause(self, workflow_id: str) -> None:
        """Keep a run from taking turns until it is resumed; it goes on taking input."""
        self.store.set_status(self._open(workflow_id).run_id, WorkflowStatus.PAUSED)

    def resume(self, workflow_id: str) -> None:
        """Let a paused or blocked run take turns again, at once."""
        self.engine.delivered(self.store.set_status(self._open(workflow_id).run_id, WorkflowStatus.RUNNING))

    def _open(self, workflow_id: str) -> Run:
        run = self.describe(workflow_id)
        if not run.status.open:
            raise WorkflowClosed(workflow_id, run.status)
        return run

    # -- looking -------------------------------------------------------------------------------------------------------

    def handle(self, workflow_id: str) -> WorkflowHandle[Any]:
        """Return a handle on the latest run with this workflow id.

        :raises WorkflowNotFound: there is none.
        """
        return WorkflowHandle(self, workflow_id, self.describe(workflow_id).run_id)

    def describe(self, workflow_id: str) -> Run:
        """Return the latest run with this workflow id (a run id will do as well).

        :raises WorkflowNotFound: there is none.
        """
        run = self.store.find_run(self.namespace, workflow_id=workflow_id)
        run = run or self.store.find_run(self.namespace, run_id=workflow_id)
        if run is None:
            raise WorkflowNotFound(workflow_id)
        return run

    def history(self, workflow_id: str) -> Sequence[HistoryEvent]:
        """Return the events of the latest run with this workflow id."""
        return self.store.history(self.describe(workflow_id).run_id)

    def list(self, where: RunFilter | None = None) -> Sequence[Run]:
        """Return runs, newest first, a page at a time."""
        return self.store.list(self.namespace, where or RunFilter())

    def purge(self, older_than: Duration, *, batch: int = PURGE_BATCH, limit: int | None = None) -> int:
        """Delete closed runs with their histories, and return how many that were.

        Each batch is a transaction of its own. A run whose last message has not arrived yet is kept.

        :param older_than: seconds since they closed.
        :param limit: how many at most.
        """
        return sum(self.purging(older_than, batch=batch, limit=limit))

    def purging(self, older_than: Duration, *, batch: int = PURGE_BATCH, limit: int | None = None) -> Iterator[int]:
        """Do the same, and yield how many each batch has deleted."""
        before = self.store.now() - micros(seconds(older_than, name="older_than"))
        left = limit
        while left is None or left > 0:
            size = batch if left is None else min(batch, left)
            deleted = self.store.purge(self.namespace, closed_before=before, limit=size)
            yield deleted
            if deleted < size:
                return
            left = None if left is None else left - deleted

    def query(self, workflow_id: str, query_type: str, *args: Any) -> Any:
        """Answer a question about a run: built in are ``status``, ``result``, ``history``, ``waits`` and ``stack``.

        Declared queries run here, on a replayed copy that has seen every signal accepted so far; nothing is recorded.

        :raises UnknownDefinition: no such query, or this process has no such workflow.
        :raises QueryFailed: the query's own code raised.
        """
        run = self.describe(workflow_id)
        match query_type:
            case "status":
                return run.status.value
            case "result":
                return self.outcome(run) if not run.status.open else None
            case "history":
                return self.store.history(run.run_id)
            case "waits":
                return list(run.waits)
        return queries.ask(self.engine, self.registry.known_workflow(run.name), run, query_type, args)

    # -- results -------------------------------------------------------------------------------------------------------

    def result(self, run_id: str, timeout: float | None = None) -> Any:
        """Wait for the end of a run and return its result.

        :param timeout: seconds, or None for as long as it takes.
        :raises WorkflowFailedError: it ended without a result.
        :raises ResultTimeout: it did not end in time; it goes on.
        """
        run = self.wait_closed(run_id, timeout)
        if run.status.open:
            raise ResultTimeout(_still_waiting(run, timeout))
        return self.outcome(run)

    def wait_closed(self, run_id: str, timeout: float | None) -> Run:
        """Return the run once it has closed, or as it is when the time is up."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = self.first_pause()
        while True:
            run = self.store.find_run(self.namespace, run_id=run_id)
            if run is None:
                raise WorkflowNotFound(run_id)
            left = None if deadline is None else deadline - time.monotonic()
            if not run.status.open or (left is not None and left <= 0):
                return run
            self.pause_for(run_id, pause if left is None else min(pause, left))
            pause = min(pause * 1.5, 0.5)

    def first_pause(self) -> float:
        """Return after how many seconds to look again for a run that is open. The pauses grow, to half a second at most."""
        return 0.005

    def pause_for(self, run_id: str, interval: float) -> None:  # noqa: ARG002 - for those who are told of the close
        """Wait until the run may have closed, at most ``interval`` seconds. Executors with a notice do better."""
        time.sleep(interval)

    def outcome(self, run: Run) -> Any:
        """Return a closed run's result, or raise its failure."""
        if run.status is WorkflowStatus.COMPLETED:
            definition = self.registry.workflow(run.name)
            if definition is None:
                return run.result
            return definition.signature.result.read(run.result, f"result of workflow {run.name!r}")
        failure = run.failure or {}
        raise _FAILURES.get(run.status, WorkflowFailedError)(
            f"workflow {run.workflow_id!r} ({run.name}) {_ended(run.status, failure)}", failure
        )


_FAILURES: Final[dict[WorkflowStatus, Callable[..., WorkflowFailedError]]] = {
    WorkflowStatus.CANCELED: WorkflowCanceledError,
    WorkflowStatus.TERMINATED: WorkflowTerminatedError,
    WorkflowStatus.TIMED_OUT: WorkflowTimedOutError,
}


def _ended(status: WorkflowStatus, failure: Failure) -> str:
    """Say how a run ended without a result, each thing once."""
    how = status.value.replace("_", " ")
    why = summary(failure)
    if status is not WorkflowStatus.FAILED:
        why = str(failure.get("message", "")).removeprefix(CANCELED).removeprefix(": ")
    return how if why in {"", how} else f"{how}: {why}"


def run_ref(run: Run) -> RunRef:
    """Return as much of a run as publishing for it needs."""
    return RunRef(run.run_id, run.workflow_id, run.namespace, run.name, run.queue, run.status)


def _in_use(run: Run) -> WorkflowIdInUse:
    since = moment(run.created_at).isoformat(timespec="seconds")
    return WorkflowIdInUse(run.workflow_id, name=run.name, status=run.status.value, since=since, run_id=run.run_id)


def _still_waiting(run: Run, timeout: float | None) -> str:
    waits = ", ".join(run.waits) if run.waits else "its next turn"
    blocked = run.status is WorkflowStatus.BLOCKED
    why = f"is blocked: {(run.blocked or {}).get('message', '')}" if blocked else f"waits for {waits}"
    since = moment(run.updated_at).isoformat(timespec="seconds")
    late = f"workflow {run.workflow_id!r} has no result after {timeout:g} s"
    return f"{late}: it {why}, since {since}. It goes on; ask again later."
