"""Measured runs as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks import table
from benchmarks.summary import Report


def page(reports: Sequence[Report]) -> str:
    """Return the page for one or more runs, as ``benchmarks run --json`` has written them."""
    return "\n".join([_HEAD, *(line for each in reports for line in _section(each))]) + "\n"


def _section(made: Report) -> Iterator[str]:
    setting, machine = made["setting"], made["machine"]
    yield f"## {_STORES[setting['store']]}, pool {setting['pool']}"
    yield ""
    yield f"{machine['cores']} cores, shared by clients, brokers, databases and workers; Python {machine['python']}, {machine['system']}."
    yield ""
    yield from table.tables(made)
    yield ""


_STORES = {
    "postgresql": "PostgreSQL with fsync, broker Redis",
    "sqlite": "SQLite with synchronous=FULL, broker Redis",
    "mariadb": "MariaDB, broker Redis",
}
_HEAD = """# Performance

What durability costs. Made by `python -m benchmarks run --json FILE` and `python -m benchmarks report FILE`. Steps do nothing, so
all of this is overhead. Every result is checked.
"""
