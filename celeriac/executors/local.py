"""The local executor: the same engine, relay and store contract, in this one process, with a clock that jumps over waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from celeriac.errors import ResultTimeout, WorkflowNotFound
from celeriac.orchestrator.attempts import Attempts, AttemptSettings
from celeriac.orchestrator.cache import RunCache
from celeriac.orchestrator.client import Client
from celeriac.orchestrator.definition import Registry
from celeriac.orchestrator.engine import Engine, EngineSettings
from celeriac.orchestrator.executor import Config, WorkflowHandle, WorkflowOptions, register
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.model import SECOND, Micros, Run
from celeriac.orchestrator.ports import ActivityReady, Hint, Store, TurnReady
from celeriac.orchestrator.relay import Relay
from celeriac.orchestrator.runner import run_attempt

NAMESPACE = "local"


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

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds."""
        self._now += round(seconds * SECOND)

    def advance_to(self, at: Micros) -> None:
        """Move on to a time; never back."""
        self._now = max(self._now, at)


class QueueDispatcher:
    """Hints in a queue of this process."""

    def __init__(self) -> None:
        self.hints: deque[Hint] = deque()

    def publish(self, hints: Sequence[Hint]) -> None:
        """Put hints into the queue; one with a delay is left to the relay, which follows the jumping clock."""
        self.hints.extend(each for each in hints if not (isinstance(each, ActivityReady) and each.delay))

    def expect(self, due_at: Micros) -> None:
        """Nobody sleeps here."""

    def backlog(self, queue: str | None) -> int | None:
        """Nothing waits here."""
        return 0


class LocalExecutor(Client):
    """Runs workflows in this process, on demand: whoever waits for a result drives everything that is due.

    Time jumps to the next due row when nothing else is left to do, so that a workflow that sleeps for a year ends at once.

    :param registry: the declared workflows, activities and signals.
    :param store: a store that takes its clock from ``clock``; an in-memory one by default.
    :param jump: let the clock jump over waits.
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
    ) -> None:
        from celeriac.stores.memory import InMemoryStore  # noqa: PLC0415 - only where no store is given

        self.clock = clock or JumpingClock()
        self.dispatcher = QueueDispatcher()
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
        )
        super().__init__(engine, registry, namespace=namespace)
        self.attempts = Attempts(engine, AttemptSettings(), hooks=lambda: self.hooks, draw=lambda: 0.0)
        self.relay = Relay(self.attempts, namespace=namespace, draw=lambda: 0.0)
        self._lock = threading.RLock()

    # -- driving -------------------------------------------------------------------------------------------------------

    def drive(self, until: Callable[[], bool] = lambda: False, *, jump: bool | None = None) -> bool:
        """Do what is due until ``until()`` holds or nothing is left.

        :returns: whether ``until()`` holds.
        """
        with self._lock:
            while not until():
                if not self.step(jump=self.jump if jump is None else jump):
                    return until()
            return True

    def step(self, *, jump: bool = True) -> bool:
        """Handle one hint, else what is due, else jump to what falls due next. False when nothing is left to do."""
        if self.dispatcher.hints:
            self._handle(self.dispatcher.hints.popleft())
            return True
        if self.relay.tick():
            return True
        due = self.relay.next_due() if jump else None
        if due is None:
            return False
        self.clock.advance_to(due)
        return True

    def _handle(self, hint: Hint) -> None:
        if isinstance(hint, TurnReady):
            self.engine.turn(hint.run.run_id)
        elif isinstance(hint, ActivityReady):
            claim = self.attempts.claim(hint.run.run_id, hint.seq, attempt=hint.attempt, worker="local")
            if claim is not None:
                name = claim.task.data["name"]
                activity = self.registry.activity(name)
                _outside_loop(lambda: run_attempt(self.attempts, claim, activity, self.mocks.get(name), inline=self.inline))

    def wait_closed(self, run_id: str, timeout: float | None) -> Run:
        """Drive until the run has closed or waits for something that only the outside can bring."""
        deadline = None if timeout is None else self.clock() + round(timeout * SECOND)

        def done() -> bool:
            return not self._run(run_id).status.open

        if not self.drive(done) and deadline is None:
            run = self._run(run_id)
            waits = ", ".join(run.waits) or (run.blocked or {}).get("message", "nothing")
            raise ResultTimeout(f"workflow {run.workflow_id!r} is {run.status.value} and can't end by itself: it waits for {waits}")
        return self._run(run_id)

    def _run(self, run_id: str) -> Run:
        run = self.store.find_run(self.namespace, run_id=run_id)
        if run is None:
            raise WorkflowNotFound(run_id)
        return run

    def run(self, workflow: Any, *args: Any, **kwargs: Any) -> Any:
        """Start a workflow and return its result (for tests and notebooks)."""
        handle: WorkflowHandle[Any] = self.execute(workflow, WorkflowOptions(args=args, kwargs=kwargs))
        return handle.result()


def _outside_loop(call: Callable[[], Any]) -> Any:
    """Call from a thread of its own where an event loop runs in this one: activities may want to run their own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0] if found else None


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
