"""Every error celeriac raises, as one tree.

    CeleriacError
    ├── ConfigurationError (ValueError)        a setting, URL or declaration that can't work
    │   └── MissingExtra (ImportError)         an optional dependency is not installed
    ├── InvalidCall (TypeError)                celeriac's own interface was used the wrong way
    ├── PayloadError (TypeError)               a value that can't be recorded, or recorded data that can't be read
    ├── WorkflowNotFound (LookupError)         no run with that id
    ├── WorkflowClosed (RuntimeError)          the run has ended and takes no more input
    ├── WorkflowIdInUse (RuntimeError)         the id belongs to an open run
    ├── StartsRefused (RuntimeError)           some of many starts were refused; the others were made
    ├── UnknownDefinition (LookupError)        a workflow, activity, signal or query nobody declared
    ├── SignalRejected (ValueError)            a signal that does not fit what the workflow declares
    ├── QueryFailed (RuntimeError)             a query's own code raised
    ├── ResultTimeout (TimeoutError)           waiting for a result ran out; the run goes on
    ├── WorkflowFailedError (RuntimeError)     the run ended without a result ...
    │   ├── WorkflowCanceledError              ... because it was canceled
    │   ├── WorkflowTerminatedError            ... because it was terminated
    │   └── WorkflowTimedOutError              ... because its time was up
    ├── ActivityError (RuntimeError)           seen by workflow code: an activity ended without a result ...
    │   └── ActivityTimeoutError (TimeoutError)    ... because one of its timeouts struck
    ├── NonRetryable (RuntimeError)            raised BY an activity: don't try again
    ├── RetryAfter (RuntimeError)              raised BY an activity: try again after this delay
    └── StoreError (RuntimeError)              the store could not do it ...
        ├── StoreUnavailable (ConnectionError)     ... it can't be reached, or can't do it now
        ├── StoreRefused                           ... and would not another time: it is not fit to be written
        ├── SchemaMismatch                         ... its schema is absent or of another version
        └── StaleWrite                             ... the run has moved on since it was read

    Held (BaseException)                       a turn that can't be carried out; the run is held, never failed
    ├── NonDeterminismError                    the code no longer agrees with the recorded history
    ├── ForbiddenCallError                     workflow code did what only an activity may do
    ├── TurnAbandoned                          a turn that did not yield within its limit
    └── RuntimeFault                           celeriac's own mistake

``Held`` stands outside :class:`Exception`, so that ``except Exception`` in workflow code does not swallow it.
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

__all__ = [
    "ActivityError",
    "ActivityTimeoutError",
    "CeleriacError",
    "ConfigurationError",
    "ForbiddenCallError",
    "Held",
    "InvalidCall",
    "MissingExtra",
    "NonDeterminismError",
    "NonRetryable",
    "PayloadError",
    "QueryFailed",
    "ResultTimeout",
    "RetryAfter",
    "RuntimeFault",
    "SchemaMismatch",
    "SignalRejected",
    "StaleWrite",
    "StartsRefused",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "TurnAbandoned",
    "UnknownDefinition",
    "WorkflowCanceledError",
    "WorkflowClosed",
    "WorkflowFailedError",
    "WorkflowIdInUse",
    "WorkflowNotFound",
    "WorkflowTerminatedError",
    "WorkflowTimedOutError",
]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known word, or an empty string when none is near."""
    return _did_you_mean(word, tuple(known))


@lru_cache(maxsize=512)
def _did_you_mean(word: str, known: tuple[str, ...]) -> str:
    """Ask difflib, which is slow, once: a program sends the same few signals again and again."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


class CeleriacError(Exception):
    """The root of everything celeriac raises on purpose."""


class ConfigurationError(CeleriacError, ValueError):
    """A setting, store URL or declaration that can't work; the message says how to write it right."""


class MissingExtra(ConfigurationError, ImportError):
    """An optional dependency is needed and not installed.

    :param feature: what was asked for, in a few words.
    :param extra: the extra of the ``celeriac`` distribution that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency. Install it with: pip install 'celeriac[{extra}]'")
        self.feature = feature
        self.extra = extra


class InvalidCall(CeleriacError, TypeError):
    """celeriac's interface was used in a way that can't work; the message shows the right way."""


class PayloadError(CeleriacError, TypeError):
    """A value that can't be recorded as JSON, or recorded JSON that no longer fits its annotation."""


