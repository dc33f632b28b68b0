"""A workflow as it is declared: a function, its types, and the limits of its turns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Final, Protocol

from celeriac.activities.definition import ActivityDefinition
from celeriac.durations import Duration, seconds
from celeriac.errors import InvalidCall, SignalRejected, UnknownDefinition, did_you_mean
from celeriac.orchestrator.primitives import blame
from celeriac.orchestrator.signals import SignalType
from celeriac.payloads import Json, Signature, check_size


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSettings:
    """What stands on a workflow's declaration. Durations are seconds once constructed.

    :param timeout: the longest a run may take, or None.
    :param version: the version of the definition; an open run stays with the version that started it.
    :param queue: the Celery queue of its turns, or None for Celery's own routing.
    :param blocks_on: exception types out of the function that hold the run instead of failing it.
    :param signals: the signals it takes; a name outside is refused at the sender. Empty: any.
    """

    timeout: Duration | None = None
    version: str = ""
    queue: str | None = None
    blocks_on: tuple[type[BaseException], ...] = ()
    signals: Sequence[SignalType[Any]] = ()

    def __post_init__(self) -> None:
        if self.timeout is not None:
            object.__setattr__(self, "timeout", seconds(self.timeout, name="timeout", positive=True))


class WorkflowDefinition:
    """A workflow function under its name.

    :param name: the name under which runs are recorded; for Celery the task's name.
    :param fn: the function; its first parameter is the context. ``async def`` or plain ``def``.
    :raises InvalidCall: the function has no parameter for the context, or is a generator.
    """

    __slots__ = ("fn", "is_async", "name", "settings", "signature")

    def __init__(self, name: str, fn: Callable[..., Any], settings: WorkflowSettings | None = None) -> None:
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise InvalidCall(
                f"workflow {name!r} is a generator; write 'async def' with 'await', or plain 'def', and return"
            )
        parameters = list(inspect.signature(fn).parameters.values())
        if not parameters or parameters[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise InvalidCall(
                f"workflow {name!r} must take the context first: def {getattr(fn, '__name__', 'flow')}(ctx: WorkflowContext, ...)"
            )
        blame.claim(inspect.unwrap(fn).__code__.co_filename)
        self.name = name
        self.fn = fn
        self.is_async = inspect.iscoroutinefunction(fn)
        self.settings = settings or WorkflowSettings()
        self.signature = Signature(fn, skip=1, label=f"workflow {name!r}")

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}>"


class Definitions(Protocol):
    """What the runtime looks up by name or by object."""

    def workflow(self, name: str) -> WorkflowDefinition | None:
        """Return the definition, or None when this process has none of that name."""
        ...

    def activity(self, reference: Any) -> ActivityDefinition:
        """Return the activity that a name, a task or a declared activity stands for.

        :raises InvalidCall: it is none of these.
        """
        ...

    def local_activity(self, reference: Any) -> ActivityDefinition:
        """Return the same for a call in the turn itself, which any function will do for, under its own name.

        :raises InvalidCall: it is no activity, and no function that has a name.
        """
        ...

    def signal_type(self, name: str) -> SignalType[Any] | None:
        """Return the declared signal type, or None."""
        ...

    @property
    def max_payload(self) -> int | None:
        """The most bytes that the arguments of a call, a result or a signal may take; None for any."""
        ...


@dataclass(slots=True)
class Registry:
    """The definitions of one process, by name. Executors extend it with what else can be an activity there."""

    workflows: dict[str, WorkflowDefinition] = field(default_factory=dict)
    activities: dict[str, ActivityDefinition] = field(default_factory=dict)
    signals: dict[str, SignalType[Any]] = field(default_factory=dict)
    max_payload: int | None = None
    """The most bytes that the arguments of a call, a result or a signal may take; None for any."""

    def add_workflow(self, definition: WorkflowDefinition) -> None:
        """Declare a workflow; a later one of the same name replaces it (module reloads)."""
        self.workflows[definition.name] = definition
        for each in definition.settings.signals:
            self.signals.setdefault(each.name, each)

    def workflow(self, name: str) -> WorkflowDefinition | None:
        """Return the definition, or None."""
        return self.workflows.get(name)

    def known_workflow(self, name: str) -> WorkflowDefinition:
        """Return the definition.

        :raises UnknownDefinition: with the nearest name.
        """
        found = self.workflow(name)
        if found is None:
            raise UnknownDefinition("workflow", name, self.workflows)
        return found

    def activity(self, reference: Any) -> ActivityDefinition:
        """Return the activity that a name or a declared activity stands for."""
        if isinstance(reference, ActivityDefinition):
            return reference
        declared = getattr(reference, "__celeriac_activity__", None)
        if isinstance(declared, ActivityDefinition):
            return declared
        if isinstance(reference, str):
            return self.activities.get(reference) or ActivityDefinition(reference)
        raise InvalidCall(
            f"{reference!r} is no activity. Pass a function declared with @durable.activity, a Celery task, or a task's name"
        )

    def local_activity(self, reference: Any) -> ActivityDefinition:
        """Return the activity that a name, a declared activity or any function with a name stands for."""
        if isinstance(reference, _ROUTINES) and not hasattr(reference, "__celeriac_activity__"):
            return _plain_function(reference)
        return self.activity(reference)

    def signal_type(self, name: str) -> SignalType[Any] | None:
        """Return the declared signal type, or None."""
        return self.signals.get(name)

    def check_signal(self, workflow: str | None, signal: str | SignalType[Any], payload: Any) -> tuple[str, Json]:
        """Return a signal's name and its payload as JSON, if it fits what is declared.

        :param workflow: the name of the workflow that it goes to, or None where the sender does not know.
        :raises SignalRejected: the workflow takes no such signal, or the name looks like a slip of the pen.
        :raises PayloadError: the payload does not fit.
        """
        name = signal.name if isinstance(signal, SignalType) else signal
        if not isinstance(name, str) or not name:
            raise SignalRejected(f"a signal's name is a non-empty string, not {name!r}")
        definition = self.workflow(workflow) if workflow else None
        taken = [each.name for each in definition.settings.signals] if definition else []
        if taken and name not in taken:
            raise SignalRejected(
                f"workflow {workflow!r} takes no signal {name!r}.{did_you_mean(name, taken)} It takes: {', '.join(sorted(taken))}"
            )
        declared = signal if isinstance(signal, SignalType) else self.signals.get(name)
        if declared is None:
            near = did_you_mean(name, self.signals)
            if near:
                raise SignalRejected(
                    f"signal {name!r} is not declared.{near} If it is meant, declare it: signal_type({name!r}, ...)"
                )
            declared = SignalType(name)
        written = declared.write(payload)
        check_size(written, self.max_payload, f"payload of signal {name!r}")
        return name, written


_ROUTINES: Final = (FunctionType, MethodType, BuiltinFunctionType)
_LOCAL: Final = "__celeriac_local__"
"""The attribute of a function that keeps what has been found out about it: that takes longer than the call it is for."""


def _plain_function(fn: Any) -> ActivityDefinition:
    """Return a function as an activity under its own short name, so that it may move to another module."""
    known = getattr(fn, _LOCAL, None)
    if isinstance(known, ActivityDefinition) and known.fn is fn:  # a wrapper may have copied the attribute
        return known
    name = getattr(fn, "__name__", "")
    if not name.isidentifier():
        raise InvalidCall(
            f"the function {name or type(fn).__name__!r} has no name to be recorded under. Write it as 'def', or take "
            f"ctx.side_effect(...) for what can't fail"
        )
    found = ActivityDefinition(name, fn, lenient=True)
    if inspect.isfunction(fn):
        setattr(fn, _LOCAL, found)
    return found
