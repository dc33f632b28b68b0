"""``celeriac demo``: real workflows on real workers, one of which is killed."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click
from rich.table import Table
from rich.text import Text

from celeriac.cli.history import HistoryTable
from celeriac.cli.options import json_option
from celeriac.cli.screen import Screen, plain
from celeriac.cli.text import BRIEF, count, times, visible
from celeriac.cli.view import header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.demo.drive import Outcome
    from celeriac.orchestrator.events import HistoryEvent
    from celeriac.orchestrator.model import Run

_LONG: Final = 40
"""How many events of a history are shown whole; of a longer one the beginning and the end."""
_ENDS: Final = 8


@click.command("demo")
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of pictures.  [default: those that come with scikit-image]",
)
@click.option("--most", type=click.IntRange(1, 100), default=12, show_default=True, help="At most so many of them.")
@click.option("--keep", is_flag=True, help="Leave logs, store and thumbnails behind.")
@json_option
@click.pass_context
def demo(ctx: click.Context, *, images: Path | None, most: int, keep: bool, as_json: bool) -> None:
    """See workflows survive: real workers on this machine, one of them killed while it works.

    Takes less than a minute, needs no installation and touches nothing of yours. Exits with 1 unless every
    result is right and every activity was recorded exactly once.
    """
    from celeriac.demo.drive import run_demo  # noqa: PLC0415 - imports Celery

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    screen = Screen.of(ctx)
    if as_json:
        screen.console.quiet = True
    outcome = run_demo(
        screen.console, lambda run, events: _show(screen, run, events), images=images, most=most, keep=keep
    )
    if as_json:
        screen.json(_document(outcome))
    else:
        _write(screen, outcome, keep=keep)
    if not outcome.passed:
        ctx.exit(1)


def _end(number: int, _: object) -> NoReturn:
    """Leave by way of everything that has to be stopped and removed."""
    raise SystemExit(128 + number)


def _show(screen: Screen, run: Run, events: Sequence[HistoryEvent]) -> None:
    table = HistoryTable(limit=BRIEF)
    screen.write("", *header(run, [], run.updated_at)[:1], table.heading())
    if len(events) <= _LONG:
        screen.write(table.rows(events))
        return
    screen.write(table.rows(events[:_ENDS]))
    table.rows(events[_ENDS:-_ENDS])  # what is passed over still has names that the end speaks of
    screen.say((f"        … {count(len(events) - 2 * _ENDS, 'event')} more …", "dim"))
    screen.write(table.rows(events[-_ENDS:]))


def _write(screen: Screen, outcome: Outcome, *, keep: bool) -> None:
    screen.write("", _verdicts(outcome), "")
    for wrong in (*outcome.wrong, *(wrong for each in outcome.verdicts for wrong in each.wrong)):
        screen.write(Text.assemble(("FAIL  ", "bold red"), visible(wrong)))
    if not outcome.wrong:
        again = ", ".join(times(Counter(outcome.interrupted)))
        screen.write(
            "Every activity is recorded once. Executions beyond that are attempts that failed, and what the kill "
            f"interrupted and was done again: {again}."
        )
    if keep:
        screen.say("Logs, store and thumbnails are in ", (str(outcome.folder), "bold"))
    word = ("PASS", "bold green") if outcome.passed else ("FAIL", "bold red")
    screen.say("\n", word, (f"  {outcome.seconds:.0f} s", "dim"))


def _verdicts(outcome: Outcome) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold dim")
    for name in ("run", "result", "activities", "executions", ""):
        table.add_column(name, justify="right" if name in {"activities", "executions"} else "left")
    for each in outcome.verdicts:
        table.add_row(
            Text(visible(each.workflow_id), "bold"),
            plain(each.result),
            Text(str(each.activities)),
            Text(str(each.executions)),
            Text("PASS", "green") if each.passed else Text("FAIL", "bold red"),
        )
    return table


def _document(outcome: Outcome) -> dict[str, object]:
    return {
        "passed": outcome.passed,
        "seconds": round(outcome.seconds, 1),
        "interrupted": list(outcome.interrupted),
        "wrong": list(outcome.wrong),
        "runs": [
            {
                "id": each.workflow_id,
                "result": each.result,
                "activities": each.activities,
                "executions": each.executions,
                "passed": each.passed,
                "wrong": list(each.wrong),
            }
            for each in outcome.verdicts
        ],
    }
