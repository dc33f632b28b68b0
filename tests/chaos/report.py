"""What a session of chaos came to, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table

_SHOWN = 20
"""How many violations are printed."""


@dataclass(frozen=True, slots=True)
class Report:
    """The figures.

    :param seconds: for which faults struck; ``settled`` until then nothing was left to be done.
    :param faults: how many of each kind.
    :param runs: how many by workflow.
    :param repeated: client calls that were made again because they did not learn whether they were recorded.
    :param hung: workers that did not end when they were asked to, and were killed. No promise is broken by that.
    :param logs: the folder with the workers' logs, where there were violations or hung workers.
    """

    seed: int
    seconds: float
    settled: float
    faults: Mapping[str, int]
    runs: Mapping[str, int]
    events: int
    outcomes: int
    executions: int
    repeated: int
    restarts: int
    hung: Sequence[str] = field(default_factory=list)
    violations: Sequence[str] = field(default_factory=list)
    logs: str = ""

    def as_json(self) -> str:
        """Write it as one JSON object."""
        return json.dumps({**asdict(self), "runs_in_all": sum(self.runs.values())}, indent=2)

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table(title=f"Chaos, seed {self.seed}, {self.seconds:.0f} s and {self.settled:.0f} s to settle")
        table.add_column("what")
        table.add_column("how many", justify="right")
        for name, count in sorted(self.faults.items()):
            table.add_row(name, str(count), style="red")
        table.add_section()
        for name, count in sorted(self.runs.items()):
            table.add_row(f"runs of {name!r}", str(count))
        table.add_section()
        rest = {
            "faults": sum(self.faults.values()),
            "runs": sum(self.runs.values()),
            "events": self.events,
            "outcomes of activities": self.outcomes,
            "executions of activities": self.executions,
            "client calls repeated": self.repeated,
            "workers started again": self.restarts,
            "workers that would not end": len(self.hung),
            "violations": len(self.violations),
        }
        for name, count in rest.items():
            table.add_row(name, str(count), style="bold")
        console.print(table)
        for each in self.violations[:_SHOWN]:
            console.print(f"- {each}", style="bold red", markup=False)
        if self.logs:
            console.print(f"The workers' logs and the ledger are in {self.logs}", markup=False)
