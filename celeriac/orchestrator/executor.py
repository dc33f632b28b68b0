"""The interface of every executor: execute, signal, query, cancel; and what it hands out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from celeriac.durations import Duration
from celeriac.errors import ConfigurationError, did_you_mean
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.model import IdConflict, IdReuse, Run, RunFilter
from celeriac.orchestrator.signals import SignalType
from celeriac.orchestrator.status import WorkflowStatus

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOptions:
    """How one run is started.

    :param id: the workflow id; None for a random one.
    :param input: the one positional argument, where there is exactly one; ``args`` and ``kwargs`` otherwise.
    :param timeout: the longest the run may take (timedelta or seconds), instead of the definition's.
    :param id_conflict: what to do when the id belongs to an open run.
    :param id_reuse: whether the id of closed runs may be taken again.
    :param start_key: the same key again is the same start; None for a new one.
    """

    id: str | None = None
    input: Any = None
    args: Sequence[Any] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    timeout: Duration | None = None
    id_conflict: IdConflict | str = IdConflict.FAIL
    id_reuse: IdReuse | str = IdReuse.ALLOW
    start_key: str | None = None
    memo: Mapping[str, Any] | None = None
    attributes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A message to a run.

    :param name: the signal's name.
    :param type: its declared type, where the sender has it.
    :param payload: what it carries.
    :param sent_at: when, in seconds since the epoch; None for unknown.
    :param sender_id: who sent it.
    :param key: the same key again is the same signal; None for a new one.
    """

    name: str
    payload: Any = None
    sent_at: float | None = None
    sender_id: str = ""
    key: str | None = None
    type: SignalType[Any] | None = None


def signal_of(signal: SignalType[Any] | str, payload: Any, key: str | None) -> Signal:
    """Return the message that a declared type, or a name, stands for."""
    if isinstance(signal, SignalType):
        return Signal(name=signal.name, payload=payload, key=key, type=signal)
    return Signal(name=signal, payload=payload, key=key)


@runtime_checkable
class DurableExecutor(Protocol):
    """Runs workflows to their end, whatever happens to processes on the way."""

    def execute(self, workflow: Any, options: WorkflowOptions | None = None) -> WorkflowHandle[Any]:
        """Start a workflow and return its handle; durable when this returns."""
        ...

    def start_many(
        self, workflow: Any, starts: Iterable[WorkflowOptions | Sequence[Any]], *, return_exceptions: bool = False
    ) -> Sequence[Any]:
        """Start a workflow many times and return the handles in order; all are durable when this returns."""
        ...

    def signal(self, workflow_id: str, signal: Signal) -> None:
        """Send a signal; recorded when this returns."""
        ...

    def query(self, workflow_id: str, query_type: str, *args: Any) -> Any:
        """Answer a question about a run, open or closed, without leaving a trace."""
        ...

    def cancel(self, workflow_id: str, reason: str = "") -> None:
        """Ask a run to stop; recorded when this returns."""
        ...

    def terminate(self, workflow_id: str, reason: str = "") -> None:
        """End a run at once; none of its code runs."""
        ...

    def describe(self, workflow_id: str) -> Run:
        """Return a run as it stands."""
        ...

    def list(self, where: RunFilter | None = None) -> Sequence[Run]:
        """Return runs, newest first, a page at a time."""
        ...

    def history(self, workflow_id: str) -> Sequence[HistoryEvent]:
        """Return a run's events."""
        ...

    def result(self, run_id: str, timeout: float | None = None) -> Any:
        """Wait for the end of a run and return its result, or raise its failure."""
        ...


class WorkflowHandle(Generic[T]):
    """One run, seen from outside.

    :param id: the workflow id.
    :param run_id: the run's id.
    """

    __slots__ = ("_executor", "id", "run_id")

    def __init__(self, executor: DurableExecutor, workflow_id: str, run_id: str) -> None:
        self._executor = executor
        self.id = workflow_id
        self.run_id = run_id

    def status(self) -> WorkflowStatus:
        """Return where the run stands."""
        return self.describe().status

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result.

        :param timeout: seconds to wait at most; None for as long as it takes.
        :raises WorkflowFailedError: the run ended without a result.
        :raises ResultTimeout: it did not end in time; it goes on.
        """
        value: T = self._executor.result(self.run_id, timeout)
        return value

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.to_thread(self.result).__await__()

    def signal(self, signal: SignalType[Any] | str, payload: Any = None, *, key: str | None = None) -> None:
        """Send a signal; it can't be lost once this returns."""
        self._executor.signal(self.id, signal_of(signal, payload, key))

    def query(self, query_type: str, *args: Any) -> Any:
        """Answer a question about the run."""
        return self._executor.query(self.id, query_type, *args)

    def cancel(self, reason: str = "") -> None:
        """Ask the run to stop."""
        self._executor.cancel(self.id, reason)

    def terminate(self, reason: str = "") -> None:
        """End the run at once; none of its code runs."""
        self._executor.terminate(self.id, reason)

    def describe(self) -> Run:
        """Return the run as it stands."""
        return self._executor.describe(self.run_id)

    def history(self) -> Sequence[HistoryEvent]:
        """Return the run's events."""
        return self._executor.history(self.run_id)

    def __repr__(self) -> str:
        return f"WorkflowHandle(id={self.id!r}, run_id={self.run_id!r})"


# --- middleware -------------------------------------------------------------------------------------------------------

Middleware = Callable[[DurableExecutor], DurableExecutor]


def apply_middleware(executor: DurableExecutor, *middleware: Middleware) -> DurableExecutor:
    """Wrap an executor; the first middleware is the outermost."""
    for each in reversed(middleware):
        executor = each(executor)
    return executor


# --- registry ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What an executor's factory gets: a store, hooks, and whatever else that executor takes."""

    store: Any = None
    hooks: Hooks | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


Factory = Callable[[Config], DurableExecutor]
_FACTORIES: dict[str, Factory] = {}


def register(name: str, factory: Factory) -> None:
    """Make an executor known under a name.

    :raises ConfigurationError: the name is taken by another factory.
    """
    if not name:
        raise ConfigurationError("an executor's name can't be empty")
    if _FACTORIES.get(name, factory) is not factory:
        raise ConfigurationError(f"an executor named {name!r} is registered already")
    _FACTORIES[name] = factory


def _find(name: str) -> Factory | None:
    _load_entry_points()
    return _FACTORIES.get(name)


def new(name: str, config: Config | None = None) -> DurableExecutor:
    """Make an executor by its name.

    :raises ConfigurationError: no executor of that name; the message lists the known ones.
    """
    factory = _find(name)
    if factory is None:
        known = list_executors()
        raise ConfigurationError(f"no executor named {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}")
    return factory(config or Config())


def list_executors() -> list[str]:
    """Return the names of all executors, sorted; ``default`` is among them."""
    _load_entry_points()
    return sorted(_FACTORIES)


def _load_entry_points() -> None:
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import and rarely needed

    for each in entry_points(group="celeriac.executors"):
        if each.name not in _FACTORIES:
            _FACTORIES[each.name] = _Late(each)


class _Late:
    """A factory that is imported when it is first used."""

    def __init__(self, entry_point: Any) -> None:
        self._entry_point = entry_point

    def __call__(self, config: Config) -> DurableExecutor:
        made: DurableExecutor = self._entry_point.load()(config)
        return made
