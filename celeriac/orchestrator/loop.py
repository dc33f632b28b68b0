"""The event loop of one run: asyncio's interface, driven by hand, without I/O, threads or a clock."""

from __future__ import annotations

import asyncio
import itertools
import math
from asyncio import format_helpers
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from celeriac.orchestrator.primitives import collector
from celeriac.orchestrator.primitives.discard import RunDiscarded, close, unwind
from celeriac.orchestrator.primitives.futures import WorkflowFuture, WorkflowTask
from celeriac.orchestrator.primitives.install import install
from celeriac.orchestrator.primitives.nesting import enter_loop, leave_loop
from celeriac.orchestrator.primitives.refusals import refuse_methods
from celeriac.orchestrator.primitives.running import DeterministicLoop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from contextvars import Context

__all__ = ["RunDiscarded", "WorkflowFuture", "WorkflowLoop", "WorkflowTask", "WorkflowTimer"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: In milliseconds. Deadlines are floats near 1.8e9 seconds, exact to 0.24 microseconds: what a deadline minus
#: the clock has above a whole millisecond by less than this is noise, and must not make a timer of 3.000 s
#: one of 3.001 s.
_NOISE: Final = 0.001
MANY_FINISHED: Final = 64
"""So many finished tasks are held at most before the loop lets go of them, which it does after each step anyway."""


class WorkflowTimer(asyncio.TimerHandle):
    """A durable timer. It is in no queue: only :meth:`WorkflowLoop.fire` makes its callback run.

    :ivar delay: seconds from its start, a whole number of milliseconds above 0; infinite for a timer that
        never fires and is not reported to anyone.
    :ivar number: for the runtime to fill in; None until then.
    """

    __slots__ = ("delay", "number")

    _scheduled: bool  # asyncio's own mark: started, and neither fired nor cancelled

    def __init__(
        self,
        delay: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: WorkflowLoop,
        context: Context | None,
    ) -> None:
        super().__init__(loop.now + delay, callback, args, loop, context)
        self.delay = delay
        self.number: int | None = None

    # asyncio's compare by deadline and callback; here two sleeps of the same length are two timers.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return object.__hash__(self)


class WorkflowHandle(asyncio.Handle):
    """A callback that is ready; made with fewer questions than asyncio's own, which asks for debug mode each time."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], loop: WorkflowLoop, context: Context | None
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class WorkflowLoop(DeterministicLoop):
    """The event loop that the code of one run lives on.

    What is ready runs first in, first out. Nothing else ever happens by itself: the runtime sets :attr:`now`,
    resolves futures and fires timers as the history says, and calls :meth:`run_until_idle` after each.

    :param on_timer_started: called with each new timer and its delay in seconds (``timer.delay``).
    :param on_timer_cancelled: called with a timer that was cancelled before it fired, once.
    :ivar now: the workflow's time in seconds since the epoch; :meth:`time` returns it.
    :ivar on_idle: called each time nothing is ready any more; returns True if it has changed that.
    """

    def __init__(
        self,
        *,
        on_timer_started: Callable[[WorkflowTimer, float], None],
        on_timer_cancelled: Callable[[WorkflowTimer], None],
    ) -> None:
        install()
        collector.watch()
        self.now = 0.0
        self.numbers = itertools.count(1)
        self.on_idle: Callable[[], bool] | None = None
        self._on_timer_started = on_timer_started
        self._on_timer_cancelled = on_timer_cancelled
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: dict[WorkflowTask[Any], None] = {}
        self._finished: list[asyncio.Future[Any]] = []
        self._errors: list[dict[str, Any]] = []
        self._handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._running = False
        self._closed = False

    # -- driven by the runtime -------------------------------------------------------------------------------

    def run_until_idle(self) -> None:
        """Run what is ready, and what that makes ready, until the code waits for something from outside.

        :raises SystemExit, KeyboardInterrupt: as the workflow's code did; what is ready still is, and a
            further call goes on.
        :raises RuntimeError: when called from code that runs on this loop, or after :meth:`close`.
        """
        if self._running or self._closed:
            raise RuntimeError(f"this {type(self).__name__} is {'running already' if self._running else 'closed'}")
        outer = enter_loop(self, self._finalize)
        self._running = True
        try:
            self._drain()
            while self.on_idle is not None and self.on_idle():
                self._drain()
        finally:
            self._running = False
            leave_loop(outer)

    def _drain(self) -> None:
        ready = self._ready
        handle: asyncio.Handle | None
        while ready:
            handle = ready.popleft()
            if handle._cancelled:  # noqa: SLF001 - asyncio's loops do the same
                continue
            try:  # what its _run() does, without the call
                handle._context.run(handle._callback, *handle._args)  # type: ignore[attr-defined]  # noqa: SLF001
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, the next callback has its turn
                self._complain(handle, error)
        handle = None  # an exception that is kept keeps this frame, and a failed task shall not be kept by it

    def _complain(self, handle: asyncio.Handle, error: BaseException) -> None:
        source = format_helpers._format_callback_source(handle._callback, handle._args)  # type: ignore[attr-defined]  # noqa: SLF001
        self.call_exception_handler(
            {"message": f"Exception in callback {source}", "exception": error, "handle": handle}
        )

    def fire(self, handle: WorkflowTimer) -> None:
        """Make this timer's callback ready; nothing happens for one that has fired or was cancelled."""
        if handle._scheduled:  # noqa: SLF001 - asyncio's own mark
            handle._scheduled = False  # noqa: SLF001
            self._ready.append(handle)

    def close(self) -> None:
        """Drop all that is left, silently: what is suspended is unwound with :class:`RunDiscarded`.

        Mark the run's context as dead before, so that what ``finally`` blocks ask for is ignored.
        """
        if self._closed:
            return
        self._closed = True
        self._ready.clear()
        outer = enter_loop(self, self._finalize)
        try:
            for task in self.pending_tasks():
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - as asyncio.gather does
                asyncio._enter_task(self, task)  # noqa: SLF001 - `async with timeout()` wants to know its task
                try:
                    unwind(task.get_coro())
                finally:
                    asyncio._leave_task(self, task)  # noqa: SLF001
        finally:
            leave_loop(outer)
        self._tasks.clear()
        self._finished.clear()
        # What refers to one another in a circle is left to the garbage collector, and there is a circle for each run.
        self.on_idle = self._handler = None
        self._on_timer_started = self._on_timer_cancelled = _nothing

    @property
    def errors(self) -> list[dict[str, Any]]:
        """What reached the exception handler, in asyncio's terms (``message``, ``exception``, ``task`` ...).

        Among them are tasks that failed and that nobody awaited, once nothing refers to them any more.
        """
        self._forget_finished_tasks()
        return self._errors

    # -- time ------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Return the workflow's time in seconds since the epoch."""
        return self.now

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Start a durable timer; a delay of 0 or less is :meth:`call_soon` and no timer.

        :param delay: in seconds, rounded up to the millisecond; infinite for never.
        :raises ValueError: a delay that is not a number.
        """
        if math.isnan(delay):
            raise ValueError("a delay of NaN seconds")
        if delay <= 0:
            return self._ready_timer(WorkflowTimer(0.0, callback, args, self, context))
        if delay < math.inf:
            delay = max(1, math.ceil(delay * 1000 - _NOISE)) / 1000
        return self._start(WorkflowTimer(delay, callback, args, self, context))

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Start a durable timer that is due at ``when``, in the terms of :meth:`time`."""
        return self.call_later(when - self.now, callback, *args, context=context)

    def _ready_timer(self, timer: WorkflowTimer) -> WorkflowTimer:
        if not self._closed:
            self._ready.append(timer)
        return timer

    def _start(self, timer: WorkflowTimer) -> WorkflowTimer:
        if timer.delay < math.inf and not self._closed:
            timer._scheduled = True  # noqa: SLF001
            self._on_timer_started(timer, timer.delay)
        return timer

    def _timer_handle_cancelled(self, handle: WorkflowTimer) -> None:
        # asyncio.TimerHandle.cancel() calls this, the first time.
        if handle._scheduled:  # noqa: SLF001
            handle._scheduled = False  # noqa: SLF001
            if not self._closed:
                self._on_timer_cancelled(handle)

    # -- what asyncio asks for -------------------------------------------------------------------------------

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Let ``callback`` run after all that is ready."""
        handle = WorkflowHandle(callback, args, self, context)
        if not self._closed:
            self._ready.append(handle)
        return handle

    def create_future(self) -> WorkflowFuture[Any]:
        """Return a future that hashes by its number."""
        return WorkflowFuture(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **_: Any,
    ) -> WorkflowTask[T]:
        """Return a task that runs ``coro``, from the next round on; wishes to start it eagerly are ignored.

        The loop keeps the task until it is done: one that nobody refers to is not collected in mid-air.
        """
        task = WorkflowTask(coro, loop=self, name=name, context=context)
        if self._closed:
            return _stillborn(task)
        self.keep(task)
        return task

    def keep(self, task: WorkflowTask[Any]) -> WorkflowTask[Any]:
        """Hold on to a task that was made without :meth:`create_task`, until it is done, and return it."""
        self._tasks[task] = None
        task.add_done_callback(self._finished.append)
        if len(self._finished) > MANY_FINISHED:
            self._forget_finished_tasks()
        return task

    def pending_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done, in the order of their making."""
        return [task for task in self._tasks if not task.done()]

    def _forget_finished_tasks(self) -> None:
        finished = self._finished.copy()
        self._finished.clear()  # and not replaced: the tasks know this one
        for task in finished:
            self._tasks.pop(task, None)  # type: ignore[call-overload]  # only tasks are told of

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        # An async generator that was left before its end is closed by a task of its own, as on any asyncio
        # loop. But when the garbage collector found it in a cycle, the moment is an accident, and its code
        # must not run.
        if self._running and not collector.is_at_work():
            self.create_task(generator.aclose())

    def get_task_factory(self) -> None:
        """Return None: tasks are always the loop's own."""

    def set_task_factory(self, factory: Any) -> None:
        """Ignore asyncio's eager task factories.

        :raises RuntimeError: for a factory of anyone else's.
        """
        if factory is not None and getattr(factory, "__module__", None) != "asyncio.tasks":
            raise RuntimeError("a workflow's loop makes its tasks itself, so that their order can be replayed")

    def get_debug(self) -> bool:
        """Return False: asyncio's debug mode costs time and says nothing here."""
        return False

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """Do nothing."""

    def is_running(self) -> bool:
        """Whether the workflow's code is at work right now."""
        return self._running

    def is_closed(self) -> bool:
        """Whether :meth:`close` has been called."""
        return self._closed

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: generators are closed as they are left."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Do nothing: there is none."""

    # -- errors ----------------------------------------------------------------------------------------------

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None:
        """Return what :meth:`set_exception_handler` was given."""
        return self._handler

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        """Have ``handler`` called too; errors are kept in :attr:`errors` in any case."""
        self._handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep the error in :attr:`errors`."""
        if not self._closed:
            self._errors.append(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep the error, and show it to the handler that was set, if any."""
        self.default_exception_handler(context)
        if self._handler is not None and not self._closed:
            self._handler(self, context)


def _nothing(*_: object) -> None:
    """Stand in for those whom nobody tells any more."""


def _stillborn(task: WorkflowTask[T]) -> WorkflowTask[T]:
    """Return a task that stays pending for ever. Refusing it would let code that catches everything spin."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
    close(task.get_coro())
    return task


refuse_methods(WorkflowLoop)