class WorkflowNotFound(CeleriacError, LookupError):
    """No run has this workflow id (or run id) in this namespace."""

    def __init__(self, workflow_id: str, *, known: Iterable[str] = ()) -> None:
        super().__init__(f"no workflow with id {workflow_id!r} was found.{did_you_mean(workflow_id, known)}")
        self.workflow_id = workflow_id


class WorkflowClosed(CeleriacError, RuntimeError):
    """The run has ended and takes no more signals, cancels or updates."""

    def __init__(self, workflow_id: str, status: str) -> None:
        super().__init__(f"workflow {workflow_id!r} is closed ({status}) and takes no more input")
        self.workflow_id = workflow_id
        self.status = status


class WorkflowIdInUse(CeleriacError, RuntimeError):
    """The workflow id belongs to an open run, or its reuse is not allowed."""

    def __init__(self, workflow_id: str, *, name: str, status: str, since: str, run_id: str) -> None:
        super().__init__(
            f"workflow id {workflow_id!r} is in use by {name!r}, {status} since {since}. "
            f"Take another workflow_id, or pass id_conflict='attach' to get a handle on the run that has it."
        )
        self.workflow_id = workflow_id
        self.run_id = run_id


class StartsRefused(CeleriacError, RuntimeError):
    """Some of many starts were refused. All others have been made.

    :param workflow: the workflow's name.
    :param results: what became of each start, in order: what ``start_many`` returns for it, or why it was refused.
    """

    def __init__(self, workflow: str, results: Sequence[Any]) -> None:
        self.workflow = workflow
        self.results = results
        self.refused: dict[int, Exception] = {
            place: each for place, each in enumerate(results) if isinstance(each, Exception)
        }
        first, why = next(iter(self.refused.items()))
        super().__init__(
            f"{len(self.refused):,} of {len(results):,} starts of workflow {workflow!r} were refused; all others were made. "
            f"The first, starts[{first}]: {why} What became of each is in .results; with return_exceptions=True it is returned."
        )


class UnknownDefinition(CeleriacError, LookupError):
    """A workflow, activity, signal, query or executor that nobody declared.

    :param kind: what was looked for, such as ``"workflow"``.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str] = ()) -> None:
        names = sorted(known)
        listed = f" Known: {', '.join(names)}." if names else ""
        super().__init__(f"no {kind} named {name!r} is declared.{did_you_mean(name, names)}{listed}")
        self.kind = kind
        self.name = name


class SignalRejected(CeleriacError, ValueError):
    """A signal that does not fit what the workflow declares; nothing was recorded."""


class QueryFailed(CeleriacError, RuntimeError):
    """The code that answers a query raised; the run itself is untouched."""


class ResultTimeout(CeleriacError, TimeoutError):
    """The result did not come within the time given. The run goes on; the message says what it waits for."""


class WorkflowFailedError(CeleriacError, RuntimeError):
    """The run ended without a result.

    :param message: the failure in a line.
    :param failure: the recorded failure (type, message, details and cause chain) as data.
    """

    def __init__(self, message: str, failure: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.failure = failure


class WorkflowCanceledError(WorkflowFailedError):
    """The run was canceled and its code let the cancellation through."""


class WorkflowTerminatedError(WorkflowFailedError):
    """The run was terminated from outside; none of its code ran."""


class WorkflowTimedOutError(WorkflowFailedError):
    """The run's own timeout struck."""


class ActivityError(CeleriacError, RuntimeError):
    """Raised in workflow code where an activity is awaited that ended without a result.

    :param activity: the activity's name.
    :param failure: the recorded failure: ``type``, ``message``, ``details``, ``cause``.
    :param attempts: how many attempts were started.
    """

    def __init__(self, activity: str, failure: Mapping[str, Any], attempts: int) -> None:
        plural = "" if attempts == 1 else "s"
        super().__init__(
            f"activity {activity!r} failed after {attempts} attempt{plural}: "
            f"{failure.get('type', 'Exception')}: {failure.get('message', '')}"
        )
        self.activity = activity
        self.failure = failure
        self.attempts = attempts

    @property
    def type(self) -> str:
        """The name of the exception class that the activity raised."""
        return str(self.failure.get("type", "Exception"))

    @property
    def details(self) -> Any:
        """What the activity's exception carried besides its message, or None."""
        return self.failure.get("details")


