"""The local executor: the same engine, relay and store contract, in this one process, with a clock that jumps over waits."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from celeriac.activities.definition import ActivityDefinition
from celeriac.errors import ResultTimeout, WorkflowNotFound
from celeriac.orchestrator.attempts import Attempts, AttemptSettings
from celeriac.orchestrator.cache import RunCache
from celeriac.orchestrator.client import Client
from celeriac.orchestrator.definition import Registry
from celeriac.orchestrator.engine import Engine, EngineSettings, TurnOutcome
from celeriac.orchestrator.executor import Config, WorkflowHandle, WorkflowOptions, register
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.inprocess import InProcess
from celeriac.orchestrator.local import LocalSettings
from celeriac.orchestrator.model import SECOND, Micros, Run, RunFilter, micros
from celeriac.orchestrator.ports import ActivityReady, Hint, RunFinished, Store, TurnReady
from celeriac.orchestrator.relay import Relay
from celeriac.orchestrator.runner import run_attempt
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.orchestrator.watchdog import Watchdog

NAMESPACE: Final = "local"
SLACK: Final[Micros] = 1_000
"""What is due within this after a stretch of time still happens in it: each look at the clock takes a microsecond."""
PATIENCE: Final = 8
"""After so many jumps of the clock that brought nothing but runs that are still blocked, those are jumped over."""


class JumpingClock:
    """Microseconds since the epoch that stand still until they are moved on.

    :param start: where to begin; None for now.
    """

    def __init__(self, start: Micros | None = None) -> None:
        self._now = time.time_ns() // 1000 if start is None else start

    def __call__(self) -> Micros:
        """Return the time, a microsecond later at each look, so that no two things happen at once."""
        self._now += 1
        return self._now

    @property
    def now(self) -> Micros:
        """The time, without a look's microsecond."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds."""
        self._now += round(seconds * SECOND)

    def advance_to(self, at: Micros) -> None:
        """Move on to a time; never back."""
        self._now = max(self._now, at)


class QueueDispatcher:
    """Hints in queues of this process: those that are ready, and those that wait, by the jumping clock."""

    def __init__(self, clock: JumpingClock) -> None:
        self._clock = clock
        self._ready: deque[Hint] = deque()
        self._waiting: list[tuple[Micros, int, Hint]] = []
        self._numbers = itertools.count()

    def publish(self, hints: Sequence[Hint]) -> None:
        """Put hints into the queues."""
        for hint in hints:
            delay = 0.0 if isinstance(hint, RunFinished) else hint.delay
            if delay > 0:
                heapq.heappush(self._waiting, (self._clock.now + micros(delay), next(self._numbers), hint))
            else:
                self._ready.append(hint)

    def publish_early(self, hints: Sequence[ActivityReady]) -> bool:  # noqa: ARG002 - the port's
        """Nobody else could begin anything meanwhile."""
        return False

    def take(self) -> Hint | None:
        """Hand out the next hint whose time has come."""
        if self._ready:
            return self._ready.popleft()
        if self._waiting and self._waiting[0][0] <= self._clock.now:
            return heapq.heappop(self._waiting)[2]
        return None

    def next_due(self) -> Micros | None:
        """Return when the next waiting hint is due."""
        return self._waiting[0][0] if self._waiting else None

    def expect(self, due_at: Micros) -> None:
        """Nobody sleeps here."""

    def backlog(self, queue: str | None) -> int | None:  # noqa: ARG002 - the port's
        """Nothing waits here."""
        return 0


