"""The command line of the benchmark."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Final, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import summary, table
from benchmarks.cases import CASES, QUICK, Case
from benchmarks.peers.catalogue import OURS, PEERS
from benchmarks.peers.peer import Peer, Setting, version_of
from benchmarks.rounds import Bench, Found
from benchmarks.servers import STORES

_QUICK_LIMIT: Final = 30.0  # seconds within which the last case has to end
_COUNTING: Final = 10.0  # seconds after that in which the pass that counts may begin
_NOTES: Final = Path(__file__).parent / "notes.md"
_QUICK_PEERS: Final = (OURS, "celery-redis")

T = TypeVar("T")


@click.group()
def main() -> None:
    """Measure celeriac beside its peers, on the same machine, in interleaved rounds."""


@main.command()
@click.option("--quick", is_flag=True, help="Three cases beside raw Celery in less than a minute; prints JSON.")
@click.option("--cases", help="Names of cases, or beginnings of names, with commas. Default: all but the long ones.")
@click.option("--peers", help="Names of peers, with commas. Default: all that are installed.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Medians are over these.")
@click.option("--store", type=click.Choice(STORES), default="postgresql", show_default=True, help="celeriac's store.")
@click.option("--pool", default="prefork", show_default=True, help="Celery's pool, of celeriac and raw Celery.")
@click.option("--concurrency", type=click.IntRange(1), default=2, show_default=True)
@click.option("--count/--no-count", default=True, help="A pass more that counts statements, commits and bytes.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write everything that was found to this file.")
def run(
    quick: bool,
    cases: str | None,
    peers: str | None,
    rounds: int,
    store: str,
    pool: str,
    concurrency: int,
    count: bool,
    target: Path | None,
) -> None:
    """Run the cases, and print the tables."""
    begun = time.monotonic()
    wanted_cases = _cases(cases, QUICK if quick else [name for name, each in CASES.items() if not each.long])
    wanted_peers = _chosen(peers, PEERS, _QUICK_PEERS if quick else tuple(PEERS))
    missing = {each.name: gone for each in wanted_peers if (gone := each.missing())}
    for name, gone in missing.items():
        click.echo(f"not measured: {name}, because it is not installed: pip install {' '.join(gone)}", err=True)
    there = [each for each in wanted_peers if each.name not in missing]
    until = begun + _QUICK_LIMIT if quick else inf
    if quick:
        wanted_cases = [each.made_small() for each in wanted_cases]
    counted = (QUICK[:1] if quick else list(CASES)) if count else ()
    setting = Setting(store, pool, concurrency)
    made = measure(there, wanted_cases, setting, rounds, missing, until=until, counted=counted)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(made, indent=1) + "\n")
    click.echo(json.dumps(summary.quick(made), indent=1) if quick else "\n".join(table.tables(made)))


def measure(
    peers: Sequence[Peer],
    cases: Sequence[Case],
    setting: Setting,
    rounds: int,
    missing: Mapping[str, Sequence[str]],
    *,
    until: float = inf,
    counted: Collection[str] = (),
) -> summary.Report:
    """Run cases with peers and return the report, with a bar on standard error.

    An interrupt, or a SIGTERM, ends it early; what has been measured by then is reported.

    :param counted: the names of cases that are done once more, in a pass that counts and is not timed.
    """
    steps = sum(
        each.offered_by(peer) * (rounds + (each.counts and each.name in counted)) for each in cases for peer in peers
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        _ended_in_order(),
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
        Bench(peers, setting) as bench,
    ):
        task = bar.add_task("starting", total=steps)

        def step(what: str) -> None:
            bar.update(task, advance=1, description=what)

        found = [Found(case) for case in cases]
        try:
            bench.measure(found, rounds, until=until, step=step)
            bench.count([each for each in found if each.case.name in counted], until=until + _COUNTING, step=step)
        except (KeyboardInterrupt, SystemExit):
            if not any(each.samples for each in found):
                raise
            click.echo("interrupted; this is what was measured by then", err=True)
        return summary.report(found, setting=setting, peers=peers, missing=missing, servers=bench.servers.said())


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Have a SIGTERM end the run as an interrupt would, so that no server or worker is left behind."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cases(text: str | None, default: Iterable[str]) -> list[Case]:
    if text is None:
        return [CASES[name] for name in default]
    meant: set[str] = set()
    for part in text.split(","):
        names = {part} if part in CASES else {name for name in CASES if name.startswith(part)}
        if not part or not names:
            raise click.BadParameter(f"no case is called {part!r}; there are: {', '.join(CASES)}")
        meant |= names
    return [each for name, each in CASES.items() if name in meant]


def _chosen(text: str | None, there: Mapping[str, T], default: Iterable[str]) -> list[T]:
    names = list(default) if text is None else text.split(",")
    for name in names:
        if name not in there:
            raise click.BadParameter(f"nothing is called {name!r}; there are: {', '.join(there)}")
    return [there[name] for name in names]


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "target", type=click.Path(path_type=Path), default=Path("docs/performance.md"), show_default=True)
@click.option("--notes", type=click.Path(exists=True, path_type=Path), default=_NOTES, help="Text that goes into it.")
def report(files: tuple[Path, ...], target: Path, notes: Path) -> None:
    """Write the page of one or more runs, and beside it, in a folder, their plots. Runs of one setting may be in several files."""
    from benchmarks.plots import draw
    from benchmarks.report import page, slug

    reports = summary.merged([json.loads(each.read_text()) for each in files])
    if version_of("matplotlib") is None:
        click.echo("no plots: matplotlib is not installed: pip install matplotlib", err=True)
        drawn: dict[str, list[Path]] = {}
    else:
        drawn = {slug(each): draw(each, target.parent / target.stem, slug(each)) for each in reports}
    plots = {name: [each.relative_to(target.parent) for each in files] for name, files in drawn.items()}
    target.write_text(page(reports, plots, notes.read_text()))
