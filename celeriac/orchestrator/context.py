"""The context: all that workflow code may ask for. The same object serves ``async def`` and plain ``def`` workflows."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

from celeriac.durations import Duration, seconds
from celeriac.errors import Held, InvalidCall
from celeriac.orchestrator import guards
from celeriac.orchestrator.bridge import await_in_greenlet, in_workflow_greenlet
from celeriac.orchestrator.futures import ActivityFuture, DoneFuture, DurableTask
from celeriac.orchestrator.model import moment
from celeriac.orchestrator.primitives.discard import close
from celeriac.orchestrator.signals import SignalType
from celeriac.payloads import Converter, plain

if TYPE_CHECKING:
    from celeriac.orchestrator.live import LiveRun

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class WorkflowContext:
    """Handed to the workflow function as its first argument.

    In an ``async def`` workflow await what its methods return. In a plain ``def`` workflow call ``.result()`` on it, or
    :meth:`sleep`, which waits on the spot. Start side by side first and wait afterwards to have things run side by side.
    """

    __slots__ = ("_run", "logger")

    def __init__(self, run: LiveRun) -> None:
        self._run = run
        self.logger = ReplaySafeLogger(run)
        """A logger that is silent on replay and says which run it speaks of."""

    # -- who am I --------------------------------------------------------------------------------------------------------

    @property
    def workflow_id(self) -> str:
        """The id under which the workflow was started."""
        return self._run.workflow_id

    @property
    def run_id(self) -> str:
        """The id of this run."""
        return self._run.run_id

    @property
    def workflow_name(self) -> str:
        """The name of the workflow."""
        return self._run.definition.name

    @property
    def is_replaying(self) -> bool:
        """Whether the code is being brought to where it was. Only for observation: never decide by it."""
        return self._run.replaying

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self._run.cancel_requested is not None

    # -- activities ------------------------------------------------------------------------------------------------------

    @overload
    def execute_activity(
        self, activity: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any
    ) -> ActivityFuture[T]: ...
    @overload
    def execute_activity(self, activity: Callable[..., T], *args: Any, **kwargs: Any) -> ActivityFuture[T]: ...
    @overload
    def execute_activity(self, activity: Any, *args: Any, **kwargs: Any) -> ActivityFuture[Any]: ...

    def execute_activity(self, activity: Any, *args: Any, **kwargs: Any) -> ActivityFuture[Any]:
        """Schedule an activity and return the future of its result.

        :param activity: a function declared as an activity (or ``activity.options(...)``), a Celery task, or a task's name.
        :raises InvalidCall: the arguments do not fit; nothing was scheduled.
        :raises PayloadError: an argument can't be recorded; nothing was scheduled.
        """
        return self._run.schedule_activity(self._run.definitions.activity(activity), args, kwargs)

    @overload
    def execute_local_activity(
        self, activity: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any
    ) -> ActivityFuture[T]: ...
    @overload
    def execute_local_activity(self, activity: Callable[..., T], *args: Any, **kwargs: Any) -> ActivityFuture[T]: ...
    @overload
    def execute_local_activity(self, activity: Any, *args: Any, **kwargs: Any) -> ActivityFuture[Any]: ...

    def execute_local_activity(self, activity: Any, *args: Any, **kwargs: Any) -> ActivityFuture[Any]:
        """Have a short activity run in the turn itself, by the process that takes it, and return the future of its result.

        One after the other, in the order of the calls; each outcome is recorded with the turn. A crash in between runs again
        what was not recorded, whatever ``max_attempts`` says.

        :param activity: as for :meth:`execute_activity`, or any function that has a name, which is recorded.
        :raises InvalidCall: the arguments do not fit.
        :raises PayloadError: an argument can't be recorded.
        """
        return self._run.local.call(self._run.definitions.local_activity(activity), args, kwargs)

    # -- time ------------------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """Return the time (UTC) at which the last input was taken up; the same on every replay."""
        return moment(self._run.at)

    def sleep(self, duration: Duration) -> Awaitable[None]:
        """Wait, for a moment or for a year: a row in the store. Plain ``def`` workflows wait right here.

        :param duration: a timedelta or seconds; zero or less yields to the other branches and makes no timer.
        """
        self._run.check_alive()
        if isinstance(duration, bool) or not isinstance(duration, (timedelta, int, float)):
            raise InvalidCall(f"ctx.sleep({duration!r}): a duration is a timedelta or a number of seconds")
        length = duration.total_seconds() if isinstance(duration, timedelta) else duration
        if in_workflow_greenlet():
            await_in_greenlet(asyncio.sleep(length))
            return DoneFuture.of(self._run.loop)
        return asyncio.sleep(length)

    # -- signals and conditions --------------------------------------------------------------------------------------------

    def wait_signal(self, signal: SignalType[T] | str, timeout: Duration | None = None) -> DurableTask[T]:
        """Return the payload of the next signal of this name, one that came early first.

        :param timeout: the longest to wait (timedelta or seconds), or None.
        :raises TimeoutError: (when awaited) it did not come in time.
        """
        limit = None if timeout is None else seconds(timeout, name="timeout")
        return self._wait(lambda: self._taken(signal), limit)

    async def _taken(self, signal: SignalType[T] | str) -> Any:
        value = await self._run.signals.take(_name(signal))
        if isinstance(signal, SignalType) and self._run.definitions.signal_type(signal.name) is None:
            return signal.read(plain(value))  # a type that only this code knows
        return value

    def receive_signal(self, signal: SignalType[T] | str) -> SignalReceiver[T]:
        """Return the signals of this name: await it for the next one, iterate it for all."""
        self._run.check_alive()
        return SignalReceiver(self, signal)

    def on_signal(self, signal: SignalType[Any] | str, handler: Callable[[Any], Any]) -> None:
        """Call ``handler(payload)`` for every signal of this name from now on, early ones first.

        An ``async def`` handler runs as a task of its own, side by side with the workflow. What a handler raises goes to
        nobody: it is recorded as a warning.
        """
        self._run.check_alive()
        name, loop = f"handler of signal {_name(signal)!r}", self._run.loop

        async def report(error: BaseException) -> None:
            raise error

        def call(payload: Any) -> None:
            try:
                outcome = handler(payload)
            except (Held, KeyboardInterrupt, *self._run.interrupts):  # type: ignore[misc]  # mypy takes no starred tuple here
                raise
            except BaseException as error:  # noqa: BLE001 - as a task that raises and that nobody awaits
                outcome = report(error.with_traceback(None))
            if asyncio.iscoroutine(outcome):
                loop.create_task(outcome, name=name)

        self._run.signals.handle(_name(signal), call)

    def wait(self, condition: Callable[[], bool], timeout: Duration | None = None) -> DurableTask[None]:
        """Wait until a condition over the workflow's own variables holds.

        It is asked each time everything else has come to rest, in the order in which the waits began.

        :param timeout: the longest to wait (timedelta or seconds), or None.
        :raises TimeoutError: (when awaited) it did not hold in time.
        """
        limit = None if timeout is None else seconds(timeout, name="timeout")
        return self._wait(lambda: self._until(condition), limit)

    async def _until(self, condition: Callable[[], bool]) -> None:
        if condition():
            return
        waiter = self._run.loop.create_future()
        self._run.conditions.add(condition, waiter)
        await waiter

    def _wait(self, make: Callable[[], Coroutine[Any, Any, Any]], limit: float | None) -> DurableTask[Any]:
        self._run.check_alive()
        loop = self._run.loop
        task: DurableTask[Any] = DurableTask(make() if limit is None else _limited(make, limit), loop=loop)
        loop.keep(task)
        return task

    def first(self, *awaitables: Awaitable[Any]) -> DurableTask[tuple[int, Any]]:
        """Wait for whichever comes first, cancel the others in the same step, and return its position and its result.

        :raises InvalidCall: nothing was given to wait for.
        """
        if not awaitables:
            raise InvalidCall(
                "ctx.first() needs something to wait for, such as ctx.first(activity, ctx.wait_signal('stop'))"
            )
        try:
            self._run.check_alive()
        except BaseException:
            for each in awaitables:
                close(each)  # coroutines that nobody will ever await
            raise
        waiting = [asyncio.ensure_future(each, loop=self._run.loop) for each in awaitables]
        race = self._wait(lambda: _first(waiting), None)
        race.add_done_callback(lambda _: _let_go(waiting))
        return race

    # -- what must be the same on replay -----------------------------------------------------------------------------------

    def random(self) -> random.Random:
        """Return the run's own random numbers, the same on every replay."""
        self._run.check_alive()
        return self._run.random

    def uuid4(self) -> uuid.UUID:
        """Return a random UUID, the same on every replay."""
        self._run.check_alive()
        return uuid.UUID(int=self._run.random.getrandbits(128), version=4)

    def side_effect(self, fn: Callable[[], T], as_type: Any = Any) -> T:
        """Call ``fn`` once in the life of the run and record what it returns.

        For what is quick and can't fail; anything else belongs into an activity.

        :param as_type: the type to read the recorded value back as.
        """
        self._run.check_alive()

        def unguarded() -> T:
            with guards.suspended():
                return fn()

        value: T = self._run.side_effect(unguarded, Converter(as_type))
        return value

    def patched(self, patch: str) -> bool:
        """Say whether to take the new side of a change to the code.

        True for runs that come here for the first time, False for runs whose history was made without the change.
        """
        return self._run.patched(patch)

    def deprecate_patch(self, patch: str) -> None:
        """Stand where ``ctx.patched(patch)`` stood, once no open run is on the old side: only new code is left below.

        Take it out too when no open run has the patch in its history.
        """
        self._run.deprecate_patch(patch)

    @contextmanager
    def unsafe(self) -> Iterator[None]:
        """Let forbidden calls through. What they return is not recorded: a replay may go another way and hold the run."""
        with guards.suspended():
            yield

    # -- queries -----------------------------------------------------------------------------------------------------------

    def query(self, fn: F) -> F:
        """Declare a query under the function's name (decorator). It may read the workflow's variables, nothing else."""
        return self.query_as(fn.__name__)(fn)

    def query_as(self, name: str) -> Callable[[F], F]:
        """Declare a query under a name of its own (decorator)."""

        def declare(fn: F) -> F:
            if inspect.iscoroutinefunction(fn):
                raise InvalidCall(f"query {name!r} is 'async def', but a query only looks: write plain 'def'")
            self._run.queries[name] = fn
            return fn

        return declare


