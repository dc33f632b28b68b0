"""``python -m tests.chaos --minutes 10 --seed 1``: real servers and workers under random faults, and an exact reckoning."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.chaos.brokers import BROKERS
from tests.chaos.clerk import Clerk
from tests.chaos.cluster import STORES
from tests.chaos.havoc import Havoc
from tests.chaos.session import Progress, Session, Wish

_SHOW_EVERY = 0.25
"""Seconds between two pictures."""


@contextmanager
def _screen(console: Console) -> Iterator[Progress]:
    """Show how things stand, where there is a terminal."""
    if not console.is_terminal:
        yield lambda *_: None
        return
    shown = 0.0
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(seconds: float, clerk: Clerk, havoc: Havoc, what: str) -> None:
            nonlocal shown
            if time.monotonic() - shown > _SHOW_EVERY:
                shown = time.monotonic()
                live.update(_picture(seconds, clerk, havoc, what), refresh=True)

        yield show


def _picture(seconds: float, clerk: Clerk, havoc: Havoc, what: str) -> Table:
    cluster = havoc.cluster
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row(f"[bold]{seconds:6.1f} s[/]", what)
    table.add_row("runs", f"{len(clerk.plans)} started, {clerk.open} open, {clerk.repeated} calls repeated")
    for member in cluster.members:
        state = "[red]down[/]" if not member.up else "[yellow]struck[/]" if member.busy else "[green]up[/]"
        table.add_row(f"worker {member.name}", f"{state}  {member.pool}, started again {member.deaths} times")
    table.add_row("broker", "[red]down[/]" if cluster.broker_down else "[green]up[/]")
    table.add_row("database", "[red]down[/]" if cluster.database_down else "[green]up[/]")
    for name, count in sorted(havoc.struck.items()):
        table.add_row(name, str(count))
    return table


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="For how long faults strike.")
@click.option("--seed", type=int, help="The same faults and the same runs; how they meet is the machine's affair.")
@click.option("--every", default=3.0, show_default=True, help="The mean time between two faults, in seconds.")
@click.option("--open", "open_at_once", default=80, show_default=True, help="How many runs are kept open.")
@click.option("--store", default="postgresql", show_default=True, type=click.Choice(list(STORES)), help="The database.")
@click.option("--broker", default="redis", show_default=True, type=click.Choice(list(BROKERS)), help="The broker.")
@click.option("--earlier", help="The commit whose code worker six runs; looked for in the history unless given.")
@click.option(
    "--report", type=click.Path(path_type=Path), help="The folder of the report, which is written as it goes."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def main(*, report: Path | None, as_json: bool, minutes: float, seed: int | None, **wishes: Any) -> None:
    """Run real workers on real servers under random faults, and compare what is recorded with what was done.

    Ctrl-C, or SIGTERM, ends the faults; the comparison follows.
    """
    seed = random.randrange(1_000_000) if seed is None else seed
    folder = report or Path(tempfile.gettempdir(), f"chaos-{seed}-{os.getpid()}")
    # A shell starts what it starts with & deaf to this; workers would inherit that, and miss one that comes while they load.
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    console = Console(stderr=as_json)
    console.print(f"The report is written to {folder}/report.md as it goes.", markup=False, highlight=False)
    logging.getLogger("celeriac").setLevel(logging.ERROR)  # what the servers do is known here
    with _screen(console) as progress:
        session = Session(Wish(seconds=minutes * 60, seed=seed, **wishes), folder.resolve(), progress)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: session.enough())
        done = session.play()
    if as_json:
        click.echo(done.as_json())
    else:
        done.show(console)
    sys.exit(1 if done.violations else 0)


if __name__ == "__main__":
    main()