class LocalExecutor(Client):
    """Runs workflows in this process, on demand: whoever waits for a result drives everything that is due.

    Time jumps to the next due row when nothing else is left to do, so that a workflow that sleeps for a year ends at once.

    :param registry: the declared workflows, activities and signals.
    :param store: a store that takes its clock from ``clock``; an in-memory one by default.
    :param clock: where the time comes from.
    :param jump: let the clock jump over waits.
    :param cache: how many live runs are kept between turns; 0 replays every turn from the first event.
    :param inline: take the turn that follows an activity on the spot.
    :param draw: gives random numbers from 0 to 1, for the jitter of retries; none unless given.
    :param watchdog: limits the turns.
    :param seed: makes ids and the runs' random numbers the same each time.
    """

    def __init__(
        self,
        registry: Registry | None = None,
        store: Store | None = None,
        *,
        clock: JumpingClock | None = None,
        hooks: Hooks | None = None,
        cache: int = 1000,
        jump: bool = True,
        namespace: str = NAMESPACE,
        inline: bool = False,
        draw: Callable[[], float] = lambda: 0.0,
        watchdog: Watchdog | None = None,
        seed: int | None = None,
    ) -> None:
        from celeriac.stores.memory import InMemoryStore  # noqa: PLC0415 - only where no store is given

        self.clock = clock or JumpingClock()
        self.dispatcher = QueueDispatcher(self.clock)
        self.hooks = hooks or Hooks()
        self.jump = jump
        self.inline = inline
        self.mocks: dict[str, Callable[..., Any]] = {}
        registry = registry if registry is not None else Registry()
        engine = Engine(
            store if store is not None else InMemoryStore(clock=self.clock),
            registry,
            self.dispatcher,
            settings=EngineSettings(namespace=namespace),
            cache=RunCache(cache),
            hooks=lambda: self.hooks,
            watchdog=watchdog,
            local=LocalSettings(
                runner=lambda: _Mockable(self.mocks),
                clock=lambda: self.clock.now / SECOND,
                sleep=self.clock.advance,
                draw=draw,
            ),
        )
        super().__init__(engine, registry, namespace=namespace)
        self.attempts = Attempts(engine, AttemptSettings(), hooks=lambda: self.hooks, draw=draw)
        self.relay = Relay(self.attempts, namespace=namespace, draw=lambda: 0.0)
        self._dice = None if seed is None else random.Random(seed)  # noqa: S311 - reproducible is the point
        self._lock = threading.RLock()
        self._home: int | None = None
        """The thread that live runs are kept for: a suspended plain function can't go on in another."""
        self._barren = 0
        """How many jumps of the clock have brought nothing since the last thing that went on."""

    def fresh_id(self) -> str:
        """Return a new id: random, or the next one of the seed's."""
        if self._dice is None:
            return super().fresh_id()
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))

    def wall_time(self) -> float:
        """Return the jumping clock's time in seconds since the epoch."""
        return self.clock.now / SECOND

    # -- driving -------------------------------------------------------------------------------------------------------

    def drive(self, until: Callable[[], bool] = lambda: False, *, jump: bool | None = None) -> bool:
        """Do what is due until ``until()`` holds or nothing is left.

        :returns: whether ``until()`` holds.
        """
        with self._driving():
            self._barren = 0
            while not until():
                if not self.step(jump=self.jump if jump is None else jump):
                    return until()
            return True

    def advance(self, seconds: float) -> None:
        """Let time pass; what falls due meanwhile happens at its time."""
        end = self.clock.now + micros(seconds)
        with self._driving():
            self.drive(jump=False)
            while (due := self._earliest()) is not None and due <= end + SLACK:
                self.clock.advance_to(due)
                self.drive(jump=False)
            self.clock.advance_to(end)
            self.drive(jump=False)

    def step(self, *, jump: bool = True) -> bool:
        """Handle one hint, else what is due, else jump to what falls due next. False when nothing is left to do."""
        hint = self.dispatcher.take()
        if hint is not None:
            if self._handle(hint):
                self._barren = 0
            return True
        if self.relay.tick():
            return True
        if not jump:
            return False
        self._barren += 1
        due = self._earliest() if self._barren <= PATIENCE else self._earliest_of_unblocked()
        if due is None:
            return False
        self.clock.advance_to(due)
        return True

    def _earliest(self) -> Micros | None:
        return min(
            (each for each in (self.dispatcher.next_due(), self.relay.next_due()) if each is not None), default=None
        )

    def _earliest_of_unblocked(self) -> Micros | None:
        """Return when something is due that is not the next try of a blocked run, which would come for ever."""
        running = self.store.list(self.namespace, RunFilter(statuses=(WorkflowStatus.RUNNING,), limit=10_000))
        dues = [task.due_at for run in running for task in self.store.tasks(run.run_id)]
        return min((each for each in (*dues, self.dispatcher.next_due()) if each is not None), default=None)

    def _handle(self, hint: Hint) -> bool:
        """Do what a hint says; True if something has come of it."""
        if isinstance(hint, TurnReady):
            return self.engine.turn(hint.run.run_id) is TurnOutcome.COMMITTED
        if isinstance(hint, ActivityReady):
            claim = self.attempts.claim(hint.run.run_id, hint.seq, attempt=hint.attempt, worker="local")
            if claim is not None:
                name = claim.task.data["name"]
                activity = self.registry.activity(name)
                _outside_loop(
                    lambda: run_attempt(self.attempts, claim, activity, self.mocks.get(name), inline=self.inline)
                )
                return True
        return False

    @contextmanager
    def _driving(self) -> Iterator[None]:
        """Have one thread drive at a time; live runs are kept between turns for the first one only."""
        with self._lock:
            here = threading.get_ident()
            if self._home is None:
                self._home = here
            kept = self.engine.cache
            if here != self._home:
                self.engine.cache = RunCache(0)
            try:
                yield
            finally:
                self.engine.cache = kept

    def wait_closed(self, run_id: str, timeout: float | None) -> Run:
        """Drive until the run has closed or waits for something that only the outside can bring.

        :param timeout: seconds of the real clock, a net for workflows that never end.
        """
        deadline = None if timeout is None else time.monotonic() + timeout

        def done() -> bool:
            return self._run(run_id).status is not WorkflowStatus.RUNNING or late()

        def late() -> bool:
            return deadline is not None and time.monotonic() >= deadline

        self.drive(late, jump=False)  # a blocked run gets what has come in for it meanwhile
        self.drive(done)
        run = self._run(run_id)
        if run.status.open and not late():
            raise ResultTimeout(f"workflow {run.workflow_id!r} can't end by itself: {_why_open(run)}")
        return run

    def _run(self, run_id: str) -> Run:
        run = self.store.find_run(self.namespace, run_id=run_id)
        if run is None:
            raise WorkflowNotFound(run_id)
        return run

    def run(self, workflow: Any, *args: Any, **kwargs: Any) -> Any:
        """Start a workflow and return its result (for tests and notebooks)."""
        handle: WorkflowHandle[Any] = self.execute(workflow, WorkflowOptions(args=args, kwargs=kwargs))
        return handle.result()


