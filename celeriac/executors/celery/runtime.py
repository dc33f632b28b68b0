"""All that celeriac needs in one process of a Celery app, made when it is first used and made anew after a fork."""

from __future__ import annotations

import functools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from celeriac.errors import ConfigurationError
from celeriac.executors.celery import begun, ending, foreign, queues
from celeriac.executors.celery.dispatcher import CeleryDispatcher
from celeriac.executors.celery.hints import HintPipe
from celeriac.executors.celery.leases import LeaseKeeper
from celeriac.executors.celery.notices import NOTICED, Notices
from celeriac.executors.celery.registry import OPTIONS, CeleryRegistry
from celeriac.executors.celery.sharedflag import SharedFlag
from celeriac.executors.celery.turnthread import TurnThread
from celeriac.orchestrator import many
from celeriac.orchestrator.attempts import Attempts, AttemptSettings
from celeriac.orchestrator.cache import RunCache
from celeriac.orchestrator.client import Client
from celeriac.orchestrator.engine import Engine, EngineSettings, TurnOutcome
from celeriac.orchestrator.executor import WorkflowHandle, WorkflowOptions
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.local import LocalSettings
from celeriac.orchestrator.model import Micros, Run
from celeriac.orchestrator.ports import ActivityReady, Hint, LocalRunner, RunFinished, SignalBus, Store
from celeriac.orchestrator.relay import Relay
from celeriac.orchestrator.watchdog import Watchdog
from celeriac.payloads import Json

if TYPE_CHECKING:
    from celeriac.config.settings import Settings  # read when first needed, with what reads them

_LOG: Final = logging.getLogger("celeriac")


