"""A run as tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.peers.catalogue import OURS
from benchmarks.summary import Report


def tables(made: Report) -> Iterator[str]:
    """Yield the lines of all tables that have any, with their titles."""
    for title, lines in (
        ("", figures(made)),
        ("### Goals", goals(made)),
        ("### What an activity costs", costs(made)),
        ("### At rest", resting(made)),
    ):
        found = list(lines)
        if len(found) > 2:  # more than its head
            yield from ([title, ""] if title else [])
            yield from found
            yield ""


def figures(made: Report) -> Iterator[str]:
    """Yield each case's figure for each peer; in parentheses, how celeriac's compares, as a median of paired rounds."""
    names = list(made["peers"])
    yield f"| case | unit | {' | '.join(made['peers'][name]['title'] for name in names)} |"
    yield "|---|---|" + "---:|" * len(names)
    for case in made["cases"].values():
        cells = [_figure(case, case["peers"].get(name)) for name in names]
        yield f"| {case['title']} | {case['unit']} | {' | '.join(cells)} |"


def _figure(case: dict[str, Any], each: dict[str, Any] | None) -> str:
    if each is None:
        return ""
    shown = number(each["median"].get(case["figure"]))
    return shown if each["ratio"] is None else f"{shown} ({number(each['ratio'])} x)"


def goals(made: Report) -> Iterator[str]:
    """Yield each goal with what came of it and the ratio of the two."""
    yield "| case | goal | celeriac | of the goal | met |"
    yield "|---|---|---:|---:|---|"
    for case in made["cases"].values():
        for goal in case["goals"]:
            if goal["value"] is None:
                continue
            sign = "≥" if goal["at_least"] else "≤"
            unit = "" if goal["against"] is None else f" x {made['peers'][goal['against']]['title']}"
            wanted = f"{words(goal['figure'])} {sign} {number(goal['bound'])}{unit}"
            share = number(goal["value"] / goal["bound"]) if goal["bound"] else ""
            met = "yes" if goal["met"] else "**no**"
            yield f"| {case['title']} | {wanted} | {number(goal['value'])} | {share} | {met} |"


def costs(made: Report) -> Iterator[str]:
    """Yield what an activity costs with each peer: milliseconds of processor time by role, and what was counted."""
    roles = ["total", "workers", "client", "broker", "database", "server"]
    counted = list(
        dict.fromkeys(n for c in made["cases"].values() for each in c["peers"].values() for n in each["counted"])
    )
    head = [f"CPU {role}, ms" for role in roles] + [words(name) for name in counted]
    yield f"| case | peer | {' | '.join(head)} |"
    yield "|---|---|" + "---:|" * len(head)
    for case in made["cases"].values():
        if not case["activities"]:
            continue
        for name in sorted(case["peers"], key=lambda name: name != OURS):
            each = case["peers"][name]
            cells = [number(each["median"].get(f"cpu_{role}")) for role in roles]
            cells += [number(each["counted"].get(count)) for count in counted]
            yield f"| {case['title']} | {made['peers'][name]['title']} | {' | '.join(cells)} |"


def resting(made: Report) -> Iterator[str]:
    """Yield what was seen of peers that were asked for nothing while runs slept, medians."""
    cases = [
        each for each in made["cases"].values() if any("idle_seconds" in p["median"] for p in each["peers"].values())
    ]
    names = list(
        dict.fromkeys(
            name
            for case in cases
            for each in case["peers"].values()
            for name in each["median"]
            if name.startswith("idle_") or name in {"kib_per_run", "falling_asleep_per_second"}
        )
    )
    yield f"| case | peer | {' | '.join(words(name.removeprefix('idle_')) for name in names)} |"
    yield "|---|---|" + "---:|" * len(names)
    for case in cases:
        for name, each in case["peers"].items():
            cells = [number(each["median"].get(figure)) for figure in names]
            yield f"| {case['title']} | {made['peers'][name]['title']} | {' | '.join(cells)} |"


def words(name: str) -> str:
    """Return the name of a figure in words."""
    return name.replace("_", " ").replace("cpu", "CPU").replace("wal", "WAL").replace("kib", "KiB")


def number(value: float | None) -> str:
    """Return a number with three digits that matter; an empty text for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