class _Mockable(InProcess):
    """Calls stand-ins where there are any; outside the event loop that runs here, if one does (a notebook's)."""

    def __init__(self, mocks: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__()
        self._mocks = mocks

    def function(self, activity: ActivityDefinition) -> Callable[..., Any]:
        """Return the stand-in, else the activity's own function."""
        return self._mocks.get(activity.name) or super().function(activity)

    def wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end; on a loop of its own where another runs in this thread."""
        if asyncio._get_running_loop() is None:  # noqa: SLF001 - asks without raising
            return super().wait_for(coroutine)
        context = contextvars.copy_context()
        return _outside_loop(lambda: context.run(asyncio.run, coroutine))


def _why_open(run: Run) -> str:
    if run.status is WorkflowStatus.BLOCKED:
        return f"it is blocked: {(run.blocked or {}).get('message', 'nobody knows why')}"
    if run.status is WorkflowStatus.PAUSED:
        return "it is paused"
    return f"it waits for {', '.join(run.waits) or 'its next turn'}"


def _outside_loop(call: Callable[[], Any]) -> Any:
    """Call from a thread of its own where an event loop runs in this one: activities may want to run their own."""
    if asyncio._get_running_loop() is None:  # noqa: SLF001 - asks without raising, which would become the cause of failures
        return call()
    found: list[Any] = []
    raised: list[BaseException] = []

    def target() -> None:
        try:
            found.append(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again where the call came from
            raised.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]


def new_executor(
    *, store: Store | None = None, hooks: Hooks | None = None, registry: Registry | None = None, **options: Any
) -> LocalExecutor:
    """Make an executor that runs workflows in this process.

    :param store: where the promises are kept; in memory by default.
    :param hooks: what to call when something happens.
    """
    return LocalExecutor(registry, store, hooks=hooks, **options)


def _from_config(config: Config) -> LocalExecutor:
    return new_executor(store=config.store, hooks=config.hooks, **config.extra)


register("default", _from_config)
register("local", _from_config)
