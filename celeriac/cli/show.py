"""``workflow show``: one run, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from celeriac.cli.access import durable
from celeriac.cli.data import activity_document, event_document, of_kind, run_document, timer_document
from celeriac.cli.history import HistoryTable
from celeriac.cli.options import id_argument, json_option
from celeriac.cli.screen import Screen
from celeriac.cli.text import BRIEF
from celeriac.cli.view import header, held_text, under_way
from celeriac.orchestrator.status import TaskKind, WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.orchestrator.client import Client
    from celeriac.orchestrator.events import HistoryEvent
    from celeriac.orchestrator.model import Run

_LOOK: Final = 0.25
"""Seconds between two looks at a run that is followed."""
_PAGE: Final = 1_000
"""How many events are read at once."""


@click.command("show")
@id_argument
@click.option("--history/--no-history", default=True, help="With or without the history.  [default: with]")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until the run ends.")
@click.option("--full", is_flag=True, help="Values, messages and stacks in full.")
@json_option
@click.pass_context
def show(ctx: click.Context, *, workflow_id: str, history: bool, follow: bool, full: bool, as_json: bool) -> None:
    """Show a run: its state, its history, what is under way.

    ID is a workflow id, for the latest run with it, or a run id.
    """
    if as_json and follow:
        raise click.UsageError("--json prints one document and ends; --follow goes on. Take one of them")
    client = durable(ctx).client
    run = client.describe(workflow_id)
    screen = Screen.of(ctx)
    if as_json:
        screen.json(document(client, run, history=history))
        return
    if follow:
        _follow(screen, client, run, full=full)
        return
    write_run(screen, client, run, history=history, full=full)


def document(client: Client, run: Run, *, history: bool) -> dict[str, object]:
    """Describe a run, its history and what is under way as JSON."""
    tasks = client.store.tasks(run.run_id)
    found: dict[str, object] = {
        "run": run_document(run),
        "activities": [activity_document(each) for each in of_kind(tasks, TaskKind.ACTIVITY)],
        "timers": [timer_document(each) for each in of_kind(tasks, TaskKind.TIMER)],
    }
    if history:
        found["history"] = [event_document(each) for each in client.store.history(run.run_id)]
    return found


def write_run(screen: Screen, client: Client, run: Run, *, history: bool = True, full: bool = False) -> None:
    """Write all about a run."""
    now, tasks = client.store.now(), client.store.tasks(run.run_id)
    screen.write(*header(run, tasks, now, full=full))
    if history:
        table = HistoryTable(limit=None if full else BRIEF)
        screen.write("", table.heading())
        for events in _pages(client, run):
            screen.write(table.rows(events))
    below = under_way(tasks, now, full=full)
    if below:
        screen.write(*below)


def _pages(client: Client, run: Run, told: int = 0) -> Iterator[Sequence[HistoryEvent]]:
    """Read a run's history piece by piece: it may be long, and the first of it is shown at once.

    :param told: the number of the last event that is not to be read.
    """
    while events := client.store.history(run.run_id, after=told, limit=_PAGE):
        yield events
        told = events[-1].number


def _follow(screen: Screen, client: Client, run: Run, *, full: bool) -> None:
    """Write the run's history as it happens, then how it ended."""
    screen.write(*header(run, client.store.tasks(run.run_id), client.store.now(), full=full))
    table = HistoryTable(limit=None if full else BRIEF)
    screen.write("", table.heading())
    told, reason = 0, None
    while True:
        # The run is looked at before its events: what has happened since is told in the next round.
        run = client.describe(run.run_id)
        for events in _pages(client, run, told):
            screen.write(table.rows(events))
            told = events[-1].number
        if not run.status.open:
            break
        held = (run.blocked or {}).get("message") if run.status is WorkflowStatus.BLOCKED else None
        if held != reason and held is not None:
            screen.write("", held_text(run, client.store.tasks(run.run_id), client.store.now()), "")
        reason = held
        client.pause_for(run.run_id, _LOOK)
    screen.write("", *header(run, [], client.store.now(), full=full))
