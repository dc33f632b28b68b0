"""What is seen while the demo is under way: a diary above, how things stand below."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from celeriac.orchestrator.status import WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import Console

    from celeriac.demo.ledger import Execution
    from celeriac.demo.play import Watched
    from celeriac.demo.stage import Worker

_WIDTHS: Final = (8, 9, 20, 5)
_STATUS_STYLES: Final = {WorkflowStatus.RUNNING: "cyan", WorkflowStatus.COMPLETED: "green"}


class Screen:
    """Writes the diary, and keeps the state below it where there is a terminal; a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._live = Live(console=console, refresh_per_second=10, transient=True)

    @property
    def seconds(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._began

    def note(self, *parts: str | tuple[str, str]) -> None:
        """Write a line into the diary."""
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(Text(f"{self.seconds:5.1f} s", "dim"), Text.assemble(*parts))
        self.console.print(line)

    def wait(self, what: str) -> None:
        """Say what is waited for while there is nothing to see."""
        self._live.update(Text(what, "dim"))

    def state(self, runs: Sequence[Watched], workers: Sequence[Worker], executions: Sequence[Execution]) -> None:
        """Show how things stand."""
        if self._live.is_started:
            self._live.update(Group("", _runs(runs), "", _workers(workers, executions)))

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.update("")
        self._live.stop()


def _runs(runs: Sequence[Watched]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for width in _WIDTHS:
        table.add_column(no_wrap=True, min_width=width)
    table.add_column()
    for each in runs:
        table.add_row(
            Text(each.run.workflow_id, "bold"),
            Text(each.run.status.value, _STATUS_STYLES.get(each.run.status, "yellow")),
            ProgressBar(total=max(each.scheduled, 1), completed=each.recorded, width=20, complete_style="green"),
            Text(f"{each.recorded}/{each.scheduled}", "dim", justify="right"),
            Text(each.waits, "dim", no_wrap=True, overflow="ellipsis"),
        )
    return table


def _workers(workers: Sequence[Worker], executions: Sequence[Execution]) -> Table:
    ended = Counter(each.worker for each in executions if each.ended)
    table = Table.grid(padding=(0, 2, 0, 0))
    for each in workers:
        state = Text("killed", "bold red") if each.killed else Text("up", "green")
        now = (
            ""
            if each.killed
            else ", ".join(run.name for run in executions if run.worker == each.name and not run.ended)
        )
        table.add_row(
            Text(f"worker {each.name}", "bold"),
            state,
            Text(f"{ended[each.name]} executions", "dim"),
            Text(now),
        )
    return table
