"""Bringing a run to where its history stands: from memory, from what a claim has brought along, or by replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from celeriac.orchestrator.cache import CachedRun, RunCache
from celeriac.orchestrator.definition import Definitions, WorkflowDefinition
from celeriac.orchestrator.events import (
    ActivityCanceled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    HistoryEvent,
)
from celeriac.orchestrator.live import LiveRun
from celeriac.orchestrator.model import NOTHING_KNOWN, Micros, Run, TurnView
from celeriac.orchestrator.ports import Store
from celeriac.orchestrator.replay import feed
from celeriac.orchestrator.turn import Turn
from celeriac.orchestrator.watchdog import Watchdog

MOST_OUTSTANDING: Final = 4
"""With more activities than this outstanding in a run, no turn is taken inline: many outcomes make one turn."""
_OUTCOMES: Final = frozenset({ActivityCompleted.tag, ActivityFailed.tag, ActivityCanceled.tag})


@dataclass(frozen=True, slots=True)
class Head:
    """A run as it was when one of its activities was claimed, its inbox empty, and the store's time as of now."""

    run: Run
    now: Micros
    newer: Sequence[HistoryEvent] = ()
    """What its history has beyond the version that this process had in memory then."""

    def beyond(self, known: tuple[str, int]) -> Sequence[HistoryEvent] | None:
        """Return the events from what is known up to the run as it is here, or None where they are not all here."""
        epoch, version = known
        if epoch != self.run.epoch:
            return None
        events = [each for each in self.newer if each.number > version]
        return events if version + len(events) == self.run.version else None

    @property
    def whole(self) -> bool:
        """Whether all of the run's history is here, and few of its activities were outstanding."""
        if not self.newer or not len(self.newer) == self.newer[-1].number == self.run.version:
            return False
        scheduled = sum(each.type == ActivityScheduled.tag for each in self.newer)
        return scheduled - sum(each.type in _OUTCOMES for each in self.newer) <= MOST_OUTSTANDING


class Loader:
    """Knows what this process has of which runs, and gets what it has not.

    :param interrupts: exception types that an executor raises into a thread from outside (time limits).
    """

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        cache: RunCache,
        watchdog: Watchdog,
        interrupts: tuple[type[BaseException], ...],
    ) -> None:
        self._store = store
        self._definitions = definitions
        self.cache = cache
        self._watchdog = watchdog
        self._interrupts = interrupts

    def known_to_claim(self, run_id: str) -> tuple[str, int] | None:
        """Return what this process has of a run, for a claim to bring along what is newer; None where no turn is taken inline."""
        if self._is_crowded(run_id) or self.cache.is_busy(run_id):
            return None
        return self.cache.known(run_id) or NOTHING_KNOWN

    def _is_crowded(self, run_id: str) -> bool:
        """Whether others are about to end too: one turn by message takes all that has come in by then."""
        return self.cache.outstanding(run_id) > MOST_OUTSTANDING

    def inline_view(self, run_id: str, head: Head | None) -> TurnView | None:
        """Return what an inline turn starts from: the head where the cached run is at it, else what the store has now."""
        known = self.cache.known(run_id)
        if known is None:
            if head is not None and head.whole:
                return TurnView(head.run, head.newer, (), head.now, complete=True)
            return self._first_look(run_id)
        if self._is_crowded(run_id):
            return None
        events = None if head is None else head.beyond(known)
        if head is not None and events is not None:
            return TurnView(head.run, events, (), head.now, complete=False)
        return self._store.read_turn(run_id, known=known)

    def _first_look(self, run_id: str) -> TurnView | None:
        """Read a run that is not in memory, all of it; once, if others wait in its inbox: they make one turn by message."""
        if self.cache.is_busy(run_id):
            return None
        view = self._store.read_turn(run_id, known=None)
        if view is not None and view.inbox:
            self.cache.note_busy(run_id)
        return view

    def live(self, view: TurnView, definition: WorkflowDefinition) -> LiveRun | None:
        """Return the run's code at the view's version: out of the cache, caught up, or replayed; None if it has moved on."""
        run = view.run
        cached = self.cache.take(run.run_id)
        if cached is not None and (
            view.complete or cached.epoch != run.epoch or cached.live.definition is not definition
        ):
            cached.live.discard()
            cached = None
        if cached is None and not view.complete:
            fresh = self.unmoved(view)
            if fresh is None:
                return None
            view = fresh
        if run.turns > 0:
            self.cache.counts.took(len(view.events), from_memory=cached is not None)
        live = (
            cached.live
            if cached is not None
            else LiveRun(
                definition,
                run_id=run.run_id,
                workflow_id=run.workflow_id,
                definitions=self._definitions,
                interrupts=self._interrupts,
            )
        )
        if run.turns > 0:
            try:
                with self._watchdog.watching(live.steps):
                    feed(live, view.events)
            except BaseException:
                live.discard()
                raise
            live.warnings()
        return live

    def retain(self, turn: Turn) -> None:
        """Keep a run in memory for its next turn, if there is to be one."""
        if turn.closed:
            turn.live.discard()
        else:
            turn.live.version = turn.version
            self.cache.put(turn.run.run_id, CachedRun(turn.run.epoch, turn.live))

    def discard(self, run_id: str, live: LiveRun | None) -> None:
        """Let go of a run whose turn came to nothing, in hand and in memory."""
        if live is not None:
            live.discard()
        self.cache.drop(run_id)

    def unmoved(self, view: TurnView) -> TurnView | None:
        """Read the whole run once more; None if it is gone, or no longer at the view's version."""
        fresh = self._store.read_turn(view.run.run_id, known=None)
        if fresh is None or (fresh.run.epoch, fresh.run.version) != (view.run.epoch, view.run.version):
            return None
        return fresh
