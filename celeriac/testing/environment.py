"""Workflows in a test: in this process, on the real engine and the in-memory store, with a clock that jumps over waits.

::

    def test_an_order_is_charged_once_it_is_approved(workflow_env):
        charged = workflow_env.mock(charge, lambda order_id, cents: Receipt(order_id))
        handle = workflow_env.start(fulfil, Order("A-17"))
        handle.signal(approved, True)
        assert handle.result() == Receipt("A-17")
        assert charged.calls == [("A-17", 4200)]
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

from celeriac.activities.definition import ActivityDefinition
from celeriac.activities.options import ActivityOptions
from celeriac.config.settings import Settings
from celeriac.durations import Duration, seconds
from celeriac.errors import InvalidCall
from celeriac.executors.local import JumpingClock, LocalExecutor
from celeriac.orchestrator.definition import Registry, WorkflowDefinition, WorkflowSettings
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.executor import WorkflowHandle, WorkflowOptions
from celeriac.orchestrator.guards import refuse_direct_call
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.model import RunFilter, micros, moment
from celeriac.orchestrator.ports import Store
from celeriac.orchestrator.signals import SignalType
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.orchestrator.watchdog import Watchdog
from celeriac.testing.histories import replay_every_prefix

P = ParamSpec("P")
T = TypeVar("T")

START: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""Where the environment's clock begins unless it is told otherwise."""
MAX_PAYLOAD: Final[int] = Settings.model_fields["max_payload_bytes"].default
"""The size in bytes that a payload may have in production unless the settings say otherwise."""


class DeclaredActivity(Generic[P, T]):
    """An activity that was declared on an environment: the function, to be handed to ``ctx.execute_activity``."""

    def __init__(self, definition: ActivityDefinition, fn: Callable[P, T]) -> None:
        functools.update_wrapper(self, fn)
        self.__celeriac_activity__ = definition
        self._fn = fn

    @property
    def name(self) -> str:
        """The name under which it is recorded."""
        return self.__celeriac_activity__.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function itself, which is possible outside workflows only."""
        refuse_direct_call(self.name, args, kwargs)
        return self._fn(*args, **kwargs)

    def options(self, **overrides: Any) -> ActivityDefinition:
        """Return the activity with some options replaced, for one call."""
        return self.__celeriac_activity__.with_options(overrides)


@dataclass(slots=True)
class MockedActivity:
    """Stands in for an activity and keeps what it was called with.

    :param calls: the positional arguments of each attempt, in order.
    """

    name: str
    fn: Callable[..., Any]
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    keywords: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the stand-in does."""
        self.calls.append(args)
        self.keywords.append(kwargs)
        return self.fn(*args, **kwargs)


class _EnvironmentRegistry(Registry):
    """Takes in what it is handed, wherever that was declared: on an environment or on a Celery app."""

    __slots__ = ()

    def activity(self, reference: Any) -> ActivityDefinition:
        """Return the activity that a name, a declared activity or a Celery task stands for."""
        if _is_celery_task(reference):
            from celeriac.executors.celery.registry import activity_of  # noqa: PLC0415 - only where Celery comes into it

            found = activity_of(reference)
        else:
            found = super().activity(reference)
        if found.fn is not None:
            self.activities.setdefault(found.name, found)
        return found

    def adopt(self, workflow: Any) -> WorkflowDefinition | str:
        """Take in a workflow that was declared elsewhere."""
        definition = workflow if isinstance(workflow, WorkflowDefinition) else getattr(workflow, "definition", None)
        if isinstance(definition, WorkflowDefinition):
            if self.workflow(definition.name) is not definition:
                self.add_workflow(definition)
            return definition
        if isinstance(workflow, str):
            return workflow
        raise InvalidCall(f"{workflow!r} is no workflow; declare it with @workflow_env.workflow or @durable.workflow")


def _is_celery_task(reference: Any) -> bool:
    return callable(getattr(reference, "apply_async", None)) and isinstance(getattr(reference, "name", None), str)


