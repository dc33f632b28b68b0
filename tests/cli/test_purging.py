"""purge"""

from __future__ import annotations

import pytest

from celeriac.orchestrator.model import RunFilter
from tests.cli.conftest import Cli

DAY = 86_400


@pytest.fixture
def aged(cli: Cli) -> Cli:
    """Three runs that closed 40 days ago, one that closed just now, and one that has been open for 40 days."""
    for number in range(3):
        cli.start("echo", f"old-{number}")
    cli.start("fulfil", "open", {"id": "A", "cents": 1})
    cli.executor.clock.advance(40 * DAY)
    cli.start("echo", "new")
    return cli


def ids(cli: Cli) -> set[str]:
    return {run.workflow_id for run in cli.executor.list(RunFilter())}


def test_old_closed_runs_are_deleted(aged: Cli) -> None:
    assert aged.out("purge", "--older-than", "30d", "--yes") == "3 runs deleted\n"
    assert ids(aged) == {"open", "new"}
    assert aged.json("purge", "--older-than", "30d", "--yes") == {"deleted": 0}


def test_no_more_than_the_limit(aged: Cli) -> None:
    assert aged.json("purge", "--older-than", "959h", "--limit", "2", "--yes") == {"deleted": 2}
    assert ids(aged) == {"old-2", "open", "new"}


def test_batches(aged: Cli) -> None:
    assert list(aged.executor.purging(30 * DAY, batch=2)) == [2, 1]
    assert aged.executor.purge(30 * DAY) == 0


def test_it_asks_first(aged: Cli) -> None:
    said = aged("purge", "--older-than", "30d", answer="n\n")
    assert said.exit_code == 1
    assert said.stderr.startswith("Delete all runs that closed 30 d ago or earlier? [y/N]: ")
    assert len(ids(aged)) == 5


@pytest.mark.parametrize("age", ["30 days", "-1d", "", "d"])
def test_an_age_that_is_none(cli: Cli, age: str) -> None:
    said = cli.fails("purge", f"--older-than={age}", "--yes", code=2)
    assert f"{age!r} is no age. Write one like 30d, 12h, 90min or 3600" in said
