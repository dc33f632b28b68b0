"""list, show and query."""

from __future__ import annotations

import threading

import pytest

from celeriac.orchestrator.executor import Signal, WorkflowOptions
from tests.cli import shop
from tests.cli.conftest import Cli
from tests.cli.orders import Order

HOUR = 3600


def test_runs_are_listed_newest_first_with_what_they_wait_for(cli: Cli) -> None:
    cli.start("fulfil", "order-1", Order("A", 4200))
    cli.executor.clock.advance(3 * HOUR)
    cli.start("fulfil", "order-2", Order("B", 99_999))
    cli.start("echo", "order-3", 1)
    assert cli.out("list").splitlines() == [
        "id       name         status     started   waits for",
        "order-3  shop.echo    completed  just now",
        (
            "order-2  shop.fulfil  failed     just now  ActivityError: activity 'shop.charge' failed after 1 attempt:"
            " CardDeclined: no 99999 cents there"
        ),
        "order-1  shop.fulfil  running    3 h ago   signal 'approved', timer, due in 3 days",
    ]


def test_nothing_to_list(cli: Cli) -> None:
    assert cli.out("list") == "no runs\n"
    assert cli.json("list") == {"runs": [], "more": False}


def test_runs_are_chosen_by_status_name_and_id(cli: Cli) -> None:
    cli.start("fulfil", "one", Order("A", 1))
    cli.start("fulfil", "two", Order("B", 99_999))
    cli.start("echo", "three", 1)

    def ids(*words: str) -> list[str]:
        return [each["id"] for each in cli.json("list", *words)["runs"]]

    assert ids("--status", "running") == ["one"]
    assert ids("--status", "open") == ["one"]
    assert ids("--status", "closed") == ["three", "two"]
    assert ids("--status", "failed", "--status", "running") == ["two", "one"]
    assert ids("--name", "shop.fulfil") == ["two", "one"]
    assert ids("--id", "three") == ["three"]


def test_a_long_list_says_that_it_is_not_all(cli: Cli) -> None:
    for number in range(5):
        cli.start("echo", f"run-{number}")
    shown = cli.out("list", "--limit", "2").splitlines()
    assert [line.split()[0] for line in shown] == ["id", "run-4", "run-3", "2"]
    assert shown[-1] == "2 runs shown; there are more (--limit N, --all)"
    assert len(cli.json("list", "--all")["runs"]) == 5