class CeleryRuntime:
    """One app's store, engine, relay and threads in this process.

    :param app: the Celery app.
    :param load: reads the settings; called when something is first needed, not before.
    :param open_store: opens the store of the settings.
    :param open_bus: opens the bus of the settings, or returns None where there is none.
    """

    def __init__(
        self,
        app: Celery,
        *,
        load: Callable[[], Settings],
        open_store: Callable[[Settings], Store],
        open_bus: Callable[[Celery, Settings], SignalBus | None],
    ) -> None:
        self.app = app
        self.hooks = Hooks()
        self.registry = CeleryRegistry(app)
        self.worker_pool: str | None = None
        """The kind of pool of the worker that this process belongs to, or None outside workers."""
        self.hostname = ""
        self.pipe: HintPipe | None = None
        self.stopping = SharedFlag()
        self.wake: Callable[[Micros], None] | None = None
        self.ended_last: str | None = None
        """The run whose end this process was the last to tell Celery of, without a message."""
        self._load = load
        self._open_store = open_store
        self._open_bus = open_bus
        self._lock = threading.RLock()
        _RUNTIMES.add(self)

    # -- made when first used --------------------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> Settings:
        """The settings, read once."""
        return self._load()

    @cached_property
    def namespace(self) -> str:
        """What keeps this app's runs apart from others': the setting, else the app's main name."""
        return self.settings.namespace or self.app.main or "celery"

    @cached_property
    def time_limits(self) -> tuple[float | None, float | None]:
        """The app's hard and soft time limits of tasks that have none of their own, in seconds."""
        conf = self.app.conf
        return conf.task_time_limit, conf.task_soft_time_limit

    @cached_property
    def store(self) -> Store:
        """The store.

        :raises ConfigurationError: none is configured.
        """
        with self._lock:
            return self._open_store(self.settings)

    @cached_property
    def bus(self) -> SignalBus | None:
        """The signal bus, or None where there is none."""
        with self._lock:
            return self._open_bus(self.app, self.settings)

    @cached_property
    def dispatcher(self) -> CeleryDispatcher:
        """Publishes through the app."""
        return _NoticingDispatcher(self)

    @cached_property
    def engine(self) -> Engine:
        """Takes turns."""
        settings = self.settings
        self.registry.max_payload = settings.max_payload_bytes
        with self._lock:
            return Engine(
                self.store,
                self.registry,
                self.dispatcher,
                settings=EngineSettings(
                    namespace=self.namespace,
                    turn_lease=settings.lease,
                    republish_after=settings.republish_after,
                    start_to_close=settings.default_start_to_close,
                    long_history=settings.event_limit_warning,
                ),
                cache=RunCache(settings.cache_runs, settings.cache_bytes),
                hooks=lambda: self.hooks,
                watchdog=Watchdog(
                    cpu_limit=settings.turn_cpu_limit.total_seconds(),
                    wall_limit=settings.turn_wall_limit.total_seconds(),
                ),
                interrupts=(SoftTimeLimitExceeded,),
                begun=lambda run: begun.store_started(self, run),
                keep=lambda fence: self.leases.keeping(fence, _nothing),
                run_turn=lambda call: self.turns.run(call),  # noqa: PLW0108 - another thread after a fork
                local=LocalSettings(runner=_calls),
            )

    @cached_property
    def client(self) -> Client:
        """The operations on runs."""
        return CeleryClient(self)

    @cached_property
    def attempts(self) -> Attempts:
        """Claims attempts and brings about their ends."""
        settings = AttemptSettings(lease=self.settings.lease, republish_after=self.settings.republish_after)
        return foreign.CeleryAttempts(self, self.engine, settings, hooks=lambda: self.hooks)

    @cached_property
    def relay(self) -> Relay:
        """Looks at what is due."""
        return Relay(
            self.attempts,
            namespace=self.namespace,
            batch=self.settings.relay_batch,
            republish_max=self.settings.republish_max,
        )

    @cached_property
    def leases(self) -> LeaseKeeper:
        """Renews what this process has claimed."""
        return LeaseKeeper(lambda: self.store, self.settings.lease.total_seconds())

    @cached_property
    def notices(self) -> Notices:
        """Hears of runs that have closed."""
        return Notices(lambda: self.bus, f"celeriac:{self.namespace}:closed")

    @cached_property
    def turns(self) -> TurnThread:
        """Where turns run: here in pools with one thread a process, on one thread of their own elsewhere."""
        return TurnThread(own=self.worker_pool not in {"prefork", "solo"})

    # -- what tasks do -------------------------------------------------------------------------------------------------

    def turn(self, run_id: str, origin: Mapping[str, Json] | None = None) -> TurnOutcome:
        """Take a run's turn on the turn thread.

        :param origin: replaces the run's origin if this is its first turn.
        """
        return self.turns.run(lambda: self.engine.turn(run_id, origin=origin))

    def may_inline(self, queue: str | None) -> bool:
        """Whether this process may take the next turn of a run whose turns go to ``queue``."""
        if self.settings.inline_turns == "never" or self.worker_pool is None:
            return False
        return queues.serves(self.app, queue)

    def expect(self, due_at: Micros) -> None:
        """Tell the relay of this worker that something falls due."""
        if self.pipe is not None:
            self.pipe.tell(due_at)

    @staticmethod
    def is_id_only(task: Any) -> bool:
        """Whether a task reads its arguments from the store, so that its messages need none."""
        return getattr(task, OPTIONS, None) is not None

    def metrics(self) -> dict[str, float]:
        """Return what this process has to tell of itself, one number a name; opens nothing."""
        engine: Engine | None = self.__dict__.get("engine")
        return (RunCache() if engine is None else engine.cache).metrics()

    # -- life ----------------------------------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """Let go, in a new child, of what is bound to the parent's threads and connections."""
        self._lock = threading.RLock()
        for name in ("bus", "notices", "leases", "turns"):
            self.__dict__.pop(name, None)
        engine: Engine | None = self.__dict__.get("engine")
        if engine is not None:
            engine.cache = RunCache(self.settings.cache_runs, self.settings.cache_bytes)
            engine.watchdog.after_fork()

    def close(self) -> None:
        """Let go of connections."""
        bus, store = self.__dict__.pop("bus", None), self.__dict__.get("store")
        if bus is not None:
            bus.close()
        if store is not None:
            store.close()