class WorkflowEnvironment:
    """An executor in this process, with what a test needs around it.

    :param start: where the clock begins; 2030-01-01 (UTC) unless given.
    :param cache: how many live runs are kept between turns; with 0 every turn replays from the first event.
    :param inline: take the turn that follows an activity on the spot, as workers may.
    :param seed: what ids and the runs' random numbers come from, the same each time; None for other ones each time.
    :param store: a store that takes its time from ``clock``; an in-memory one by default.
    :param watchdog: limits the turns.
    :param max_payload: how many bytes one argument list, result or payload may take; as by default in production.
    """

    def __init__(
        self,
        *,
        start: datetime = START,
        cache: int = 1000,
        inline: bool = False,
        seed: int | None = 1,
        clock: JumpingClock | None = None,
        store: Store | None = None,
        hooks: Hooks | None = None,
        watchdog: Watchdog | None = None,
        draw: Callable[[], float] = lambda: 0.0,
        max_payload: int | None = MAX_PAYLOAD,
    ) -> None:
        self.registry = _EnvironmentRegistry(max_payload=max_payload)
        self.clock = clock or JumpingClock(micros(start.timestamp()))
        self.executor = LocalExecutor(
            self.registry,
            store,
            clock=self.clock,
            hooks=hooks,
            cache=cache,
            inline=inline,
            watchdog=watchdog,
            draw=draw,
            seed=seed,
        )

    # -- declaring -----------------------------------------------------------------------------------------------------

    @overload
    def workflow(self, fn: Callable[..., Any]) -> WorkflowDefinition: ...
    @overload
    def workflow(
        self, *, name: str | None = None, **settings: Any
    ) -> Callable[[Callable[..., Any]], WorkflowDefinition]: ...

    def workflow(self, fn: Any = None, *, name: str | None = None, **settings: Any) -> Any:
        """Declare a workflow under its function's name (decorator). A later one of the same name takes its place.

        :param name: another name.
        :param settings: see :class:`~celeriac.orchestrator.definition.WorkflowSettings`.
        """
        if fn is None:
            return functools.partial(self.workflow, name=name, **settings)
        definition = WorkflowDefinition(name or fn.__name__, fn, WorkflowSettings(**settings))
        self.registry.add_workflow(definition)
        return definition

    @overload
    def activity(self, fn: Callable[P, T]) -> DeclaredActivity[P, T]: ...
    @overload
    def activity(
        self, *, name: str | None = None, **options: Any
    ) -> Callable[[Callable[P, T]], DeclaredActivity[P, T]]: ...

    def activity(self, fn: Any = None, *, name: str | None = None, **options: Any) -> Any:
        """Declare an activity under its function's name (decorator).

        :param name: another name.
        :param options: see :class:`~celeriac.activities.options.ActivityOptions`; ``timeout`` is ``start_to_close``.
        """
        if fn is None:
            return functools.partial(self.activity, name=name, **options)
        definition = ActivityDefinition(name or fn.__name__, fn, ActivityOptions().merged(options))
        self.registry.activities[definition.name] = definition
        return DeclaredActivity(definition, fn)

    def signal_type(self, name: str, annotation: type[T] | Any = Any) -> SignalType[T]:
        """Declare a signal's name and the type of its payload."""
        declared: SignalType[T] = SignalType(name, annotation)
        self.registry.signals[name] = declared
        return declared

    def mock(self, activity: Any, fn: Callable[..., Any]) -> MockedActivity:
        """Have ``fn`` called instead of an activity. Arguments and result are written and read as the activity's own.

        :returns: what counts the calls.
        """
        definition = self.registry.local_activity(activity)
        mocked = MockedActivity(definition.name, fn)
        self.executor.mocks[definition.name] = mocked
        return mocked

    # -- running -------------------------------------------------------------------------------------------------------

    def start(
        self,
        workflow: Any,
        /,
        *args: Any,
        id: str | None = None,  # noqa: A002 - what else
        **kwargs: Any,
    ) -> WorkflowHandle[Any]:
        """Start a workflow; nothing of it runs before time is given to it: ``settle``, ``advance``, or its handle's ``result``.

        :param id: its workflow id.
        """
        return self.start_with(workflow, WorkflowOptions(id=id, args=args, kwargs=kwargs))

    def start_with(self, workflow: Any, options: WorkflowOptions) -> WorkflowHandle[Any]:
        """Start a workflow with all options there are."""
        return self.executor.execute(self.registry.adopt(workflow), options)

    def run(self, workflow: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Start a workflow and return its result; the clock jumps over its waits.

        :raises WorkflowFailedError: it ended without one.
        :raises ResultTimeout: it can't end by itself; says what it waits for.
        """
        return self.start(workflow, *args, **kwargs).result()

    def settle(self) -> None:
        """Do all that can be done without letting time pass."""
        self.executor.drive(jump=False)

    def advance(self, duration: Duration) -> None:
        """Let time pass (timedelta or seconds); what falls due meanwhile happens at its time."""
        self.executor.advance(seconds(duration, name="duration"))

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The environment's time (UTC)."""
        return moment(self.clock.now)

    def handle(self, workflow_id: str) -> WorkflowHandle[Any]:
        """Return a handle on the latest run with this workflow id."""
        return self.executor.handle(workflow_id)

    def history(self, workflow: WorkflowHandle[Any] | str) -> Sequence[HistoryEvent]:
        """Return a run's events, by its handle or its id."""
        return self.executor.history(workflow if isinstance(workflow, str) else workflow.run_id)

    def check_replay(self) -> None:
        """Replay every run there is from each of its steps on; see :func:`~celeriac.testing.histories.replay_every_prefix`.

        Runs that are held are left out.

        :raises Held, AssertionError: a workflow's code does not do the same again.
        """
        store, namespace = self.executor.store, self.executor.namespace
        for run in store.list(namespace, RunFilter(limit=10_000)):
            definition = self.registry.workflow(run.name)
            if run.status is WorkflowStatus.BLOCKED or run.turns == 0 or definition is None:
                continue
            replay_every_prefix(
                definition,
                store.history(run.run_id),
                self.registry,
                run_id=run.run_id,
                workflow_id=run.workflow_id,
            )
