"""``workflow doctor``: what would keep workflows from going on, each with its mend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from rich.table import Table
from rich.text import Text

from celeriac.cli.access import app_name, durable, import_modules
from celeriac.cli.checks import broker, store, work
from celeriac.cli.checks.finding import Check, Finding, Level, Patient, fail
from celeriac.cli.options import json_option
from celeriac.cli.screen import Screen, plain
from celeriac.cli.text import count
from celeriac.cli.version import versions
from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

_WITH_STORE: Final[Sequence[Check]] = (work.definitions, work.runs, work.overdue)
_WITH_BROKER: Final[Sequence[Check]] = (work.workers, store.sqlite)
_STYLES: Final = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


@click.command("doctor")
@json_option
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Look for what would keep workflows from going on.

    Exits with 1 when something does; warnings don't count.
    """
    patient = Patient(ctx.obj.app, durable(ctx, check=False), app_name(ctx) or "yourapp")
    screen = Screen.of(ctx)
    found = list(examine(patient))
    bad = [each for each in found if each.level is Level.FAIL]
    if as_json:
        screen.json({"ok": not bad, "versions": versions(), "checks": [_document(each) for each in found]})
    else:
        screen.write(_table(found))
        screen.say(("", ""))
        screen.say(_verdict(found))
    if bad:
        ctx.exit(1)


def examine(patient: Patient) -> Iterator[Finding]:
    """Make all checks that make sense: what needs the store or the broker only where that is there."""
    try:
        import_modules(patient.app)
    except ConfigurationError as error:
        yield fail("modules", str(error), "a worker would not start either")
    stored = yield from _made("store", store.store, patient)
    heard = yield from _made("broker", broker.broker, patient)
    yield from _made("results", broker.results, patient)
    checks = (*(_WITH_BROKER if heard else ()), *(_WITH_STORE if stored else ()))
    for check in (*checks, *((work.queues,) if stored and heard else ())):
        yield from _made(check.__name__, check, patient)


def _made(name: str, check: Check, patient: Patient) -> Generator[Finding, None, bool]:
    """Make a check and return whether it found nothing that fails. One that breaks is a finding too."""
    good = True
    try:
        for finding in check(patient):
            good = good and finding.level is not Level.FAIL
            yield finding
    except Exception as error:  # noqa: BLE001 - the other checks have something to say as well
        good = False
        yield fail(name, f"could not be looked at: {type(error).__name__}: {error}", "see whether the others say why")
    return good


def _table(found: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for each in found:
        told = plain(each.message)
        if each.mend:
            told.append("\n→ ", "dim").append_text(plain(each.mend))
        table.add_row(Text(each.level.value, _STYLES[each.level]), plain(each.check), told)
    return table


def _verdict(found: Sequence[Finding]) -> tuple[str, str]:
    failing = sum(each.level is Level.FAIL for each in found)
    warnings = sum(each.level is Level.WARN for each in found)
    if failing:
        return f"{count(failing, 'thing')} to mend, {count(warnings, 'warning')}", "bold red"
    return ("all is well", "green") if not warnings else (f"works, with {count(warnings, 'warning')}", "yellow")


def _document(finding: Finding) -> dict[str, str | None]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "message": finding.message,
        "mend": finding.mend or None,
    }
