"""``python -m benchmarks run [--quick] [--store postgresql|sqlite] [--cases ...] [--json FILE]``, and ``report FILE``."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table


@dataclass(frozen=True)
class Case:
    """One comparison.

    :param figure: the figure that is compared.
    :param more_is_better: whether a larger figure is the better one.
    :param goal: the ratio to raw Celery (or, without a peer, the figure itself) that is sought.
    :param steps: how many activities it takes, where the CPU time of each is of interest.
    """

    figure: str
    more_is_better: bool
    goal: float
    durable: Callable[[Any], dict[str, float]]
    raw: Callable[[Any], dict[str, float]] | None = None
    steps: int = 0


CASES = {
    "chains of 10, 100 at once": Case(
        "steps_per_second", True, 1.0, lambda c: c.chains_durable(100, 10), lambda c: c.chains_raw(100, 10), 1000
    ),
    "chain of 10, alone": Case(
        "milliseconds", False, 1.5, lambda c: c.alone_durable(10, 10), lambda c: c.alone_raw(10, 10), 100
    ),
    "chain of 1, alone": Case(
        "milliseconds", False, 2.0, lambda c: c.alone_durable(20, 1), lambda c: c.alone_raw(20, 1)
    ),
    "fan-out of 100": Case(
        "steps_per_second", True, 1.0, lambda c: c.fan_out_durable(100), lambda c: c.fan_out_raw(100)
    ),
    "fan-out of 1,000": Case(
        "steps_per_second", True, 1.0, lambda c: c.fan_out_durable(1000), lambda c: c.fan_out_raw(1000), 1000
    ),
    "signal to result": Case("milliseconds", False, 10.0, lambda c: c.signal_durable(20)),
    "row of 1,000": Case("milliseconds_per_step", False, 12.5, lambda c: c.sequence_durable(1000), steps=1000),
    "row of 1,000, its last tenth": Case("last_to_first_tenth", False, 1.1, lambda c: c.tenths_durable(1000)),
    "local activities, 1,000 in a row": Case("milliseconds_per_step", False, 0.5, lambda c: c.local_row_durable(1000)),
    "local activities, 1,000 at once": Case("steps_per_second", True, 2000.0, lambda c: c.local_fan_out_durable(1000)),
    "2,000 sleeping runs": Case("percent_of_a_core", False, 1.0, lambda c: c.sleeping_durable(2000, 5.0)),
    "starts": Case("starts_per_second", True, 1000.0, lambda c: c.starts_durable(200)),
}
QUICK = ("chains of 10, 100 at once", "chain of 10, alone", "signal to result")


@click.group()
def main() -> None:
    """Measure celeriac beside raw Celery, which is not durable, on the same workers."""


@main.command()
@click.option("--quick", is_flag=True, help="Three cases in under a minute; prints JSON.")
@click.option("--store", type=click.Choice(["postgresql", "sqlite"]), default="postgresql", show_default=True)
@click.option("--cases", "names", multiple=True, help="Names, or parts of names, of the cases to run.")
@click.option("--rounds", default=5, show_default=True, help="Interleaved rounds; medians are reported.")
@click.option("--pool", default="prefork", show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write all figures to this file.")
def run(quick: bool, store: str, names: tuple[str, ...], rounds: int, pool: str, target: Path | None) -> None:
    """Run the cases and print the ratios."""
    from benchmarks import servers

    chosen = [
        each for each in CASES if (not names or any(part in each for part in names)) and (not quick or each in QUICK)
    ]
    rounds = min(rounds, 3) if quick else rounds
    with servers.servers(store) as environment:
        os.environ.update(environment)
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        from benchmarks import app, cases

        if store == "postgresql":
            app.durable.migrate()
        with (
            servers.worker(environment, pool=pool) as pid,
            Progress(console=Console(stderr=True), transient=True) as bar,
        ):
            os.environ["BENCH_WORKER"] = str(pid)
            figures = _measure(cases, chosen, rounds, bar, lambda: servers.cpu_seconds(pid))
    found = {"store": store, "pool": pool, "rounds": rounds, "machine": _machine(), "cases": figures}
    if target is not None:
        target.write_text(json.dumps(found, indent=2))
    if quick:
        click.echo(json.dumps(found))
    else:
        Console().print(_table(figures))


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "target", type=click.Path(path_type=Path), default=Path("docs/performance.md"), show_default=True)
def report(files: tuple[Path, ...], target: Path) -> None:
    """Write the page of one or more runs."""
    from benchmarks.report import markdown

    target.write_text(markdown([json.loads(each.read_text()) for each in files]))


def _measure(cases: Any, chosen: list[str], rounds: int, bar: Progress, cpu: Callable[[], float]) -> dict[str, Any]:
    cases.chains_durable(5, 3), cases.chains_raw(5, 3)  # warm both sides up
    found: dict[str, dict[str, list[float]]] = {
        name: {"durable": [], "raw": [], "durable_cpu": [], "raw_cpu": []} for name in chosen
    }
    task = bar.add_task("measuring", total=rounds * len(chosen))
    for _ in range(rounds):
        for name in chosen:
            case = CASES[name]
            for side in ("durable", "raw"):
                call = getattr(case, side)
                if call is not None:
                    before = cpu()
                    found[name][side].append(call(cases)[case.figure])
                    found[name][f"{side}_cpu"].append(cpu() - before)
            bar.advance(task)
    return {name: _figures(CASES[name], sides) for name, sides in found.items()}


def _figures(case: Case, sides: dict[str, list[float]]) -> dict[str, Any]:
    durable = statistics.median(sides["durable"])
    figures: dict[str, Any] = {
        "figure": case.figure,
        "durable": durable,
        "goal": case.goal,
        "more_is_better": case.more_is_better,
        "steps": case.steps,
        "all": sides,
        "worker_cpu_seconds": statistics.median(sides["durable_cpu"]),
    }
    if sides["raw"]:
        figures["raw"] = statistics.median(sides["raw"])
        figures["raw_worker_cpu_seconds"] = statistics.median(sides["raw_cpu"])
        figures["ratio"] = statistics.median(a / b for a, b in zip(sides["durable"], sides["raw"], strict=True))
    measured = figures.get("ratio", durable)
    figures["goal_met"] = measured >= case.goal if case.more_is_better else measured <= case.goal
    return figures


def _machine() -> dict[str, Any]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "redis", "sqlalchemy", "psycopg"))
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "packages": packages,
    }


def _table(figures: dict[str, Any]) -> Table:
    table = Table("case", "figure", "celeriac", "raw Celery", "ratio", "goal", "met")
    for name, each in figures.items():
        raw, ratio = each.get("raw"), each.get("ratio")
        table.add_row(
            name,
            each["figure"].replace("_", " "),
            f"{each['durable']:.1f}",
            "" if raw is None else f"{raw:.1f}",
            "" if ratio is None else f"{ratio:.2f}",
            f"{each['goal']:g}",
            "yes" if each["goal_met"] else "no",
        )
    return table


if __name__ == "__main__":
    main()
