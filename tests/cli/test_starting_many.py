"""start --from: a run for each line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from celeriac import RunFilter

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "starts.jsonl"


def started(cli: Cli) -> list[str]:
    return sorted(run.workflow_id for run in cli.executor.list(RunFilter()))


def test_a_run_for_each_line(cli: Cli, file: Path) -> None:
    lines = [{"id": "one", "args": [1], "memo": {"for": "Ann"}}, {"id": "two", "kwargs": {"value": "zwei"}}]
    file.write_text("\n".join([*map(json.dumps, lines), "", "[3]\n"]))
    assert cli.out("start", "shop.echo", "--from", str(file)) == "3 runs started\n"
    cli.executor.drive()
    runs = {run.workflow_id: run for run in cli.executor.list(RunFilter())}
    assert [runs["one"].result, runs["two"].result] == [1, "zwei"]
    assert runs["one"].memo == {"for": "Ann"}
    assert sorted(str(run.result) for run in runs.values()) == ["1", "3", "zwei"]


def test_from_standard_input(cli: Cli) -> None:
    result = cli("start", "shop.echo", "--from", "-", answer='["A"]\n["B"]\n')
    assert (result.output, result.exit_code) == ("2 runs started\n", 0)


def test_a_line_whose_id_is_in_use_is_told_and_the_others_start(cli: Cli, file: Path) -> None:
    cli.start("fulfil", "order-2", {"id": "B", "cents": 1})
    file.write_text("".join(f'{{"id": "order-{n}", "args": [{{"id": "A", "cents": 1}}]}}\n' for n in range(1, 4)))
    result = cli("start", "shop.fulfil", "--from", str(file))
    first, second = result.stdout.splitlines()
    assert (first, result.exit_code) == ("2 runs started", 1)
    assert second.startswith("line 2: workflow id 'order-2' is in use by 'shop.fulfil', running since")
    assert started(cli) == ["order-1", "order-2", "order-3"]
    again = cli("start", "shop.fulfil", "--from", str(file), "--json")
    document = json.loads(again.stdout)
    assert (document["name"], document["started"], again.exit_code) == ("shop.fulfil", 0, 1)
    assert [(each["line"], each["id"]) for each in document["refused"]] == [(n, f"order-{n}") for n in (1, 2, 3)]
    assert cli.out("start", "shop.fulfil", "--from", str(file), "--id-conflict", "attach") == "3 runs started\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("A", "line 2: Expecting value: line 1 column 1 (char 0). Nothing was started"),
        (
            "7",
            "line 2: an array of arguments, or an object with some of args, kwargs, id, memo, attributes, not 7. Nothing",
        ),
        (
            '{"ids": 1}',
            "line 2: an array of arguments, or an object with some of args, kwargs, id, memo, attributes, not",
        ),
        ("[1, 2]", "line 2: workflow 'shop.echo' takes (value:"),
    ],
)
def test_a_line_that_makes_no_sense_has_nothing_started(cli: Cli, file: Path, line: str, said: str) -> None:
    file.write_text(f"[1]\n{line}\n")
    message = cli.fails("start", "shop.echo", "--from", str(file), code=2).splitlines()[-1]
    assert message.startswith(f"Error: {said}")
    assert started(cli) == []


def test_its_lines_say_it_all(cli: Cli, file: Path) -> None:
    file.write_text("[1]\n")
    for more in (("--arg", "1"), ("--id", "a"), ("--input", "null"), ("--wait",)):
        said = cli.fails("start", "shop.echo", "--from", str(file), *more, code=2)
        assert said.endswith("Error: --from takes arguments and ids from its lines, and does not wait\n")
