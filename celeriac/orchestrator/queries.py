"""Questions about runs, answered on a copy of the run that belongs to nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from celeriac.errors import CeleriacError, Held, QueryFailed, UnknownDefinition, WorkflowNotFound
from celeriac.orchestrator.definition import WorkflowDefinition
from celeriac.orchestrator.engine import Engine
from celeriac.orchestrator.live import LiveRun, SideEffectAhead
from celeriac.orchestrator.model import Run, TurnView
from celeriac.orchestrator.replay import feed
from celeriac.orchestrator.turn import Order, Turn, as_it_came, signals_first
from celeriac.payloads import Signature

BUILT_IN: Final = ("status", "result", "history", "waits", "stack")


def ask(engine: Engine, definition: WorkflowDefinition, run: Run, query: str, args: Sequence[Any]) -> Any:
    """Answer a declared query, or say where the run's code stands (``stack``). Nothing is recorded.

    :raises UnknownDefinition: the workflow has no such query.
    :raises QueryFailed: the run can't be looked into, or the query's own code raised.
    """
    try:
        live = _copy(engine, definition, run)
    except Held as error:
        raise QueryFailed(f"query {query!r}: the run can't be looked into: {error}") from error
    try:
        return live.stack() if query == "stack" else _answer(live, query, args)
    finally:
        live.discard()


def _copy(engine: Engine, definition: WorkflowDefinition, run: Run) -> LiveRun:
    """Return the run's code at its present state, everything accepted applied.

    What is accepted but brings about a side effect first is left for the turn that will record it.
    """
    view = engine.store.read_turn(run.run_id, known=None)
    if view is None:
        raise WorkflowNotFound(run.workflow_id)
    order = as_it_came(view.inbox) if view.run.status.open else None
    try:
        live = _fed(engine, definition, view, order)
    except SideEffectAhead:
        live = _fed(engine, definition, view, None)
    if live.started is None:
        live.discard()
        raise QueryFailed(_not_begun(view.run))
    return live


def _fed(engine: Engine, definition: WorkflowDefinition, view: TurnView, order: Order | None) -> LiveRun:
    """Return a copy of the run, fed with its history and, in this order, with what it has not taken up yet.

    :param order: None for the history alone.
    """
    run = view.run
    live = LiveRun(
        definition,
        run_id=run.run_id,
        workflow_id=run.workflow_id,
        definitions=engine.definitions,
        only_looks=True,
    )
    try:
        with engine.watchdog.watching(live.steps):
            if run.turns > 0:
                feed(live, view.events)
            turn = Turn(view, live, engine.definitions, engine.settings.limits)
            if order is not None:
                turn.take_all(view, order)
    except BaseException:
        live.discard()
        raise
    if order is not None and turn.closes_over:
        live.discard()
        return _fed(engine, definition, view, signals_first(order, view.inbox, turn.closed_by or 0))
    return live


def _not_begun(run: Run) -> str:
    if run.status.open:
        why = "it begins with a side effect, which only its first turn may bring about; ask again later"
    else:
        why = f"it was {run.status.value.replace('_', ' ')} before its first turn"
    return f"workflow {run.workflow_id!r} has not begun: {why}"


def _answer(live: LiveRun, name: str, args: Sequence[Any]) -> Any:
    query = live.queries.get(name)
    if query is None:
        raise UnknownDefinition("query", name, [*BUILT_IN, *live.queries])
    signature = Signature(query, label=f"query {name!r}")
    given, named = signature.read(signature.write(args, {}))
    try:
        value = query(*given, **named)
    except (CeleriacError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise QueryFailed(f"query {name!r} raised {type(error).__name__}: {error}") from error
    label = f"answer to query {name!r}"
    return signature.result.read(signature.result.write(value, label), label)
