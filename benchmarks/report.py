"""Measured runs as a page of Markdown, with what a reader has to know to repeat or doubt them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import table
from benchmarks.summary import Report

Plots = Mapping[str, Sequence[Path]]
"""By :func:`slug`, the files of its plots, relative to the page."""


def page(reports: Sequence[Report], plots: Plots | None = None, notes: str = "") -> str:
    """Return the page for one or more runs, as ``benchmarks run --json`` has written them.

    :param notes: Markdown on what the figures mean, such as why a goal is not met; it comes after them.
    """
    lines = [_HEAD, *(line for each in reports for line in _section(each, (plots or {}).get(slug(each), ())))]
    return "\n".join([*lines, *([notes] if notes else []), *_configurations(reports), _FOOT])


def slug(made: Report) -> str:
    """Return a name for the files of a run, such as ``postgresql-prefork``."""
    return f"{made['setting']['store']}-{made['setting']['pool']}"


def _section(made: Report, plots: Sequence[Path]) -> Iterator[str]:
    setting, machine = made["setting"], made["machine"]
    yield f"## {_STORES[setting['store']]}, pool {setting['pool']} of {setting['concurrency']}"
    yield ""
    yield (
        f"{machine['cores']} cores, which clients, brokers, databases and workers share; Python {machine['python']}, "
        f"{machine['system']}. {_rounds(made)} In parentheses: celeriac's figure divided by the peer's."
    )
    yield ""
    yield from table.tables(made)
    for each in plots:
        yield f"![{_PLOTS[each.stem.rpartition('-')[2]]}]({each.as_posix()})"
        yield ""


def _rounds(made: Report) -> str:
    numbers = [sum(map(bool, each["rounds"])) for case in made["cases"].values() for each in case["peers"].values()]
    most, least = max(numbers, default=0), min(numbers, default=0)
    return f"Medians over {most} interleaved rounds{f' ({least} for some cases and peers)' if least < most else ''}."


def _configurations(reports: Sequence[Report]) -> Iterator[str]:
    yield "## How each was set up"
    yield ""
    servers = {name: said for each in reports for name, said in each["servers"].items()}
    for name, said in servers.items():
        yield f"- {name}: {said}."
    yield ""
    peers = {name: each for made in reports for name, each in made["peers"].items()}
    for each in peers.values():
        versions = ", ".join(f"{package} {version}" for package, version in each["versions"].items())
        yield f"- **{each['title']}** ({versions}{'' if each['durable'] else '; not durable'})"
        for what, how in each["configuration"].items():
            yield f"    - {what}: {how}"
    missing = {name: gone for made in reports for name, gone in made["missing"].items()}
    for name, gone in missing.items():
        yield f"- {name} was not measured: {', '.join(gone)} not installed"
    yield ""


_STORES = {
    "postgresql": "PostgreSQL with fsync, broker Redis",
    "sqlite": "SQLite with synchronous=FULL, broker Redis",
    "mariadb": "MariaDB with a flush at each commit, broker Redis",
}
_PLOTS = {
    "throughput": "activities a second, by case and peer",
    "processor": "processor time of an activity, by case and peer",
    "rows": "milliseconds of an activity by tenth of a row",
}
_HEAD = """# Performance

What durability costs, and what others ask for it. Made by `python -m benchmarks run --json FILE` and
`python -m benchmarks report FILE`. Steps do nothing, so all of this is overhead. Every result is checked, no peer is weakened, and
nobody's durability is turned off. Whoever is not being measured is stopped meanwhile. A ratio is the median of the rounds' ratios;
a goal's last column but one divides what was measured by what was sought.
"""
_FOOT = """## How to read it

- Everything shares the machine's cores, so throughput is limited by processor time: the figure that noise touches least is the CPU of
  all processes an activity. The time of processes that have ended meanwhile is in it.
- Statements, transactions, round trips and bytes were counted in a pass of its own that is not timed. A statement is what a client
  sends, `BEGIN` and `COMMIT` included. A round trip is a turn of the conversation on the wire, however many statements it carries.
- The last tenth of a row over the first says whether a step's cost grows with the history.
- A sleeping run is a row: no message, no memory in the workers.
"""
