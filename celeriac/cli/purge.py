"""``workflow purge``: closed runs are deleted once they are old enough."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from celeriac.cli.access import durable
from celeriac.cli.options import json_option
from celeriac.cli.screen import Screen
from celeriac.cli.text import count, span
from celeriac.orchestrator.model import RunFilter, micros
from celeriac.orchestrator.status import CLOSED

if TYPE_CHECKING:
    from celeriac.orchestrator.client import Client

    _ParamType = click.ParamType[Any]
else:  # in older releases of click it takes no parameter
    _ParamType = click.ParamType

_UNITS: Final = {"d": 86_400, "h": 3600, "min": 60, "m": 60, "s": 1, "": 1}


class Age(_ParamType):
    """A length of time: ``30d``, ``12h``, ``90min``, or a number of seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it as seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(d|h|min|m|s|)", str(value))
        if found is None:
            self.fail(f"{value!r} is no age. Write one like 30d, 12h, 90min or 3600", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@click.command("purge")
@click.option("--older-than", type=Age(), required=True, metavar="AGE", help="Closed so long ago: 30d, 12h, 90min.")
@click.option("--limit", "-l", type=click.IntRange(min=1), help="At most so many.  [default: all]")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@json_option
@click.pass_context
def purge(ctx: click.Context, *, older_than: float, limit: int | None, yes: bool, as_json: bool) -> None:
    """Delete closed runs with their histories. Open runs stay, however old they are."""
    client = durable(ctx).client
    if not yes:
        _confirm(client, older_than)
    deleted = 0
    console = Console(stderr=True)
    columns = TextColumn("deleting closed runs"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("deleting", total=limit)
        for each in client.purging(older_than, limit=limit):
            deleted += each
            progress.advance(bar, each)
    screen = Screen.of(ctx)
    if as_json:
        screen.json({"deleted": deleted})
    else:
        screen.say(f"{count(deleted, 'run')} deleted")


def _confirm(client: Client, older_than: float) -> None:
    before = client.store.now() - micros(older_than)
    oldest = client.list(RunFilter(statuses=sorted(CLOSED), created_before=before, limit=1))
    if oldest:
        click.confirm(f"Delete all runs that closed {span(older_than)} ago or earlier?", abort=True, err=True)