def test_all_runs_are_read_page_by_page(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celeriac.cli.listing._PAGE", 2)
    for number in range(5):
        cli.start("echo", f"run-{number}")
    assert [each["id"] for each in cli.json("list", "--all")["runs"]] == [
        f"run-{number}" for number in range(4, -1, -1)
    ]


def test_a_run_as_json_has_names_that_stay(cli: Cli) -> None:
    handle = cli.start("fulfil", "order-1", Order("A", 4200))
    (run,) = cli.json("list")["runs"]
    assert run == {
        "id": "order-1",
        "run_id": handle.run_id,
        "name": "shop.fulfil",
        "status": "running",
        "namespace": "local",
        "definition_version": "",
        "queue": None,
        "created_at": "2027-01-15T08:00:00.000001+00:00",
        "updated_at": run["updated_at"],
        "closed_at": None,
        "events": 5,
        "waits": ["signal 'approved'", run["waits"][1]],
        "blocked": None,
        "input": {"args": [{"id": "A", "cents": 4200}], "kwargs": {}},
        "result": None,
        "failure": None,
        "parent_run_id": None,
        "memo": None,
        "attributes": None,
    }
    assert run["waits"][1].startswith("timer until 2027-01-18T08:00:00")


def test_a_run_is_shown_with_its_history_and_what_is_under_way(cli: Cli) -> None:
    handle = cli.start("fulfil", "order-1", Order("A", 4200))
    assert cli.out("show", "order-1").splitlines() == [
        "order-1  running",
        "workflow   shop.fulfil",
        f"run        {handle.run_id}",
        "started    2027-01-15 08:00:00, just now",
        'input      ({"id": "A", "cents": 4200})',
        "waits for  signal 'approved'",
        "           timer, due in 3 days",
        "",
        "   #          time  event                      details",
        '   1        +0.000  workflow started           shop.fulfil({"id": "A", "cents": 4200})',
        '   2        +0.000  activity scheduled         shop.charge #1 ("A", 4200)',
        "   3        +0.000  activity started           shop.charge #1 attempt 1 on local, took 0 ms",
        '   4        +0.000  activity completed         shop.charge #1 → "receipt-A"',
        "   5        +0.000  timer started              #2 for 3 d, until 2027-01-18 08:00:00",
        "",
        "1 timer",
        "  #2  due in 3 days  2027-01-18 08:00:00",
    ]
    assert cli.out("show", handle.run_id, "--no-history").splitlines()[-3:] == [
        "",
        "1 timer",
        "  #2  due in 3 days  2027-01-18 08:00:00",
    ]


def test_a_completed_run_shows_its_result(cli: Cli) -> None:
    cli.start("fulfil", "order-1", Order("A", 4200))
    cli.out("signal", "order-1", "approved", "true")
    cli.executor.drive(jump=True)
    shown = cli.out("show", "order-1").splitlines()
    assert shown[0] == "order-1  completed"
    assert shown[3:7] == [
        "started   2027-01-15 08:00:00, 14 days ago",
        "ended     2027-01-29 08:00:00, just now, after 14 d",
        'input     ({"id": "A", "cents": 4200})',
        'result    "receipt-A"',
    ]
    assert shown[14:] == [
        "   6        +0.000  signal received            approved true",
        "   7        +0.000  timer canceled             #2 of 3 d",
        "   8        +0.000  timer started              #4 for 14 d, until 2027-01-29 08:00:00",
        "   9  +14d 0:00:00  timer fired                #4 of 14 d",
        '  10  +14d 0:00:00  workflow completed         → "receipt-A"',
    ]


def test_a_failure_is_shown_with_its_causes(cli: Cli) -> None:
    cli.start("fulfil", "order-2", Order("B", 99_999))
    shown = cli.out("show", "order-2", "--no-history").splitlines()
    failure = [line.strip() for line in shown[6:]]
    assert [line.rpartition("/")[2] if "/" in line else line for line in failure[:5]] == [
        "failure   ActivityError: activity 'shop.charge' failed after 1 attempt: CardDeclined: no 99999 cents there",
        "caused by CardDeclined: no 99999 cents there",
        "shop.py:31 in _charge",
        "caused by KeyError: 'account 17'",
        "shop.py:29 in _charge",
    ]


def test_an_activity_under_way_shows_attempt_error_and_when_it_goes_on(cli: Cli) -> None:
    handle = cli.executor.execute("shop.try_on", WorkflowOptions(id="try-1", args=["hat"]))
    for _ in range(2):  # its turn, its first attempt
        cli.executor.step(jump=False)
    (activity,) = cli.json("show", "try-1")["activities"]
    assert {name: activity[name] for name in ("command", "name", "state", "attempt", "max_attempts", "worker")} == {
        "command": 1,
        "name": "shop.flaky",
        "state": "queued",
        "attempt": 2,
        "max_attempts": 4,
        "worker": None,
    }
    assert activity["last_failure"]["message"] == "the bank does not answer"
    assert cli.out("show", handle.run_id, "--no-history").splitlines()[-3:] == [
        "1 activity under way",
        "  activity       attempt  state                                                    last error",
        (
            "  shop.flaky #1  2 of 4   waits for a worker, sent again in 10 s if none takes it  ConnectionError: the bank does"
            " not answer"
        ),
    ]


def test_a_held_run_says_why_and_what_to_do(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shop.drifting.__dict__, "old", True)
    cli.executor.execute("shop.drifting", WorkflowOptions(id="drift"))
    cli.executor.step(jump=False)  # its first turn
    monkeypatch.delitem(shop.drifting.__dict__, "old")
    cli.executor.engine.cache.drop(cli.executor.describe("drift").run_id)
    cli.executor.drive(jump=False)
    assert cli.out("list").splitlines()[1:] == [
        "drift  shop.drifting  blocked  just now  the workflow's code no longer agrees with its history (event 2).",
    ]
    shown = cli.out("show", "drift", "--no-history").splitlines()
    assert shown[0] == "drift  blocked"
    held = shown.index("Held, not failed: nothing of its last turn was recorded and nothing is lost.")
    assert shown[held + 1 : held + 6] == [
        "Tried 1 time, first just now; next try in 5 s.",
        "",
        "NonDeterminismError: the workflow's code no longer agrees with its history (event 2).",
        "  recorded:     activity 'shop.charge' (command 1)",
        "  replayed:     activity 'shop.flaky' (command 1)",
    ]
    assert shown[-1] == (
        "Put back what the history records, or keep both sides as shown above, and deploy. It goes on by itself when"
        " workers with code that fits are up; `workflow resume` has it tried at once."
    )


def test_following_ends_with_the_run(cli: Cli) -> None:
    cli.start("fulfil", "order-1", Order("A", 4200))

    def help_on() -> None:
        cli.executor.signal("order-1", Signal(name="approved", payload=True))
        cli.executor.drive(jump=True)

    helper = threading.Timer(0.3, help_on)
    helper.start()
    shown = cli.out("show", "order-1", "--follow").splitlines()
    helper.join()
    assert [line.split()[0] for line in shown if line[:4].strip().isdigit()] == [str(each) for each in range(1, 11)]
    assert shown[-1] == 'result    "receipt-A"'


def test_following_and_one_document_exclude_each_other(cli: Cli) -> None:
    cli.start("echo", "one")
    assert cli.fails("show", "one", "--follow", "--json", code=2).splitlines()[-1] == (
        "Error: --json prints one document and ends; --follow goes on. Take one of them"
    )


def test_a_history_as_json(cli: Cli) -> None:
    cli.start("echo", "one", 7)
    document = cli.json("show", "one")
    assert sorted(document) == ["activities", "history", "run", "timers"]
    assert [(each["number"], each["type"]) for each in document["history"]] == [
        (1, "workflow_started"),
        (2, "workflow_completed"),
    ]
    assert document["history"][1]["data"] == {"command": 1, "result": 7}
    assert "history" not in cli.json("show", "one", "--no-history")


def test_values_are_short_unless_asked_for_in_full(cli: Cli) -> None:
    cli.start("echo", "long", "x" * 1000)
    assert "x" * 1000 not in cli.out("show", "long")
    assert cli.out("show", "long", "--full").count("x" * 1000) == 4  # twice above, twice in the history


def test_queries_are_answered(cli: Cli) -> None:
    cli.start("fulfil", "order-1", Order("A", 4200))
    assert cli.out("query", "order-1", "stage") == "awaiting approval\n"
    assert cli.out("query", "order-1", "status") == "running\n"
    assert cli.json("query", "order-1", "twice", "21") == {
        "id": "order-1",
        "query": "twice",
        "answer": {"twice": 42, "of": [21]},
    }
    assert [each["type"] for each in cli.json("query", "order-1", "history")["answer"]][-1] == "timer_started"


def test_an_unknown_query_names_the_known_ones(cli: Cli) -> None:
    cli.start("fulfil", "order-1", Order("A", 4200))
    assert cli.fails("query", "order-1", "stags") == (
        "Error: no query named 'stags' is declared. Did you mean 'stage'? "
        "Known: history, result, stack, stage, status, twice, waits.\n"
    )


def test_no_such_run(cli: Cli) -> None:
    assert cli.fails("show", "nope") == "Error: no workflow with id 'nope' was found.\n"
