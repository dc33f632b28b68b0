"""A store full of escape sequences: whatever command looks at it, in whatever form, the terminal gets none of them."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from celeriac.cli import demo as demo_command
from celeriac.cli import main, workflow
from celeriac.cli.screen import Screen
from celeriac.demo.drive import Outcome
from celeriac.demo.verdict import Verdict
from celeriac.orchestrator.events import HistoryEvent, known_tags
from celeriac.orchestrator.executor import Signal
from celeriac.orchestrator.model import Run, Task
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from tests.cli.conftest import Cli
from tests.cli.orders import Order

EVIL = "e\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b31m\x90q\r\b\x7f\x85\0\t\u2028\u202e\u2066\ud800[bold red]markup[/]"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
FAILURE = {
    "type": EVIL,
    "message": EVIL + "\n" + EVIL,
    "details": {EVIL: [EVIL]},
    "stack": [EVIL, "/" + EVIL],
    "bases": [EVIL],
    "others": [{"type": EVIL, "message": EVIL}],
    "cause": {"type": EVIL, "message": EVIL, "stack": [EVIL]},
}
HELD = {"reason": EVIL, "message": EVIL + "\n" + EVIL, "times": 2}


def evil_run(run: Run, **more: Any) -> Run:
    """Have every text of a run that somebody else may write be hostile."""
    return replace(
        run,
        name=EVIL,
        definition_version=EVIL,
        queue=EVIL,
        waits=(EVIL, f"timer until {EVIL}"),
        input={"args": [EVIL], "kwargs": {EVIL: EVIL}},
        memo={EVIL: EVIL},
        attributes={EVIL: EVIL},
        **more,
    )


def evil_tasks(run: Run) -> list[Task]:
    """An activity that runs, one that waits after a failure, and a timer."""
    common: dict[str, Any] = {"namespace": run.namespace, "queue": EVIL, "details": {EVIL: EVIL}, "failure": FAILURE}
    data: dict[str, Any] = {"name": EVIL, "args": [EVIL], "kwargs": {EVIL: EVIL}}
    return [
        Task(run.run_id, TaskKind.ACTIVITY, 1, TaskState.RUNNING, 1, worker=EVIL, started_at=1, data=data, **common),
        Task(run.run_id, TaskKind.ACTIVITY, 2, TaskState.QUEUED, 1, data=data, **common),
        Task(run.run_id, TaskKind.TIMER, 3, TaskState.QUEUED, 1, namespace=run.namespace),
    ]


def evil_history(history: Any) -> list[HistoryEvent]:
    """The history, and behind it an event of each kind with nothing but hostile fields, and one that nobody knows."""
    after, at = history[-1].number, history[-1].at
    tags = [*sorted(known_tags()), EVIL]
    return [
        *history,
        *(HistoryEvent(after + i, tag, at, {EVIL: EVIL, "reason": EVIL}) for i, tag in enumerate(tags, 1)),
    ]


@pytest.fixture
def evil(cli: Cli) -> Cli:
    """Runs of somebody who writes escape sequences wherever they are let, and some whose rows were forged."""
    cli.start("fulfil", "signalled", Order(EVIL, 1))
    cli.executor.deliver_signal("signalled", Signal(name=EVIL, payload={EVIL: EVIL}, sender_id=EVIL))
    cli.executor.drive()
    cli.start("fulfil", "failed", Order(EVIL, 99_999))
    cli.start("echo", "done", EVIL)
    cli.start("echo", "done-too", {EVIL: EVIL})
    store = cli.executor.store
    for workflow_id, forged in (
        ("open", {}),
        ("held", {"status": WorkflowStatus.BLOCKED, "blocked": HELD}),
        ("ended", {"status": WorkflowStatus.FAILED, "failure": FAILURE, "closed_at": 1}),
    ):
        cli.start("fulfil", workflow_id, Order("A", 1))
        state = store.load("local", workflow_id)
        assert state is not None
        tasks = [*(each for each in state.tasks if each.kind is TaskKind.TURN), *evil_tasks(state.run)]
        run = evil_run(state.run, **forged)
        history = evil_history(state.history)
        run = replace(run, version=history[-1].number)
        store.save(replace(state, run=run, tasks=() if workflow_id == "ended" else tasks, history=history))
    return cli


COMMANDS: dict[str, list[Any]] = {
    "start": [["start", "shop.echo", "--arg", json.dumps(EVIL), "--wait=5"], ["start", EVIL]],
    "list": [["list"], ["list", "--name", EVIL], ["list", "--id", EVIL]],
    "show": [
        *(
            [["show", each, "--full"], ["show", each]]
            for each in ("signalled", "failed", "done", "open", "held", "ended")
        ),
        [["show", "done", "--follow"], ["show", EVIL]],
    ],
    "signal": [
        ["signal", "open", EVIL, json.dumps(EVIL)],
        ["signal", EVIL, "x"],
        ["signal", "signalled", "approved", EVIL],
    ],
    "query": [
        ["query", "done", "result"],
        ["query", "done-too", "result"],
        ["query", "signalled", "history"],
        ["query", "held", "waits"],
        ["query", "held", "stack"],
        ["query", "open", EVIL],
        ["query", "signalled", EVIL],
    ],
    "cancel": [["cancel", "signalled", "--reason", EVIL], ["cancel", EVIL]],
    "terminate": [["terminate", "open"], ["terminate", "held", "--yes", "--reason", EVIL], ["terminate", EVIL]],
    "pause": [["pause", "open"], ["pause", EVIL]],
    "resume": [["resume", "held"], ["resume", EVIL]],
    "migrate": [["migrate"], ["migrate", "--check"]],
    "purge": [["purge", "--older-than", EVIL], ["purge", "--older-than", "1d", "--yes"]],
    "doctor": [["doctor"]],
}
COMMANDS["show"] = [words for pair in COMMANDS["show"] for words in pair]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_lets_a_control_character_through(evil: Cli, name: str) -> None:
    for words in COMMANDS[name]:
        for more in ([], ["--json"]):
            if "--follow" in words and more:
                continue
            done = evil(*words, *more, answer="n\n")
            assert CONTROL.findall(done.stdout) == [], (words, more)
            assert CONTROL.findall(done.stderr) == [], (words, more)
            assert done.exit_code in {0, 1, 2}, (words, more, done.exception)
            assert "This was not expected" not in done.stderr, (words, done.stderr)
            if more and done.exit_code == 0:
                json.loads(done.stdout)


def test_those_are_all_commands() -> None:
    assert sorted(COMMANDS) == sorted(workflow.list_commands(click.Context(workflow)))
    assert sorted(main.list_commands(click.Context(main))) == ["completion", "demo", "version"]


def test_what_was_written_is_there_in_letters(evil: Cli) -> None:
    shown = evil.out("show", "held", "--full")
    assert shown.count(r"\x1b]0;owned\x07") > 10
    assert "[bold red]markup[/]" in shown
    document = evil.json("show", "held")
    assert document["run"]["memo"] == {EVIL: EVIL}
    assert document["activities"][0]["worker"] == EVIL
    assert evil.json("list")["runs"][0]["name"] == EVIL


@pytest.mark.parametrize("as_json", [False, True])
def test_the_demo_lets_none_through(as_json: bool, capsys: pytest.CaptureFixture[str], evil: Cli) -> None:
    """Its runs are its own; what it shows goes the same way as everybody's."""
    screen = Screen()
    screen.console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=500)
    outcome = Outcome([Verdict(EVIL, EVIL, 1, 1, [EVIL])], 1.0, [EVIL], [EVIL], Path("x\x1b[2J"))
    if as_json:
        screen.json(demo_command._document(outcome))
    else:
        demo_command._write(screen, outcome, keep=True)
        run = evil.executor.describe("held")
        demo_command._show(screen, run, evil.executor.history("held"))
    shown = capsys.readouterr().out
    assert shown
    assert CONTROL.findall(shown) == []


def test_a_completion_script_has_nothing_of_anybodys() -> None:
    for shell in ("bash", "zsh", "fish"):
        assert CONTROL.findall(CliRunner().invoke(main, ["completion", shell]).stdout.replace("\t", "")) == []
