"""Middleware: executors that add something to another one, around each of its operations.

::

    executor = apply_middleware(new_executor(), with_hooks(Hooks(on_signal=print)), with_tracing())
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from celeriac.errors import WorkflowFailedError
from celeriac.orchestrator import many
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.executor import DurableExecutor, Middleware, Signal, WorkflowHandle, WorkflowOptions
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.model import Run, RunFilter

_LOG: Final = logging.getLogger("celeriac.trace")

Span = Callable[[str, dict[str, Any]], AbstractContextManager[None]]
"""Called with an operation's name and what it is about; what the operation does happens inside."""


class WrappedExecutor:
    """Passes every operation on to another executor. What it does not know it hands out as the other one's.

    Handles that come from it are its own: what is asked through them passes through it.
    """

    def __init__(self, inner: DurableExecutor) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def execute(self, workflow: Any, options: WorkflowOptions | None = None) -> WorkflowHandle[Any]:
        """Start a workflow and return its handle."""
        started = self.inner.execute(workflow, options)
        return WorkflowHandle(self, started.id, started.run_id)

    def start_many(self, workflow: Any, starts: Iterable[Any], *, return_exceptions: bool = False) -> Sequence[Any]:
        """Start a workflow many times and return the handles in order."""
        started = self.inner.start_many(workflow, starts, return_exceptions=True)
        own: list[Any] = [
            each if isinstance(each, Exception) else WorkflowHandle(self, each.id, each.run_id) for each in started
        ]
        return many.told(many.name_of(workflow), own, return_exceptions=return_exceptions)

    def handle(self, workflow_id: str) -> WorkflowHandle[Any]:
        """Return a handle on the latest run with this workflow id."""
        return WorkflowHandle(self, workflow_id, self.describe(workflow_id).run_id)

    def signal(self, workflow_id: str, signal: Signal) -> None:
        """Send a signal."""
        self.inner.signal(workflow_id, signal)

    def query(self, workflow_id: str, query_type: str, *args: Any) -> Any:
        """Answer a question about a run."""
        return self.inner.query(workflow_id, query_type, *args)

    def cancel(self, workflow_id: str, reason: str = "") -> None:
        """Ask a run to stop."""
        self.inner.cancel(workflow_id, reason)

    def terminate(self, workflow_id: str, reason: str = "") -> None:
        """End a run at once."""
        self.inner.terminate(workflow_id, reason)

    def describe(self, workflow_id: str) -> Run:
        """Return a run as it stands."""
        return self.inner.describe(workflow_id)

    def list(self, where: RunFilter | None = None) -> Sequence[Run]:
        """Return runs, newest first, a page at a time."""
        return self.inner.list(where)

    def history(self, workflow_id: str) -> Sequence[HistoryEvent]:
        """Return a run's events."""
        return self.inner.history(workflow_id)

    def result(self, run_id: str, timeout: float | None = None) -> Any:
        """Wait for the end of a run and return its result, or raise its failure."""
        return self.inner.result(run_id, timeout)


class _Hooked(WrappedExecutor):
    """Calls hooks on what passes through: whatever the executor underneath, in the process of the caller."""

    def __init__(self, inner: DurableExecutor, hooks: Hooks) -> None:
        super().__init__(inner)
        self._hooks = hooks
        self._told: set[str] = set()

    def execute(self, workflow: Any, options: WorkflowOptions | None = None) -> WorkflowHandle[Any]:
        handle = super().execute(workflow, options)
        given = options or WorkflowOptions()
        self._hooks.call("on_workflow_start", handle.id, given.input if given.args is None else list(given.args))
        return handle

    def start_many(self, workflow: Any, starts: Iterable[Any], *, return_exceptions: bool = False) -> Sequence[Any]:
        given = [many.options_of(place, each) for place, each in enumerate(starts)]
        started = super().start_many(workflow, given, return_exceptions=True)
        for options, each in zip(given, started, strict=True):
            if not isinstance(each, Exception):
                arguments = options.input if options.args is None else list(options.args)
                self._hooks.call("on_workflow_start", each.id, arguments)
        return many.told(many.name_of(workflow), started, return_exceptions=return_exceptions)

    def signal(self, workflow_id: str, signal: Signal) -> None:
        super().signal(workflow_id, signal)
        self._hooks.call("on_signal", workflow_id, signal.name, signal.payload)

    def result(self, run_id: str, timeout: float | None = None) -> Any:
        try:
            value = super().result(run_id, timeout)
        except WorkflowFailedError as error:
            self._ended("on_workflow_fail", run_id, error.failure)
            raise
        self._ended("on_workflow_complete", run_id, value)
        return value

    def _ended(self, hook: str, run_id: str, outcome: Any) -> None:
        if run_id not in self._told:
            self._told.add(run_id)
            self._hooks.call(hook, self.inner.describe(run_id).workflow_id, outcome)


