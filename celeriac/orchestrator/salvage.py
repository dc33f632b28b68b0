"""What is kept of a turn that could not be carried out, or was interrupted, after its local activities have been called."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from celeriac.errors import Held
from celeriac.orchestrator.calls import LocalEvent
from celeriac.orchestrator.definition import Definitions, WorkflowDefinition
from celeriac.orchestrator.events import UnreadableHistory
from celeriac.orchestrator.loading import Loader
from celeriac.orchestrator.local import LocalWork
from celeriac.orchestrator.model import CommitOutcome, Run, TurnView
from celeriac.orchestrator.ports import Store
from celeriac.orchestrator.turn import Turn, TurnLimits, as_it_came, kept
from celeriac.orchestrator.watchdog import Watchdog
from celeriac.payloads import Json

_LOG: Final = logging.getLogger("celeriac.engine")


class Salvage:
    """Records what has been called, so that it is not called again."""

    def __init__(
        self, store: Store, loader: Loader, definitions: Definitions, limits: TurnLimits, watchdog: Watchdog
    ) -> None:
        self._store = store
        self._loader = loader
        self._definitions = definitions
        self._limits = limits
        self._watchdog = watchdog

    def save(
        self,
        view: TurnView,
        definition: WorkflowDefinition,
        token: str,
        origin: Mapping[str, Json] | None,
        work: LocalWork,
        error: BaseException,
    ) -> bool:
        """Commit the steps before the one that can't be carried out, with the outcomes of the local activities in them.

        The outcome that opens this step goes into the inbox, so that the next turn, which will be held there, finds it and
        calls nothing again. Signals and the like that have come in meanwhile are left to it; steps that would close the run
        over them are not committed.

        :returns: False where nothing was committed; then all outcomes are in the inbox.
        """
        undone = work.undo_last()
        last = [] if undone is None else [undone]
        _LOG.debug("keeping what local activities of %s have done", view.run.workflow_id, exc_info=error)
        if (last or work.unused()) and self._commit(view, definition, token, origin, work):
            self._keep(view.run, [*last, *work.unused()])
            return True
        work.again()
        self._keep(view.run, [*work.unused(), *last])
        return False

    def _commit(
        self,
        view: TurnView,
        definition: WorkflowDefinition,
        token: str,
        origin: Mapping[str, Json] | None,
        work: LocalWork,
    ) -> bool:
        live = None
        try:
            fresh = self._loader.unmoved(view)
            live = None if fresh is None else self._loader.live(fresh, definition)
            if fresh is None or live is None:
                return False
            turn = Turn(fresh, live, self._definitions, self._limits, origin)
            known = {item.number for item in view.inbox}
            with self._watchdog.watching(live.steps):
                turn.take_all(fresh, as_it_came([item for item in fresh.inbox if item.number in known]))
            work.carry_out(turn)
            if turn.closes_over:
                return False
            if turn.closed:
                turn.seen = view.run.inbox_seq  # so that it is refused where it would close over what has come in since
            commit = turn.commit(turn_token=token, leave_due=not turn.closed)
            return self._store.commit(commit) is CommitOutcome.COMMITTED
        except (Held, UnreadableHistory):
            return False
        finally:
            self._loader.discard(view.run.run_id, live)

    def _keep(self, run: Run, outcomes: Sequence[LocalEvent]) -> None:
        """Put outcomes that can't be recorded yet into the inbox, so that nothing is called again."""
        for each in outcomes:
            self._store.deliver(kept(each, secrets.token_hex(16)), namespace=run.namespace, run_id=run.run_id)
