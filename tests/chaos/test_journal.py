"""What is known so far outlives the driver: it is on disk as it goes, whole at any time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos import journal as module
from tests.chaos.journal import Journal
from tests.chaos.report import Report
from tests.chaos.session import Session, Wish


def report(runs: int) -> Report:
    return Report(
        seed=1,
        store="postgresql",
        broker="redis",
        state="running",
        seconds=60.0,
        settled=0.0,
        earlier="abc",
        faults={"FLUSHALL": 2},
        runs={"row": runs},
        repeated=0,
        restarts=3,
    )


def test_what_happened_and_how_things_stand_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", -1.0)
    counted = iter([4, 5])
    journal = Journal(tmp_path / "report", lambda: report(next(counted)))
    journal.note("FLUSHALL", "")
    journal.go_on()
    journal.note("SIGKILL to a child", "one, 17")
    journal.go_on()

    events = [json.loads(line) for line in (tmp_path / "report" / "events.jsonl").read_text().splitlines()]
    assert [(each["what"], each["whom"]) for each in events] == [("FLUSHALL", ""), ("SIGKILL to a child", "one, 17")]
    left = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (left["state"], left["runs"], left["runs_in_all"], left["faults_in_all"]) == ("running", {"row": 5}, 5, 2)
    page = (tmp_path / "report" / "report.md").read_text()
    assert "postgresql, redis: running; faults for 60 s, 0 s to settle." in page
    assert "| runs | 5 |" in page
    assert "## Violations\n\nNone yet.\n" in page


def test_a_driver_that_fails_says_so_in_its_report(tmp_path: Path) -> None:
    session = Session(Wish(seconds=60, seed=7, every=1, open_at_once=1, store="abacus"), tmp_path, lambda *_: None)
    with pytest.raises(KeyError, match="abacus"):
        session.play()
    left = json.loads((tmp_path / "report.json").read_text())
    assert (left["state"], left["seed"]) == ("failed", 7)
    assert left["violations"][0].startswith("the driver could not go on:\nTraceback")
    assert "KeyError: 'abacus'" in (tmp_path / "report.md").read_text()
