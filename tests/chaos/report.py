"""What a session of chaos came to, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table

_SHOWN = 20
"""How many violations are printed."""


@dataclass(frozen=True, slots=True)
class Report:
    """The figures.

    :param state: ``running``, ``settling``, ``reckoning``, then ``done``, or ``failed`` where the driver could not go on.
    :param seconds: for which faults struck; ``settled`` until then nothing was left to be done.
    :param earlier: the commit whose code one of the workers ran; empty where there was none.
    :param faults: how many of each kind.
    :param runs: how many by workflow.
    :param repeated: client calls that were made again because they did not learn whether they were recorded.
    :param hung: workers that did not end when they were asked to, and were killed. No promise is broken by that.
    :param left_out: what this machine could not do.
    :param logs: the folder with the workers' logs, where there were violations or hung workers.
    """

    seed: int
    store: str
    broker: str
    state: str
    seconds: float
    settled: float
    earlier: str
    faults: Mapping[str, int]
    runs: Mapping[str, int]
    repeated: int
    restarts: int
    events: int = 0
    outcomes: int = 0
    executions: int = 0
    hung: Sequence[str] = field(default_factory=list)
    left_out: Sequence[str] = field(default_factory=list)
    violations: Sequence[str] = field(default_factory=list)
    logs: str = ""

    def as_json(self) -> str:
        """Write it as one JSON object."""
        more = {"runs_in_all": sum(self.runs.values()), "faults_in_all": sum(self.faults.values())}
        return json.dumps({**asdict(self), **more}, indent=2)

    def as_markdown(self) -> str:
        """Write it as a page."""
        lines = [
            f"# Chaos, seed {self.seed}",
            "",
            f"{self.store}, {self.broker}: {self.state}; faults for {self.seconds:.0f} s, {self.settled:.0f} s to settle.",
            f"Worker six runs {self.earlier or 'the same code'}.",
            "",
            "| what | how many |",
            "|---|---:|",
            *(f"| {name} | {count} |" for section in self._sections() for name, count in section),
            "",
        ]
        for title in ("violations", "hung", "left_out"):
            lines += [f"## {title.replace('_', ' ').capitalize()}", ""]
            lines += [f"- {each}" for each in getattr(self, title)] or [
                "None." if self.state == "done" else "None yet."
            ]
            lines.append("")
        return "\n".join(lines)

    def _sections(self) -> Iterator[list[tuple[str, int]]]:
        yield sorted(self.faults.items())
        yield [(f"runs of {name!r}", count) for name, count in sorted(self.runs.items())]
        yield [
            ("faults", sum(self.faults.values())),
            ("runs", sum(self.runs.values())),
            ("events", self.events),
            ("outcomes of activities", self.outcomes),
            ("executions of activities", self.executions),
            ("client calls repeated", self.repeated),
            ("workers started again", self.restarts),
            ("workers that would not end", len(self.hung)),
            ("violations", len(self.violations)),
        ]

    def show(self, console: Console) -> None:
        """Print it."""
        title = f"Chaos, seed {self.seed}, {self.store}, {self.broker}, {self.seconds:.0f} s and {self.settled:.0f} s to settle"
        table = Table(title=title)
        table.add_column("what")
        table.add_column("how many", justify="right")
        for style, section in zip(("red", None, "bold"), self._sections(), strict=True):
            for name, count in section:
                table.add_row(name, str(count), style=style)
            table.add_section()
        console.print(table)
        for each in (*self.violations[:_SHOWN], *self.hung):
            console.print(f"- {each}", style="bold red", markup=False)
        for each in self.left_out:
            console.print(f"Left out: {each}", markup=False)
        if self.logs:
            console.print(f"The workers' logs and the ledger are in {self.logs}", markup=False)