class ActivityTimeoutError(ActivityError, TimeoutError):
    """One of the activity's timeouts struck; :attr:`kind` names it, such as ``"start_to_close"``."""

    @property
    def kind(self) -> str:
        """``start_to_close``, ``schedule_to_close``, ``schedule_to_start`` or ``heartbeat``."""
        return str(self.failure.get("timeout", ""))


class NonRetryable(CeleriacError, RuntimeError):
    """Raised by an activity to say that another attempt would not help.

    :param message: what went wrong.
    :param details: a JSON-able value kept with the failure.
    """

    def __init__(self, message: str = "", *, details: Any = None) -> None:
        super().__init__(message)
        self.details = details


class RetryAfter(CeleriacError, RuntimeError):
    """Raised by an activity to be tried again after ``delay`` (seconds or a timedelta), whatever the policy's back-off."""

    def __init__(self, delay: float | timedelta, message: str = "") -> None:
        seconds = delay if isinstance(delay, (int, float)) else delay.total_seconds()
        if seconds < 0:
            raise ValueError(f"RetryAfter(delay={delay!r}): a delay can't be negative")
        super().__init__(message or f"asked to be tried again after {seconds:g} s")
        self.delay = float(seconds)


class StoreError(CeleriacError, RuntimeError):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError, ConnectionError):
    """The store can't be reached, or is not able to do it now; nothing is known to have been written."""


class StoreRefused(StoreError):
    """The database refuses what it was asked and would refuse it again; nothing was written. Its own error is the cause."""


class SchemaMismatch(StoreError):
    """The store's tables are absent, or of another version than this celeriac reads."""


class StaleWrite(StoreError):
    """The run has moved on since it was read; nothing was written."""


class Held(BaseException):
    """A turn that can't be carried out. Nothing of it is recorded; the run is shown as blocked and goes on by itself
    when code arrives that can carry it out.
    """


class NonDeterminismError(Held):
    """The workflow's code, replayed, asked for something else than the history records.

    :param event: the number of the history event where they part, or None past the end.
    :param recorded: what the history has there, in a phrase.
    :param replayed: what the code asked for, in a phrase.
    :param where: ``file:line`` of the user code that asked, or None.
    """

    def __init__(self, event: int | None, recorded: str, replayed: str, where: str | None) -> None:
        at = f" (event {event})" if event is not None else ""
        line = f"\n  line of code: {where}" if where else ""
        super().__init__(
            f"the workflow's code no longer agrees with its history{at}.\n"
            f"  recorded:     {recorded}\n"
            f"  replayed:     {replayed}{line}\n"
            f"The run is held, not failed: nothing was recorded, and it goes on when the code fits again. To keep both the "
            f"old and the new behaviour write\n"
            f"  if ctx.patched('a-name-for-this-change'):\n"
            f"      ...  # {replayed}\n"
            f"  else:\n"
            f"      ...  # {recorded}"
        )
        self.event = event
        self.recorded = recorded
        self.replayed = replayed
        self.where = where


class ForbiddenCallError(Held):
    """Workflow code made a call whose outcome replay can't reproduce.

    :param call: the call, such as ``time.sleep``.
    :param replacement: what to write instead.
    :param where: ``file:line`` of the call, or None.
    """

    def __init__(self, call: str, replacement: str, where: str | None = None) -> None:
        at = f" at {where}" if where else ""
        super().__init__(f"{call}{at} can't be used in a workflow, because replay can't reproduce it: {replacement}")
        self.call = call
        self.replacement = replacement
        self.where = where


class TurnAbandoned(Held):
    """A turn that did not yield within its limit of CPU or wall time."""


class RuntimeFault(Held):
    """celeriac's own mistake; the run is held until a release that mends it."""
