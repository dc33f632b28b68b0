"""start, signal, cancel, terminate, pause and resume."""

from __future__ import annotations

import pytest

from celeriac.orchestrator.status import WorkflowStatus
from tests.cli.conftest import Cli
from tests.cli.orders import Order


def test_a_workflow_is_started_by_its_name(cli: Cli) -> None:
    said = cli.out("start", "shop.fulfil", "--id", "order-1", "--input", '{"id": "A", "cents": 4200}')
    run = cli.executor.describe("order-1")
    assert said == f"started order-1  run {run.run_id}\n"
    assert run.input == {"args": [{"id": "A", "cents": 4200}], "kwargs": {}}


def test_a_start_as_json(cli: Cli) -> None:
    document = cli.json("start", "shop.echo", "--kwargs", '{"value": 1}')
    run = cli.executor.describe(document["id"])
    assert document == {"id": run.workflow_id, "run_id": run.run_id, "name": "shop.echo"}
    assert run.input == {"args": [], "kwargs": {"value": 1}}


def test_arguments_are_json_in_order(cli: Cli) -> None:
    cli.out("start", "shop.echo", "--id", "one", "--arg", '"A"')
    assert cli.executor.describe("one").input == {"args": ["A"], "kwargs": {}}
    assert cli.fails("start", "shop.echo", "--arg", '"A"', "--arg", "2") == (
        "Error: workflow 'shop.echo' takes (value: 'Any' = None): too many positional arguments\n"
    )


def test_waiting_prints_the_result(cli: Cli) -> None:
    said = cli.out("start", "shop.echo", "--id", "one", "--arg", '{"b": [1, "\\u001b"]}', "--wait").splitlines()
    assert said[1:] == ["{", '  "b": [', "    1,", '    "\\u001b"', "  ]", "}"]


def test_waiting_as_json_is_one_document(cli: Cli) -> None:
    document = cli.json("start", "shop.echo", "--id", "one", "--arg", "7", "--wait")
    assert (document["id"], document["status"], document["result"]) == ("one", "completed", 7)


def test_waiting_for_a_run_that_fails_says_why(cli: Cli) -> None:
    result = cli("start", "shop.fulfil", "--id", "poor", "--input", '{"id": "B", "cents": 99999}', "--wait")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: workflow 'poor' (shop.fulfil) failed: ActivityError: activity 'shop.charge' failed after 1 attempt: "
        "CardDeclined: no 99999 cents there\n"
    )


def test_waiting_no_longer_than_was_said(cli: Cli) -> None:
    result = cli("start", "shop.fulfil", "--id", "slow", "--input", '{"id": "A", "cents": 1}', "--wait=0.5")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: workflow 'slow' ")
    assert "it waits for signal 'approved', timer until 2027-01-18T08:00:00" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["shop.echo", "--arg", "A-17"],
            (
                "Invalid value for '--arg': 'A-17' is not JSON: Expecting value: line 1 column 1 (char 0). "
                "A text is written with its quotes: '\"A-17\"'"
            ),
        ),
        (
            ["shop.echo", "--arg", "NaN"],
            (
                "Invalid value for '--arg': 'NaN' is not JSON: JSON has no NaN. "
                "A text is written with its quotes: '\"NaN\"'"
            ),
        ),
        (
            ["shop.echo", "--kwargs", "[1]"],
            "Invalid value for '--kwargs': '[1]' is no JSON object. Write one like '{\"cents\": 4200}'",
        ),
        (
            ["--wait", "shop.echo"],
            (
                "Invalid value for '--wait': 'shop.echo' is no number of seconds. "
                "Write --wait=30, or --wait as the last word"
            ),
        ),
        (
            ["shop.echo", "--timeout", "0"],
            "Invalid value for '--timeout': '0': a number of seconds above zero",
        ),
        (
            ["shop.echo", "--arg", "1", "--input", "2"],
            "--input is short for the one --arg; give one of them",
        ),
    ],
)
def test_a_start_written_wrong_is_told_how_to_write_it(cli: Cli, words: list[str], said: str) -> None:
    assert cli.fails("start", *words, code=2).splitlines()[-1] == f"Error: {said}"


def test_input_null_is_an_argument(cli: Cli) -> None:
    cli.out("start", "shop.echo", "--id", "one", "--input", "null")
    assert cli.executor.describe("one").input == {"args": [None], "kwargs": {}}


def test_an_unknown_workflow_names_the_near_one(cli: Cli) -> None:
    assert cli.fails("start", "shop.fulfill") == (
        "Error: no workflow named 'shop.fulfill' is declared. Did you mean 'shop.fulfil'? "
        "Known: shop.drifting, shop.echo, shop.fulfil, shop.try_on.\n"
    )


