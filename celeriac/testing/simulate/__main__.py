"""``python -m celeriac.testing.simulate``: search for schedules that break a promise. Exit code 1 when one is found."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from celeriac.stores.memory import InMemoryStore
from celeriac.testing.simulate.jobs import MOST_SEEDS, search
from celeriac.testing.simulate.light import LightStore
from celeriac.testing.simulate.report import Report

STORES: Final = {"memory": InMemoryStore, "light": LightStore}


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, report, and return the exit code; an interrupt from the keyboard ends the search, and is reported too."""
    options = _parser().parse_args(arguments)
    if options.seed is not None:
        options.start, options.seeds, options.trace = options.seed, 1, True
    os.nice(options.nice)
    console = Console(stderr=options.json)
    seeds = _until(options.seconds, itertools.islice(itertools.count(options.start), options.seeds))
    report = Report()
    with _showing(console, options.seeds) as show:
        search(
            seeds,
            report,
            store=STORES[options.store],
            jobs=options.jobs,
            stop_after=options.stop_after,
            whole_trace=options.trace,
            on_progress=show,
            most_seeds=min(max(options.seeds // (4 * options.jobs), 1), MOST_SEEDS),
        )
    if options.json:
        print(json.dumps(report.as_json(), indent=2))  # noqa: T201 - what was asked for
    else:
        _tell(console, report)
    return 1 if report.found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m celeriac.testing.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules (default 1000)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=int, default=None, help="this one schedule again, its trace from the beginning")
    parser.add_argument("--seconds", type=float, default=None, help="stop after so many seconds")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes search (default 1)")
    parser.add_argument("--stop-after", type=int, default=10, help="stop after so many violations (default 10)")
    parser.add_argument(
        "--store", choices=STORES, default="light", help="light shares values (default), memory sends all through JSON"
    )
    parser.add_argument("--trace", action="store_true", help="show the whole trace of a violation, not its end")
    parser.add_argument("--json", action="store_true", help="report as JSON")
    parser.add_argument("--nice", type=int, default=0, help="how far to stand back for other processes")
    return parser


def _until(seconds: float | None, seeds: Iterable[int]) -> Iterator[int]:
    end = None if seconds is None else time.monotonic() + seconds
    for seed in seeds:
        if end is not None and time.monotonic() > end:
            return
        yield seed


@contextmanager
def _showing(console: Console, seeds: int) -> Iterator[Callable[[Report], None]]:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=seeds)

        def show(report: Report) -> None:
            told = f"{report.rate:.0f}/s, {report.faults.total()} faults, {len(report.found)} violations"
            progress.update(bar, completed=report.schedules, description=told)

        yield show


def _tell(console: Console, report: Report) -> None:
    for found in report.found:
        console.print(f"[bold red]seed {found.seed}:[/] ", end="")
        console.print(found.message, markup=False)
        for line in found.trace:
            console.print(f"    {line}", markup=False, highlight=False, no_wrap=True)
        console.print(f"Again: python -m celeriac.testing.simulate --seed {found.seed}", highlight=False)
    each = report.faults.total() / report.schedules if report.schedules else 0.0
    console.print(
        f"{report.schedules} schedules at {report.rate:.0f} a second of one core, {report.steps} steps, "
        f"{report.faults.total()} faults ({each:.1f} each):"
    )
    for fault, times in report.faults.most_common():
        console.print(f"    {times:>8} {fault.value}", highlight=False)
    console.print(f"{report.replayed} schedules had their histories replayed from every step on", highlight=False)
    console.print(f"[bold {'red' if report.found else 'green'}]{len(report.found)} violations")


if __name__ == "__main__":
    sys.exit(main())
