"""Plots of a run, as SVG: the throughputs side by side, and what an activity of a long row costs from its first tenth to its last."""

from __future__ import annotations

import textwrap
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.peers.catalogue import OURS
from benchmarks.summary import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS, _OTHERS = "#2f7d4f", "#9aa5b1"
_STYLES: Final = ("-", "--", ":", "-.")
_SHADES: Final = ("#9aa5b1", "#c2a878", "#7c93c3", "#b58db6", "#86b6a0", "#c98f8f", "#6f7a85")
_TENTHS: Final = range(1, 11)


def draw(made: Report, folder: Path, stem: str) -> list[Path]:
    """Draw what the run has figures for, and return the files.

    :param stem: what their names begin with.
    :raises ModuleNotFoundError: matplotlib is not installed.
    """
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text, and the same figures make the same file.
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "celeriac", "font.size": 9}
    found = []
    for name, kind in (("throughput", _throughput), ("processor", _processor), ("rows", _rows)):
        file = folder / f"{stem}-{name}.svg"
        if _draw(made, kind, file):
            found.append(file)
    return found


def _draw(made: Report, kind: Any, file: Path) -> bool:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    try:
        if not kind(made, axes):
            return False
        axes.spines[["top", "right"]].set_visible(False)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, metadata={"Date": None})
    finally:
        plt.close(figure)
    return True


def _throughput(made: Report, axes: Axes) -> bool:
    """Activities a second of each case that is measured in them, for each peer."""
    cases = {name: each for name, each in made["cases"].items() if each["figure"] == "activities_per_second"}
    return _bars(made, axes, cases, "activities/s", lambda each, case: each["median"].get(case["figure"]))


def _processor(made: Report, axes: Axes) -> bool:
    """Processor time an activity, of all processes."""
    cases = {name: each for name, each in made["cases"].items() if each["activities"]}
    return _bars(
        made, axes, cases, "CPU of all processes, ms per activity", lambda each, _: each["median"].get("cpu_total")
    )


def _bars(made: Report, axes: Axes, cases: dict[str, Any], label: str, value: Any) -> bool:
    peers = [name for name in made["peers"] if any(name in case["peers"] for case in cases.values())]
    if not cases or not peers:
        return False
    width = 0.8 / len(peers)
    for number, name in enumerate(peers):
        there = [(at, case) for at, case in enumerate(cases.values()) if name in case["peers"]]
        axes.bar(
            [at + (number - (len(peers) - 1) / 2) * width for at, _ in there],
            [value(case["peers"][name], case) or 0.0 for _, case in there],
            width,
            label=made["peers"][name]["title"],
            color=_color(made, name),
        )
    axes.set_xticks(range(len(cases)), [textwrap.fill(case["title"], 15) for case in cases.values()], fontsize=7)
    axes.set_yscale("log")
    axes.set_ylabel(label)
    axes.legend(fontsize=7, frameon=False)
    return True


def _rows(made: Report, axes: Axes) -> bool:
    """Milliseconds an activity by tenth of a row, for whoever records when activities ended."""
    rows = [
        each for each in made["cases"].values() if any("tenth_1" in one["median"] for one in each["peers"].values())
    ]
    for case, style in zip(rows, cycle(_STYLES)):
        for name, each in case["peers"].items():
            if "tenth_1" not in each["median"]:
                continue
            axes.plot(
                _TENTHS,
                [each["median"][f"tenth_{tenth}"] for tenth in _TENTHS],
                label=f"{made['peers'][name]['title']}, {case['title']}",
                color=_color(made, name),
                linestyle=style,
                marker="o",
                markersize=3,
                linewidth=1,
            )
    axes.set_xticks(_TENTHS)
    axes.set_xlabel("tenth of the row")
    axes.set_ylabel("ms per activity")
    axes.set_ylim(bottom=0)
    if rows:
        axes.legend(fontsize=7, frameon=False)
    return bool(rows)


def _color(made: Report, name: str) -> str:
    """Return a peer's colour, the same in each plot."""
    return _OURS if name == OURS else _SHADES[list(made["peers"]).index(name) % len(_SHADES)]