class SignalReceiver(AsyncIterator[T]):
    """The signals of one name. ``await`` it for the next; ``async for`` (plain code: ``for``) takes one after the other."""

    __slots__ = ("_context", "_signal")

    def __init__(self, context: WorkflowContext, signal: SignalType[T] | str) -> None:
        self._context = context
        self._signal = signal

    def __await__(self) -> Any:
        return self._context.wait_signal(self._signal).__await__()

    async def __anext__(self) -> T:
        payload: T = await self._context.wait_signal(self._signal)
        return payload

    def __iter__(self) -> Iterator[T]:
        while True:
            yield self.result()

    def result(self) -> T:
        """Return the next one, waiting for it in a plain ``def`` workflow."""
        return self._context.wait_signal(self._signal).result()


class ReplaySafeLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs as ``celeriac.workflow.<name>``, prefixed with the workflow id; silent while history is replayed."""

    def __init__(self, run: LiveRun) -> None:
        super().__init__(logging.getLogger(f"celeriac.workflow.{run.definition.name}"))
        self._run = run

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the base class names it
        """Whether a message of this level would be logged."""
        return not self._run.quiet and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Put the workflow id in front, and both ids into ``extra``."""
        extra = {"workflow_id": self._run.workflow_id, "run_id": self._run.run_id}
        return f"[{self._run.workflow_id}] {msg}", {**kwargs, "extra": {**extra, **kwargs.get("extra", {})}}


def _name(signal: SignalType[Any] | str) -> str:
    return signal.name if isinstance(signal, SignalType) else signal


async def _first(waiting: Sequence[asyncio.Future[Any]]) -> tuple[int, Any]:
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    position = next(index for index, each in enumerate(waiting) if each.done())
    return position, waiting[position].result()


def _let_go(losers: Sequence[asyncio.Future[Any]]) -> None:
    for each in losers:
        if not each.cancel() and not each.cancelled():
            each.exception()  # what a loser raised is nobody's concern


async def _limited(make: Callable[[], Coroutine[Any, Any, Any]], limit: float) -> Any:
    if limit == 0:  # a timeout of zero makes no timer: look once and give up
        task = asyncio.ensure_future(make())
        await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            raise TimeoutError
        return task.result()
    async with asyncio.timeout(limit):
        return await make()
