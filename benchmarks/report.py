"""A measured run as a page of Markdown."""

from __future__ import annotations

from typing import Any

_UNITS = {
    "steps_per_second": "activities/s",
    "milliseconds": "ms",
    "milliseconds_per_step": "ms per activity",
    "starts_per_second": "starts/s",
    "last_to_first_tenth": "last tenth to first",
    "percent_of_a_core": "% of a core",
}


def markdown(reports: list[dict[str, Any]]) -> str:
    """Return the page for one or more runs, as ``benchmarks run --json`` has written them."""
    return "\n".join([_HEAD, *(line for report in reports for line in _section(report)), _FOOT])


def _section(report: dict[str, Any]) -> list[str]:
    machine = report["machine"]
    lines = [
        f"## {_STORES[report['store']]}, pool {report['pool']}",
        "",
        (
            f"{report['rounds']} interleaved rounds on {machine['cores']} cores (client, broker, store and workers share them), "
            f"Python {machine['python']}, {machine['packages']}. Ratios are medians of the rounds' ratios."
        ),
        "",
        "| case | unit | celeriac | raw Celery | ratio | goal | met | worker CPU, ms per activity |",
        "|---|---|---:|---:|---:|---:|---|---:|",
    ]
    lines += [_line(name, each) for name, each in report["cases"].items()]
    return [*lines, ""]


def _line(name: str, each: dict[str, Any]) -> str:
    cells = [
        name,
        _UNITS[each["figure"]],
        _number(each["durable"]),
        _number(each.get("raw")),
        _number(each.get("ratio")),
        ("≥ " if each["more_is_better"] else "≤ ") + f"{each['goal']:g}",
        "yes" if each["goal_met"] else "**no**",
        _cpu(each),
    ]
    return f"| {' | '.join(cells)} |"


def _cpu(each: dict[str, Any]) -> str:
    if not each.get("steps"):
        return ""
    sides = [each["worker_cpu_seconds"], each.get("raw_worker_cpu_seconds")]
    return ", raw ".join(f"{side / each['steps'] * 1000:.1f}" for side in sides if side is not None)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_STORES = {"postgresql": "PostgreSQL with fsync, broker Redis", "sqlite": "SQLite with synchronous=FULL, broker Redis"}
_HEAD = """# Performance

What durability costs, measured beside Celery's own canvas, which records nothing, on the same workers in the same run. Made by
`python -m benchmarks run --json FILE` and `python -m benchmarks report FILE`; steps do nothing, so all of this is overhead.

A ratio compares celeriac with the raw chain, chord or call of the same shape. Where there is nothing to compare with, the
goal is a figure. Every result is checked.
"""
_FOOT = """## How to read it

- Chains are limited by CPU on a machine where everything shares two cores. A step is one task message each way: a claim and a commit
  in the store where raw Celery has a result in Redis. A commit waits for the disk; a claim of what may be attempted again does not.
- The process that finishes an activity takes the next turn itself where it can, so a step of a row costs no message for the turn.
- Local activities run inside the turn: no message, no claim, one commit for many.
- Where a goal is not met: of a worker process's busy time in chains a quarter goes to publishing the next activity (most of it in the
  broker's client, which makes a new client for each message), a fifth to the commit, an eighth to the claim. A chain of one pays
  for the start, the first turn and the last message with a single step. `start_many`, which would start runs in batches, is not there.
- A sleeping run is a row. Workers hold nothing for it and ask for nothing.
"""