def with_hooks(hooks: Hooks) -> Middleware:
    """Call hooks on what the caller does and gets to know through an executor, after it was done.

    ``on_workflow_start`` when a run was started here, ``on_signal`` when a signal was sent, ``on_workflow_complete`` and
    ``on_workflow_fail`` when its result is first seen. Hooks given to the executor itself hear of everything that happens
    to runs, in the processes in which it happens.
    """
    return lambda executor: _Hooked(executor, hooks)


class _Traced(WrappedExecutor):
    def __init__(self, inner: DurableExecutor, span: Span) -> None:
        super().__init__(inner)
        self._span = span

    def execute(self, workflow: Any, options: WorkflowOptions | None = None) -> WorkflowHandle[Any]:
        about = {"workflow": many.name_of(workflow)}
        if options is not None and options.id is not None:
            about["workflow_id"] = options.id
        with self._span("execute", about):
            return super().execute(workflow, options)

    def start_many(self, workflow: Any, starts: Iterable[Any], *, return_exceptions: bool = False) -> Sequence[Any]:
        given = list(starts)
        with self._span("start_many", {"workflow": many.name_of(workflow), "starts": len(given)}):
            return super().start_many(workflow, given, return_exceptions=return_exceptions)

    def signal(self, workflow_id: str, signal: Signal) -> None:
        with self._span("signal", {"workflow_id": workflow_id, "signal": signal.name}):
            super().signal(workflow_id, signal)

    def query(self, workflow_id: str, query_type: str, *args: Any) -> Any:
        with self._span("query", {"workflow_id": workflow_id, "query": query_type}):
            return super().query(workflow_id, query_type, *args)

    def cancel(self, workflow_id: str, reason: str = "") -> None:
        with self._span("cancel", {"workflow_id": workflow_id}):
            super().cancel(workflow_id, reason)

    def terminate(self, workflow_id: str, reason: str = "") -> None:
        with self._span("terminate", {"workflow_id": workflow_id}):
            super().terminate(workflow_id, reason)

    def result(self, run_id: str, timeout: float | None = None) -> Any:
        with self._span("result", {"run_id": run_id}):
            return super().result(run_id, timeout)


def with_tracing(span: Span | None = None) -> Middleware:
    """Trace each operation on an executor.

    :param span: what to trace with. By default a span of OpenTelemetry where it is installed (named ``celeriac.execute`` and
        so on, its attributes ``celeriac.workflow_id`` and so on), else a line in the log ``celeriac.trace``.
    """
    chosen = span or _telemetry_span() or _log_span
    return lambda executor: _Traced(executor, chosen)


def _telemetry_span() -> Span | None:
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an optional dependency
    except ImportError:
        return None
    tracer = trace.get_tracer("celeriac")

    @contextmanager
    def span(operation: str, about: dict[str, Any]) -> Iterator[None]:
        attributes = {f"celeriac.{key}": value for key, value in about.items()}
        with tracer.start_as_current_span(f"celeriac.{operation}", attributes=attributes):
            yield

    return span


@contextmanager
def _log_span(operation: str, about: dict[str, Any]) -> Iterator[None]:
    told = " ".join(f"{key}={value!r}" for key, value in about.items())
    try:
        yield
    except BaseException as error:
        _LOG.info("%s %s: %s", operation, told, type(error).__name__)
        raise
    _LOG.info("%s %s", operation, told)


__all__ = ["Middleware", "Span", "WrappedExecutor", "with_hooks", "with_tracing"]