def test_an_argument_that_does_not_fit_is_named(cli: Cli) -> None:
    assert cli.fails("start", "shop.fulfil", "--input", '{"id": "A", "cents": "much"}') == (
        "Error: argument 1 of workflow 'shop.fulfil' does not fit Order: cents: "
        "Input should be a valid integer, unable to parse string as an integer, got str\n"
    )
    assert cli.executor.list() == []


def test_an_id_in_use(cli: Cli) -> None:
    first = cli.start("fulfil", "order-1", Order("A", 1))
    again = ("start", "shop.fulfil", "--id", "order-1", "--input", '{"id": "A", "cents": 1}')
    assert cli.fails(*again).startswith("Error: workflow id 'order-1' is in use by 'shop.fulfil', running since")
    assert cli.json(*again, "--id-conflict", "attach")["run_id"] == first.run_id
    assert cli.json(*again, "--id-conflict", "terminate")["run_id"] != first.run_id
    cli.executor.terminate("order-1")
    assert cli.fails(*again, "--id-reuse", "never").startswith("Error: workflow id 'order-1' is in use")


def test_a_timeout_is_kept(cli: Cli) -> None:
    cli.out("start", "shop.fulfil", "--id", "one", "--input", '{"id": "A", "cents": 1}', "--timeout", "2.5")
    assert cli.json("show", "one")["history"][0]["data"]["timeout"] == 2.5


def test_a_signal_is_recorded(cli: Cli) -> None:
    cli.start("fulfil", "order-1", Order("A", 1))
    assert cli.out("signal", "order-1", "approved", "true", "--key", "k") == "order-1  signal 'approved' recorded\n"
    cli.out("signal", "order-1", "approved", "true", "--key", "k")
    cli.executor.drive()
    received = [each for each in cli.executor.history("order-1") if each.type == "signal_received"]
    assert [each.data["payload"] for each in received] == [True]


def test_a_signal_that_does_not_fit_is_refused(cli: Cli) -> None:
    cli.start("fulfil", "order-1", Order("A", 1))
    assert cli.fails("signal", "order-1", "aproved", "true") == (
        "Error: workflow 'shop.fulfil' takes no signal 'aproved'. Did you mean 'approved'? It takes: approved\n"
    )
    assert cli.fails("signal", "order-1", "approved", '"maybe"') == (
        "Error: payload of signal 'approved' does not fit bool: "
        "Input should be a valid boolean, unable to interpret input, got str\n"
    )
    assert cli.fails("signal", "nobody", "approved", "true") == "Error: no workflow with id 'nobody' was found.\n"


def test_cancel(cli: Cli) -> None:
    cli.start("fulfil", "order-1", Order("A", 1))
    assert cli.out("cancel", "order-1", "--reason", "wrong size") == "order-1  cancel requested\n"
    cli.executor.drive()
    assert cli.executor.describe("order-1").status is WorkflowStatus.CANCELED


def test_a_run_that_is_over_is_not_canceled(cli: Cli) -> None:
    cli.start("echo", "one")
    assert cli.fails("cancel", "one") == "Error: workflow 'one' is closed (completed) and takes no more input\n"


def test_terminate_asks_first(cli: Cli) -> None:
    cli.start("fulfil", "order-1", Order("A", 1))
    refused = cli("terminate", "order-1", answer="n\n")
    assert refused.exit_code == 1
    assert refused.stderr == (
        "Terminate order-1 (shop.fulfil, running)? Its own cleaning up will not happen [y/N]: n\nAborted!\n"
    )
    assert cli.executor.describe("order-1").status is WorkflowStatus.RUNNING
    accepted = cli("terminate", "order-1", "--reason", "stuck", answer="y\n")
    assert (accepted.exit_code, accepted.stdout) == (0, "order-1  terminated\n")
    assert cli.executor.history("order-1")[-1].data == {"reason": "stuck"}


def test_terminate_without_asking(cli: Cli) -> None:
    handle = cli.start("fulfil", "order-1", Order("A", 1))
    assert cli.json("terminate", "order-1", "--yes") == {
        "id": "order-1",
        "run_id": handle.run_id,
        "status": "terminated",
        "done": "terminated",
    }
    assert cli.fails("terminate", "order-1") == (
        "Error: workflow 'order-1' is closed (terminated) and takes no more input\n"
    )


def test_pause_and_resume(cli: Cli) -> None:
    cli.start("fulfil", "order-1", Order("A", 1))
    assert cli.out("pause", "order-1") == "order-1  paused\n"
    cli.out("signal", "order-1", "approved", "true")
    cli.executor.drive()
    assert cli.executor.describe("order-1").version == 5
    assert cli.out("resume", "order-1") == "order-1  resumed\n"
    cli.executor.drive()
    assert cli.executor.describe("order-1").version == 8