class CeleryClient(Client):
    """The client of a Celery app: results are waited for with the notice of the process that closed the run."""

    def __init__(self, runtime: CeleryRuntime) -> None:
        super().__init__(runtime.engine, runtime.registry, namespace=runtime.namespace)
        self._runtime = runtime

    def execute(self, workflow: Any, options: WorkflowOptions | None = None) -> WorkflowHandle[Any]:
        """Start a workflow as its task does, so that those who watch see it, and return its handle."""
        options = options or WorkflowOptions()
        definition = self.definition(workflow)
        task = self._runtime.app.tasks.get(definition.name)
        if task is None or getattr(task, "definition", None) is not definition:
            return super().execute(definition, options)
        own = {
            name: getattr(options, name) for name in ("id", "id_conflict", "id_reuse", "timeout", "memo", "attributes")
        }
        result = task.start(self.arguments(definition, options), own, task_id=options.start_key)
        return WorkflowHandle(self, result.workflow_id, result.run_id)

    def start_many(self, workflow: Any, starts: Iterable[Any], *, return_exceptions: bool = False) -> Sequence[Any]:
        """Start a workflow many times as its task does, and return the handles in order."""
        definition = self.definition(workflow)
        task = self._runtime.app.tasks.get(definition.name)
        if task is None or getattr(task, "definition", None) is not definition:
            return super().start_many(definition, starts, return_exceptions=return_exceptions)
        results = task.record_many(starts)
        handles: list[Any] = [
            each
            if isinstance(each, Exception)
            else WorkflowHandle(self, each.workflow_id or each.id, each.run_id or each.id)
            for each in results
        ]
        return many.told(definition.name, handles, return_exceptions=return_exceptions)

    def wait_closed(self, run_id: str, timeout: float | None) -> Run:
        """Return the run once it has closed, or as it is when the time is up."""
        with self._runtime.notices.watching(run_id):
            return super().wait_closed(run_id, timeout)

    def first_pause(self) -> float:
        """Return a longer one where notices are known to arrive."""
        return NOTICED if self._runtime.notices.arrive else super().first_pause()

    def pause_for(self, run_id: str, interval: float) -> None:
        """Wait for the notice, at most ``interval`` seconds."""
        self._runtime.notices.wait(run_id, interval)


class _NoticingDispatcher(CeleryDispatcher):
    """Tells waiting callers of closed runs before it publishes."""

    def __init__(self, runtime: CeleryRuntime) -> None:
        super().__init__(runtime.app, runtime.expect, runtime.is_id_only)
        self._runtime = runtime

    def publish(self, hints: Any) -> None:
        """Publish hints, and a notice for each run that has closed."""
        messages: list[Hint] = [
            each for each in hints if not isinstance(each, RunFinished) or not self._told_of_end(each)
        ]
        abroad = [each for each in messages if isinstance(each, ActivityReady) and foreign.is_foreign(each)]
        home = [each for each in messages if not (isinstance(each, ActivityReady) and foreign.is_foreign(each))]
        if home:
            super().publish(home)
        for hint in abroad:
            foreign.publish(self._runtime, hint, functools.partial(self._send_abroad, hint))

    def publish_early(self, hints: Sequence[ActivityReady]) -> bool:
        """Publish hints early; not of tasks that workers without celeriac run, for those claim nothing."""
        return not any(map(foreign.is_foreign, hints)) and super().publish_early(hints)

    def _told_of_end(self, hint: RunFinished) -> bool:
        """Give notice of a run that has closed, and tell Celery, where that takes no message."""
        self._runtime.notices.tell(hint.run.run_id)
        if hint.origin is None:
            return True
        if hint.closed is None or not ending.may_end_here(self._runtime, hint):
            return False
        ending.end_here(self._runtime, hint.closed, self.last_message(hint.run, hint.origin))
        self._runtime.ended_last = hint.run.run_id
        return True

    def _send_abroad(self, hint: ActivityReady, options: dict[str, Any]) -> None:
        with self._runtime.app.producer_or_acquire() as producer:
            self.send_activity(hint, producer, options)


def _nothing() -> None:
    """A turn whose claim is gone finds out when it commits."""


def _calls() -> LocalRunner:
    from celeriac.executors.celery.localcalls import CeleryCalls  # noqa: PLC0415 - it knows this module

    return CeleryCalls()


_RUNTIMES: Final[weakref.WeakSet[CeleryRuntime]] = weakref.WeakSet()
_ATTRIBUTE: Final = "celeriac_runtime"


def _after_fork() -> None:
    for runtime in list(_RUNTIMES):
        runtime.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def attach(app: Celery, runtime: CeleryRuntime) -> None:
    """Make a runtime the app's.

    :raises ConfigurationError: the app has one already.
    """
    if app.__dict__.get(_ATTRIBUTE) is not None:
        raise ConfigurationError(
            f"celeriac is attached to the app {app.main!r} already; use the one Celeriac(...) of this app"
        )
    app.__dict__[_ATTRIBUTE] = runtime


def is_attached(app: Celery) -> bool:
    """Whether celeriac is attached to an app."""
    return app.__dict__.get(_ATTRIBUTE) is not None


def runtime_of(app: Celery) -> CeleryRuntime:
    """Return the app's runtime.

    :raises ConfigurationError: celeriac is not attached to the app.
    """
    found = app.__dict__.get(_ATTRIBUTE)
    if found is None:
        raise ConfigurationError(
            f"celeriac is not attached to the app {app.main!r}. Write: durable = Celeriac(app, store='postgresql+psycopg://...')"
        )
    return found  # type: ignore[no-any-return]
