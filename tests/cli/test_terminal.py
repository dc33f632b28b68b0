"""What reaches a terminal or a pipe, and what does not."""

from __future__ import annotations

import re
from typing import Any

import pytest

from celeriac.orchestrator.executor import Signal
from celeriac.orchestrator.model import RunFilter
from tests.cli.conftest import Cli
from tests.cli.orders import Order

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e[bold red]markup[/]"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def evil(cli: Cli) -> Cli:
    """Runs of somebody who writes escape sequences wherever they are let. Ids are checked, so that one is forged."""
    cli.start("echo", "innocent", EVIL)
    cli.start("fulfil", "signalled", Order(EVIL, 1))
    cli.executor.deliver_signal("signalled", Signal(name=EVIL, payload={EVIL: EVIL}, sender_id=EVIL))
    cli.executor.cancel("signalled", EVIL)
    cli.executor.drive()
    cli.start("fulfil", "failed", Order(EVIL, 99_999))
    return cli


@pytest.mark.parametrize("words", [["list"], ["show", "innocent"], ["show", "signalled"], ["show", "failed", "--full"]])
def test_nothing_of_a_strangers_steers_the_terminal(evil: Cli, words: list[str]) -> None:
    shown = evil.out(*words)
    assert CONTROL.findall(shown) == []
    document = evil(*words, "--json").stdout if "--full" not in words else ""
    assert CONTROL.findall(document) == []


def test_an_id_that_came_in_some_other_way_does_no_harm(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celeriac.orchestrator.client.check_id", lambda workflow_id: workflow_id)
    cli.start("fulfil", EVIL, Order("A", 1))
    for words in (["list"], ["show", EVIL], ["signal", EVIL, "approved", "true"], ["pause", EVIL], ["cancel", EVIL]):
        shown = cli(*words)
        assert (shown.exit_code, CONTROL.findall(shown.output)) == (0, [])
    assert CONTROL.findall(cli.fails("show", EVIL + "?")) == []
    assert r"\x1b]0;owned\x07" in cli.out("list")


def test_brackets_are_text_and_not_markup(cli: Cli) -> None:
    cli.start("fulfil", "[bold]order[/bold]", Order("A", 1))
    assert "[bold]order[/bold]" in cli.out("list")
    assert cli.out("show", "[bold]order[/bold]").startswith("[bold]order[/bold]  running\n")
    assert cli.out("pause", "[bold]order[/bold]") == "[bold]order[/bold]  paused\n"


def test_a_pipe_gets_ids_whole_and_no_colours(cli: Cli) -> None:
    long = "order-" + "x" * 300
    cli.start("fulfil", long, Order("A", 1))
    lines = cli.out("list").splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(f"{long}  shop.fulfil  running")
    assert "\x1b" not in cli.out("show", long)
    assert [line for line in cli.out("show", long).splitlines() if line != line.rstrip()] == []


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")


def test_a_terminal_gets_colours(cli: Cli, terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    cli.start("fulfil", "order-1", Order("A", 1))
    assert "\x1b[36mrunning" in cli.out("list")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[36m" not in cli.out("list")


def test_celerys_no_color_is_obeyed(cli: Cli, terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from click.testing import CliRunner

    from celeriac.cli import workflow

    cli.start("fulfil", "order-1", Order("A", 1))
    plain = CliRunner().invoke(workflow, ["list"], obj=SimpleNamespace(app=cli.app, no_color=True))
    assert "\x1b[36m" not in plain.stdout


@pytest.mark.parametrize("columns", [120, 80, 60, 40])
def test_a_terminal_of_any_width_shows_ids_to_copy(
    cli: Cli, terminal: None, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    workflow_id = "3b2cb721-400f-4afd-bf4b-d17cd337b114"
    cli.start("fulfil", workflow_id, Order("A", 1))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", cli.out("list")).splitlines()
    assert max(len(line) for line in shown) <= columns
    # Whole on a line, or folded and never cut.
    pieces = "".join(line.split()[0] for line in shown if set(line.split()[0]) <= set(workflow_id))
    assert pieces == workflow_id


@pytest.mark.parametrize("columns", [100, 80, 60])
def test_a_history_keeps_its_columns_and_gives_up_the_ends_of_its_lines(
    cli: Cli, terminal: None, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    cli.start("echo", "one", "x" * 200)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", cli.out("show", "one")).splitlines()
    first, last = (line.rstrip() for line in shown[-2:])
    assert first.startswith('   1        +0.000  workflow started           shop.echo("')
    assert last.startswith('   2        +0.000  workflow completed         → "x')
    assert (len(first), first[-1]) == (columns, "…")
    folded = re.sub(r"\x1b\[[0-9;]*m", "", cli.out("show", "one", "--full"))
    assert folded.count("x") >= 4 * 200


def test_an_old_character_set_is_no_reason_to_fail(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from click.testing import CliRunner

    from celeriac.cli import workflow

    cli.start("echo", "grüße-注文", "→")
    result = CliRunner(charset="ascii").invoke(workflow, ["list"], obj=SimpleNamespace(app=cli.app, no_color=False))
    assert (result.exit_code, result.exception) == (0, None)
    assert r"gr\xfc\xdfe-\u6ce8\u6587" in result.stdout


def test_an_error_that_nobody_expected_is_a_sentence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(where: RunFilter) -> Any:
        raise ZeroDivisionError(f"division by {EVIL}")

    monkeypatch.setattr(cli.executor, "list", broken)
    said = cli.fails("list")
    assert said.splitlines()[1:] == [
        "This was not expected. To see where it comes from, set PYTHONDEVMODE=1 and try again."
    ]
    assert said.startswith("Error: ZeroDivisionError: division by ")
    assert CONTROL.findall(said) == []


def test_a_slip_of_the_pen_is_pointed_out(cli: Cli) -> None:
    assert cli.fails("lst", code=2).splitlines()[-1] == "Error: No such command 'lst'. Did you mean 'list'?"
    assert cli.fails("frobnicate", code=2).splitlines()[-1] == (
        "Error: No such command 'frobnicate'. There are: start, list, show, signal, query, cancel, terminate, "
        "pause, resume, migrate, purge, doctor."
    )


def test_every_command_explains_itself(cli: Cli) -> None:
    names = cli.fails("?", code=2).rpartition("There are: ")[2].strip().rstrip(".").split(", ")
    for name in names:
        assert cli.out(name, "--help").startswith(f"Usage: celery workflow {name} ")
