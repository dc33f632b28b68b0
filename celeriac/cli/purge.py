"""``workflow purge``: closed runs are deleted once they are old enough."""

from __future__ import annotations

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from celeriac.cli.access import durable
from celeriac.cli.options import Age, json_option
from celeriac.cli.screen import Screen
from celeriac.cli.text import count, span


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
        click.confirm(f"Delete all runs that closed {span(older_than)} ago or earlier?", abort=True, err=True)
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
