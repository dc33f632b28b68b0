"""The engine: takes turns. The only place where a wish of workflow code becomes a fact.

A turn claims the run's turn row, reads what is new, applies it, and commits all that follows in one
transaction at the version it has read. What is published afterwards are hints. A turn that loses against
another discards everything it did.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from celeriac.crashes import CrashPoint, passing
from celeriac.durations import Duration, seconds
from celeriac.errors import Held, NonDeterminismError, StoreError, StoreRefused, TurnAbandoned
from celeriac.orchestrator.cache import RunCache
from celeriac.orchestrator.closing import close_at_once
from celeriac.orchestrator.definition import Definitions, WorkflowDefinition
from celeriac.orchestrator.early import EarlyHints, may_be_early
from celeriac.orchestrator.events import Event, UnreadableHistory
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.live import LiveRun
from celeriac.orchestrator.loading import Head, Loader
from celeriac.orchestrator.local import LocalSettings, LocalWork
from celeriac.orchestrator.model import (
    Commit,
    CommitOutcome,
    Delivery,
    DeliveryOutcome,
    Fence,
    Message,
    Run,
    RunRef,
    TurnView,
    micros,
)
from celeriac.orchestrator.ports import (
    ActivityReady,
    CommitsMeanwhile,
    Dispatcher,
    Hint,
    RunFinished,
    Store,
    TurnReady,
)
from celeriac.orchestrator.salvage import Salvage
from celeriac.orchestrator.status import TaskKind, WorkflowStatus
from celeriac.orchestrator.turn import Order, Turn, TurnLimits, as_it_came, signals_first
from celeriac.orchestrator.undone import Undone, fault_of, killed_by, ref_of
from celeriac.orchestrator.watchdog import Watchdog
from celeriac.payloads import Json

_LOG: Final = logging.getLogger("celeriac.engine")

MAX_REREADS: Final = 8
"""How often one turn goes on with what has arrived meanwhile, before it commits and leaves the turn due."""
LOCAL_STRETCH: Final = 5.0
"""Seconds for which turns of one run follow one another on the spot while its local activities last. Then others have a turn."""


class TurnOutcome(StrEnum):
    """What became of a turn."""

    COMMITTED = "committed"
    NOTHING = "nothing"
    """There was nothing to do, or another process does it."""
    DISCARDED = "discarded"
    """Another turn was faster."""
    BLOCKED = "blocked"
    DECLINED = "declined"
    """This process has no code for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The engine's limits. Durations are seconds once constructed.

    :param turn_lease: how long a claimed turn belongs to its process.
    :param republish_after: how long a published, unclaimed row waits before it is published again.
    :param start_to_close: the limit of one attempt where an activity says nothing.
    :param long_history: how many events in one history bring a warning.
    :param max_rereads: how often one turn goes on with what has arrived meanwhile, before it leaves the rest to the next.
    """

    namespace: str = "default"
    turn_lease: Duration = 60.0
    republish_after: Duration = 10.0
    start_to_close: Duration = 3600.0
    long_history: int = 10_000
    max_rereads: int = MAX_REREADS

    def __post_init__(self) -> None:
        for name in ("turn_lease", "republish_after", "start_to_close"):
            object.__setattr__(self, name, seconds(getattr(self, name), name=name, positive=True))

    @property
    def limits(self) -> TurnLimits:
        """Return what a turn needs of them."""
        return TurnLimits(micros(self.republish_after), micros(self.start_to_close))  # type: ignore[arg-type]


class Engine:
    """Takes the turns of one process. Not safe for several threads at once: see ``TurnThread``.

    :param interrupts: exception types that an executor raises into a thread from outside (time limits).
    :param begun: told of a run whose first turn has been claimed, before its code runs; perhaps not for the first time.
    :param keep: renews the lease of a claimed turn while it is carried out.
    :param local: how local activities are called.
    :param run_turn: how inline turns get to the thread of this process that turns run on.
    """

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        dispatcher: Dispatcher,
        *,
        settings: EngineSettings | None = None,
        cache: RunCache | None = None,
        hooks: Callable[[], Hooks] = Hooks,
        watchdog: Watchdog | None = None,
        interrupts: tuple[type[BaseException], ...] = (),
        begun: Callable[[Run], None] = lambda _: None,
        run_turn: Callable[[Callable[[], Any]], Any] = lambda call: call(),
        keep: Callable[[Fence], AbstractContextManager[None]] = lambda _: nullcontext(),
        local: LocalSettings | None = None,
    ) -> None:
        self._keep = keep
        self._commit_meanwhile = store.commit_meanwhile if isinstance(store, CommitsMeanwhile) else None
        self._local = local or LocalSettings()
        self.run_turn = run_turn
        self.store = store
        self.definitions = definitions
        self.dispatcher = dispatcher
        self.settings = settings or EngineSettings()
        self.watchdog = watchdog or Watchdog()
        self._hooks = hooks
        self._interrupts = interrupts
        self._begun = begun
        self._limits = self.settings.limits
        self.loader = Loader(store, definitions, cache if cache is not None else RunCache(), self.watchdog, interrupts)
        self._salvage = Salvage(store, self.loader, definitions, self._limits, self.watchdog)
        self._undone = Undone(store, dispatcher, publish=self.publish, close=self.close_at_once)

    @property
    def cache(self) -> RunCache:
        """The live runs that this process keeps."""
        return self.loader.cache

    @cache.setter
    def cache(self, cache: RunCache) -> None:
        self.loader.cache = cache

    # -- turns ---------------------------------------------------------------------------------------------------------

    def turn(
        self, run_id: str, *, origin: Mapping[str, Json] | None = None, stretch: float = LOCAL_STRETCH
    ) -> TurnOutcome:
        """Take the run's turn, if it is due and nobody else has it; and the next ones, while its local activities last.

        :param origin: replaces the run's origin if this is its first turn: what is known of the start only where it arrives.
        :param stretch: seconds after which further turns are left to others.
        """
        until = self._local.clock() + stretch
        while True:
            outcome = self._turn(run_id, origin)
            if not isinstance(outcome, _Unfinished):
                return outcome
            if self._local.clock() >= until:
                self.publish([TurnReady(outcome.run)])
                return TurnOutcome.COMMITTED

    def _turn(self, run_id: str, origin: Mapping[str, Json] | None) -> TurnOutcome | _Unfinished:
        token = secrets.token_hex(16)
        lease = micros(self.settings.turn_lease)  # type: ignore[arg-type]
        view = self.store.begin_turn(run_id, token=token, lease=lease, known=self.cache.known(run_id))
        if view is None or not self._is_ours(view, token):
            return TurnOutcome.NOTHING
        definition = self._definition(view.run)
        if definition is None:
            return TurnOutcome.COMMITTED if self._undone.decline(view, token) else TurnOutcome.DECLINED
        killed = killed_by(view)
        if killed:
            message = f"the workflow kills its worker: {killed} turns were begun and none came to an end"
            return self._block(view, token, Held(message), killed=killed)
        try:
            outcome = self._keep_and_carry_out(view, definition, token, origin)
        except (Held, UnreadableHistory) as error:
            return self._block(view, token, error)
        except StoreRefused as error:
            outcome = self._block_by_own_fault(view, token, error)  # where it is seen why: it would be refused again
        except (StoreError, *self._interrupts):  # type: ignore[misc]  # mypy takes no starred tuple here
            raise  # the claim's lease runs out, or it is counted
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is held
            outcome = self._block_by_own_fault(view, token, error)
        except BaseException:
            self._give_back(view, token)
            raise
        if outcome is TurnOutcome.DISCARDED:
            self._give_back(view, token)
        return outcome

    def _keep_and_carry_out(
        self, view: TurnView, definition: WorkflowDefinition, token: str, origin: Mapping[str, Json] | None
    ) -> TurnOutcome | _Unfinished:
        with self._keep(Fence(view.run.run_id, TaskKind.TURN, 0, token)):
            if view.run.turns == 0:
                self._begun(view.run)
            return self._carry_out(view, definition, token, origin)

    def _block(self, view: TurnView, token: str, error: BaseException, *, killed: int = 0) -> TurnOutcome:
        self.cache.drop(view.run.run_id)
        closed = self._undone.block(view, token, error, killed=killed)
        return TurnOutcome.COMMITTED if closed else TurnOutcome.BLOCKED

    def _block_by_own_fault(self, view: TurnView, token: str, error: Exception) -> TurnOutcome:
        _LOG.error("a turn of workflow %s failed by celeriac's own fault", view.run.workflow_id, exc_info=error)
        return self._block(view, token, fault_of(error))

    def _is_ours(self, view: TurnView, token: str) -> bool:
        """Whether the run is of this namespace; another's turn is left to those who are there."""
        if view.run.namespace == self.settings.namespace:
            return True
        _LOG.warning(
            "a message asked for a turn of run %r, which is of another namespace; it was refused", view.run.run_id
        )
        self.store.release_turn(view.run.run_id, token=token, delay=0, declined=True)
        return False

    def _give_back(self, view: TurnView, token: str) -> None:
        """Let the turn be taken again at once: what it was due for has not been done, and somebody else may have won."""
        run = view.run
        if self.store.release_turn(run.run_id, token=token, delay=0, declined=True):
            self.publish([TurnReady(ref_of(run, run.status))])

    def settle(self, fence: Fence, message: Message, *, inline: bool = False, head: Head | None = None) -> bool:
        """Deliver an activity's outcome; with ``inline``, take the next turn on the spot where that is possible.

        :param head: the run as it was when the activity was claimed, and the store's time now.
        :returns: False when the claim is gone and the outcome counts for nothing.
        """
        if inline:
            settled: bool | None = self.run_turn(lambda: self._settle_inline(fence, message, head))
            if settled is not None:
                return settled
        return self.delivered(self.store.settle(fence, message))

    def delivered(self, delivery: Delivery) -> bool:
        """Publish the turn that a delivery has made due, if it has. True if the message is now (or was before) recorded."""
        if delivery.wake and delivery.run is not None:
            self.publish([TurnReady(delivery.run)])
        return delivery.outcome in (DeliveryOutcome.DELIVERED, DeliveryOutcome.DUPLICATE)

    def publish(self, hints: Sequence[Hint]) -> bool:
        """Publish hints; False when that failed, which costs latency only, since the rows are due in the store.

        An interrupt goes on to whoever it was meant for: it is raised once only.
        """
        if not hints:
            return True
        try:
            self.dispatcher.publish(hints)
        except self._interrupts:
            raise
        except Exception:  # noqa: BLE001 - brokers' clients raise what they like
            _LOG.warning("publishing failed; the relay will do it", exc_info=True)
            return False
        return True

    def close_at_once(
        self, namespace: str, run_id: str, status: WorkflowStatus, event: Event, failure: dict[str, Json]
    ) -> bool:
        """Close a run without running its code; False when there is none, or it has closed already.

        :raises StaleWrite: it was too busy.
        """
        grace = self._limits.republish_after
        run = close_at_once(
            self.store, namespace, run_id, status=status, event=event, failure=failure, republish_after=grace
        )
        if run is None:
            return False
        self.cache.drop(run_id)
        self.publish([RunFinished(ref_of(run, status), run.origin)])
        self.hooks.call("on_workflow_fail", run.workflow_id, failure)
        return True

    def _settle_inline(self, fence: Fence, message: Message, head: Head | None) -> bool | None:
        """Take the turn for an outcome without the detour through inbox and broker; None when that can't be done now."""
        view = self.loader.inline_view(fence.run_id, head)
        if view is None or view.inbox or view.run.status is not WorkflowStatus.RUNNING or view.run.turns == 0:
            return None
        definition = self._definition(view.run)
        if definition is None:
            return None
        live = None
        try:
            live = self.loader.live(view, definition)
            if live is None:
                return None
            turn = Turn(view, live, self.definitions, self._limits)
            with self.watchdog.watching():
                turn.take_message(message)
            # Local activities are left to a turn that holds the run's turn row, so that nobody else makes the calls too.
            commit = turn.commit(turn_token=None, settles=fence, leave_due=not turn.closed and live.local.left())
            outcome, early = self._commit(commit, view.run)
        except BaseException as error:
            self.loader.discard(fence.run_id, live)
            if isinstance(error, (Exception, Held)):
                _LOG.debug("inline turn of %s not taken", fence.run_id, exc_info=True)
                return None
            raise
        if outcome is CommitOutcome.COMMITTED:
            self._committed(turn, commit, early)
            if commit.leave_due:
                self._go_on(turn.run.run_id)
            return True
        self.loader.discard(fence.run_id, live)
        return False if outcome is CommitOutcome.FENCED else None

    def _go_on(self, run_id: str) -> None:
        """Take the turn that an inline one has left due, for a short while: others may be waiting for this process."""
        try:
            self.turn(run_id, stretch=0.0)
        except StoreError:
            _LOG.debug("the relay finds the turn of %s due", run_id, exc_info=True)

    # -- the inside of a turn --------------------------------------------------------------------------------------------

    def _definition(self, run: Run) -> WorkflowDefinition | None:
        found = self.definitions.workflow(run.name)
        return found if found is not None and found.settings.version == run.definition_version else None

    def _carry_out(
        self, view: TurnView, definition: WorkflowDefinition, token: str, origin: Mapping[str, Json] | None
    ) -> TurnOutcome | _Unfinished:
        order = as_it_came(view.inbox)
        work = LocalWork(self._local, view.now, self.watchdog, self.hooks)
        while True:
            live = None
            try:
                live = self.loader.live(view, definition)
                outcome = (
                    TurnOutcome.DISCARDED if live is None else self._attempt(view, live, token, order, origin, work)
                )
            except BaseException as error:
                self.loader.discard(view.run.run_id, live)
                held = isinstance(error, (Held, UnreadableHistory))
                if held or isinstance(error, (KeyboardInterrupt, *self._interrupts)):
                    saved = self._salvage.save(view, definition, token, origin, work, error)
                    if saved and held:
                        return _Unfinished(ref_of(view.run, WorkflowStatus.RUNNING))
                raise
            if not isinstance(outcome, _Refused):
                if outcome in (TurnOutcome.DISCARDED, TurnOutcome.BLOCKED):
                    self.loader.discard(view.run.run_id, live)
                return self._done(outcome) if isinstance(outcome, _Committed) else outcome
            work.again()
            # Closing was refused: take the turn again with the unseen signals in front of what closed it, or with it.
            self.loader.discard(view.run.run_id, live)
            fresh = self.loader.unmoved(view)
            if fresh is None:
                return TurnOutcome.DISCARDED
            view, order = fresh, signals_first(order, fresh.inbox, outcome.closed_by)

    def _attempt(
        self,
        view: TurnView,
        live: LiveRun,
        token: str,
        order: Order,
        origin: Mapping[str, Json] | None,
        work: LocalWork,
    ) -> TurnOutcome | _Committed | _Refused:
        turn = Turn(view, live, self.definitions, self._limits, origin)
        with self.watchdog.watching(live.steps):
            turn.take_all(view, order)
        if turn.closes_over:
            return _Refused(turn.closed_by or 0)
        left = work.carry_out(turn)
        most = self.settings.max_rereads
        for reread in range(most + 1):
            last = 0 < reread == most and not turn.closed
            commit = turn.commit(turn_token=token, leave_due=last or left)
            outcome, early = self._commit(commit, view.run)
            if outcome is CommitOutcome.COMMITTED:
                return _Committed(turn, commit, early, unfinished=left)
            if outcome is not CommitOutcome.INBOX_MOVED:
                return TurnOutcome.DISCARDED
            refused = self._read_on(turn)
            if refused is not None:
                return refused
            left = work.carry_out(turn)
        return TurnOutcome.DISCARDED

    def _done(self, done: _Committed) -> TurnOutcome | _Unfinished:
        """Do what follows a commit. What strikes here finds nothing to be saved: all is recorded."""
        self._committed(done.turn, done.commit, done.early)
        ref = ref_of(done.turn.run, done.commit.status)
        if done.unfinished:
            return _Unfinished(ref)
        if done.commit.leave_due:
            self.publish([TurnReady(ref)])
        return TurnOutcome.COMMITTED

    def _read_on(self, turn: Turn) -> _Refused | TurnOutcome | None:
        """Take up what has arrived while the turn was under way."""
        more = self.store.read_turn(turn.run.run_id, known=(turn.run.epoch, turn.run.version))
        if more is None or (more.run.epoch, more.run.version) != (turn.run.epoch, turn.run.version):
            return TurnOutcome.DISCARDED
        unseen = [item for item in more.inbox if item.number > turn.seen]
        if turn.closed and any(item.message.kind.holds_open for item in unseen):
            return _Refused(turn.closed_by or 0)
        turn.seen, turn.now = more.run.inbox_seq, more.now
        with self.watchdog.watching(turn.live.steps):
            for item in unseen:
                turn.take(item)
        return _Refused(turn.closed_by or 0) if turn.closes_over else None

    def _commit(self, commit: Commit, run: Run) -> tuple[CommitOutcome, EarlyHints | None]:
        """Commit, and have what may go out early published meanwhile."""
        passing(CrashPoint.BEFORE_COMMIT)
        if self._commit_meanwhile is None or not may_be_early(commit):
            return self.store.commit(commit), None
        early = EarlyHints(ref_of(run, commit.status), commit, self._publish_early, self._local.clock)
        return self._commit_meanwhile(commit, early), early

    def _publish_early(self, hints: Sequence[ActivityReady]) -> bool:
        try:
            told = self.dispatcher.publish_early(hints)
        except self._interrupts:
            raise
        except Exception:  # noqa: BLE001 - brokers' clients raise what they like
            _LOG.debug("not published early", exc_info=True)
            return False
        passing(CrashPoint.PUBLISHED_EARLY)
        return told

    def _committed(self, turn: Turn, commit: Commit, early: EarlyHints | None) -> None:
        passing(CrashPoint.AFTER_COMMIT)
        run = turn.run
        try:
            passing(CrashPoint.BEFORE_PUBLISH)
            if early is None or not early.were_in_time():
                self.publish(_hints(ref_of(run, commit.status), commit, run))
            passing(CrashPoint.AFTER_PUBLISH)
        finally:  # the next in line is at work while this process tidies up
            self.loader.retain(turn)
        timers = [task.due_at for task in commit.tasks if task.kind is TaskKind.TIMER and task.due_at is not None]
        if timers:
            self.dispatcher.expect(min(timers))
        if run.version < self.settings.long_history <= turn.version:
            _LOG.warning(
                "workflow %s has %d events in its history; a cold replay takes all of them. Let it end and start another for "
                "what follows",
                run.workflow_id,
                turn.version,
            )
        self._call_hooks(turn)

    @property
    def hooks(self) -> Hooks:
        """What to call when something happens."""
        return self._hooks()

    def _call_hooks(self, turn: Turn) -> None:
        hooks, workflow_id = self.hooks, turn.run.workflow_id
        if turn.started:
            hooks.call("on_workflow_start", workflow_id, turn.run.input)
        for name, payload in turn.signals:
            hooks.call("on_signal", workflow_id, name, payload)
        for activity, result, failure in turn.outcomes:
            hooks.call("on_activity_complete", workflow_id, activity, result, failure)
        if turn.closed and turn.failure is None:
            hooks.call("on_workflow_complete", workflow_id, turn.result)
        elif turn.closed:
            hooks.call("on_workflow_fail", workflow_id, turn.failure)


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """A turn that was committed with local activities left, and its run."""

    run: RunRef


@dataclass(frozen=True, slots=True)
class _Committed:
    """A turn that has been committed.

    :param early: its hints, if they were to go out early.
    :param unfinished: local activities are left.
    """

    turn: Turn
    commit: Commit
    early: EarlyHints | None
    unfinished: bool


@dataclass(frozen=True, slots=True)
class _Refused:
    """A close that was refused, and the inbox item whose step closed."""

    closed_by: int


def _hints(ref: RunRef, commit: Commit, run: Run) -> list[Hint]:
    hints: list[Hint] = [
        ActivityReady(ref, task.seq, task.attempt, task.data, task.queue)
        for task in commit.tasks
        if task.kind is TaskKind.ACTIVITY
    ]
    if not commit.status.open:
        closed = replace(run, status=commit.status, result=commit.result, failure=commit.failure)
        hints.append(RunFinished(ref, run.origin, closed))
    return hints


__all__ = [
    "Engine",
    "EngineSettings",
    "NonDeterminismError",
    "TurnAbandoned",
    "TurnOutcome",
]
