"""Turns that can't be carried out: the run is held, and its turn tried again, later or by a worker that can."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from celeriac.errors import RuntimeFault
from celeriac.orchestrator.events import Event
from celeriac.orchestrator.model import SECOND, Run, RunRef, TurnView, micros
from celeriac.orchestrator.ports import Dispatcher, Hint, Store, TurnReady
from celeriac.orchestrator.status import MessageKind, WorkflowStatus
from celeriac.orchestrator.turn import timed_out
from celeriac.payloads import Json

_LOG: Final = logging.getLogger("celeriac.engine")

MAX_CLAIMS: Final = 5
"""How many claims of a turn may end without a commit before the run is shown as one that kills its worker."""
BLOCKED_FIRST: Final = 5.0
BLOCKED_MOST: Final = 300.0
"""Seconds until a blocked run's turn is tried again: the first time, and at most."""
DECLINED_FIRST: Final = 0.25
DECLINED_MOST: Final = 10.0
"""Seconds until a turn that this process has no code for is offered again: at least, and at most."""
DECLINED_SHARE: Final = 0.1
"""In between it is this part of the time since it was declined first. It grows no faster, because chance alone may lead a
message to the wrong one of two workers eight times in a row.
"""
NOBODY_AFTER: Final = 60.0
"""Seconds after which a run that no worker has the code for is shown as blocked."""


class Close(Protocol):
    """Closes a run without running its code; False when there is none, or it has closed already."""

    def __call__(
        self, namespace: str, run_id: str, status: WorkflowStatus, event: Event, failure: dict[str, Json]
    ) -> bool:
        """Close it."""


class Undone:
    """Gives turns back that were claimed and can't be carried out."""

    def __init__(
        self, store: Store, dispatcher: Dispatcher, *, publish: Callable[[Sequence[Hint]], bool], close: Close
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._publish = publish
        self._close = close

    def block(self, view: TurnView, token: str, error: BaseException, *, killed: int = 0) -> bool:
        """Hold a run, and note why. True where it was closed instead, because its time is up.

        :param killed: how many workers its turn has killed, where that is the reason.
        """
        if self._close_overdue(view):
            return True
        run, times = view.run, _times(view.run) + 1
        delay = min(BLOCKED_FIRST * 2 ** (times - 1), BLOCKED_MOST)
        reason = {**describe_block(error), "times": times, "since": _since(view)}
        if killed:
            reason["killed"] = killed
        log = _LOG.warning if times == 1 else _LOG.debug
        log("workflow %s is held, not failed: %s", run.workflow_id, error)
        if self._store.release_turn(run.run_id, token=token, delay=micros(delay), blocked=reason):
            current = self._store.find_run(run.namespace, run_id=run.run_id)
            if current is not None and current.inbox_seq > run.inbox_seq:
                # What came in meanwhile found the turn claimed and woke nobody; a new input is tried at once.
                self._publish([TurnReady(ref_of(current, current.status))])
        return False

    def decline(self, view: TurnView, token: str) -> bool:
        """Give the turn back for a worker that has the code; after a while with nobody, show the run as blocked.

        :returns: True where it was closed instead, because its time is up.
        """
        run, since = view.run, _since(view)
        version = f" version {run.definition_version!r}" if run.definition_version else ""
        reason = {
            "reason": "NoWorker",
            "message": f"no worker has had workflow {run.name!r}{version} so far",
            "times": _times(run) + 1,
            "since": since,
        }
        delay = min(max((view.now - since) / SECOND * DECLINED_SHARE, DECLINED_FIRST), DECLINED_MOST)
        nobody = view.now - since > NOBODY_AFTER * SECOND
        if nobody and self._close_overdue(view):
            return True
        self._store.release_turn(run.run_id, token=token, delay=micros(delay), blocked=reason, declined=not nobody)
        self._dispatcher.expect(view.now + micros(delay))
        return False

    def _close_overdue(self, view: TurnView) -> bool:
        """Close a run whose time is up and whose code can't be run: that needs none of it."""
        if not any(item.message.kind is MessageKind.TIMEOUT for item in view.inbox):
            return False
        run = view.run
        started = self._store.history(run.run_id, limit=1)[0].data
        event, failure = timed_out(started.get("timeout"))
        return self._close(run.namespace, run.run_id, WorkflowStatus.TIMED_OUT, event, failure)


def killed_by(view: TurnView) -> int:
    """Return how many turns were begun without coming to an end, if those are too many, else 0.

    A run that has been held for that costs one worker each time that it is tried again, not as many as before.
    """
    before = int((view.run.blocked or {}).get("killed", 0))
    lost = view.claims - 1
    return before + lost if lost >= (1 if before else MAX_CLAIMS) else 0


def fault_of(error: Exception) -> RuntimeFault:
    """Say what went wrong and where, for an error that is none of the workflow's."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" at {frame.filename}:{frame.lineno} in {frame.name}" for frame in last)
    fault = RuntimeFault(f"celeriac's own fault: {type(error).__name__}: {error}{where}")
    fault.__cause__ = error
    return fault


def describe_block(error: BaseException) -> dict[str, Json]:
    """Return why a turn could not be carried out, as data."""
    reason: dict[str, Json] = {"reason": type(error).__name__, "message": str(error)}
    for name in ("event", "recorded", "replayed", "where", "call"):
        value: Any = getattr(error, name, None)
        if value is not None:
            reason[name] = value
    return reason


def ref_of(run: Run, status: WorkflowStatus) -> RunRef:
    """Return what messages about a run say of it."""
    return RunRef(run.run_id, run.workflow_id, run.namespace, run.name, run.queue, status)


def _times(run: Run) -> int:
    return int((run.blocked or {}).get("times", 0))


def _since(view: TurnView) -> int:
    return int((view.run.blocked or {}).get("since", view.now))
