"""``workflow list``: many runs in a table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from celeriac.cli import runs
from celeriac.cli.access import durable
from celeriac.cli.data import run_document
from celeriac.cli.options import json_option
from celeriac.cli.screen import Screen
from celeriac.cli.text import count
from celeriac.orchestrator.model import RunFilter
from celeriac.orchestrator.status import CLOSED, OPEN, WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.orchestrator.client import Client
    from celeriac.orchestrator.model import Run

_GROUPS: Final = {"open": OPEN, "closed": CLOSED}
_STATUSES: Final = (*(each.value for each in WorkflowStatus), *_GROUPS)
_PAGE: Final = 200
"""How many runs are read from the store at once."""


@click.command("list")
@click.option(
    "--status",
    "-s",
    "statuses",
    multiple=True,
    type=click.Choice(_STATUSES),
    help="Only these; may be repeated.",
)
@click.option("--name", "-n", metavar="NAME", help="Only runs of this workflow.")
@click.option("--id", "workflow_id", metavar="ID", help="Only runs with this workflow id; there may be several.")
@click.option("--limit", "-l", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="All there are.")
@json_option
@click.pass_context
def list_(
    ctx: click.Context,
    *,
    statuses: tuple[str, ...],
    name: str | None,
    workflow_id: str | None,
    limit: int,
    everything: bool,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    client = durable(ctx).client
    wanted = None if everything else limit
    page = _PAGE if wanted is None else min(_PAGE, wanted + 1)
    where = RunFilter(statuses=_statuses(statuses), name=name, workflow_id=workflow_id, limit=page)
    found, more = _read(client, where, wanted)
    screen = Screen.of(ctx)
    if as_json:
        screen.json({"runs": [run_document(each) for each in found], "more": more})
        return
    if not found:
        screen.say(("no runs", "dim"))
        return
    screen.write(runs.table(found, client.store.now(), screen.console.width))
    if more:
        screen.say((f"{count(len(found), 'run')} shown; there are more (--limit N, --all)", "dim"))


def _statuses(words: Sequence[str]) -> Sequence[WorkflowStatus]:
    chosen: set[WorkflowStatus] = set()
    for word in words:
        chosen |= _GROUPS[word] if word in _GROUPS else {WorkflowStatus(word)}
    return sorted(chosen)


def _read(client: Client, where: RunFilter, wanted: int | None) -> tuple[list[Run], bool]:
    """Return as many runs as are wanted, and whether there are more."""
    found: list[Run] = []
    for run in _pages(client, where):
        if wanted is not None and len(found) == wanted:
            return found, True
        found.append(run)
    return found, False


def _pages(client: Client, where: RunFilter) -> Iterator[Run]:
    while True:
        page = client.list(where)
        yield from page
        if len(page) < where.limit:
            return
        where = replace(where, cursor=page[-1].run_id)
