"""Whether the simulator finds what it is there for: each planted bug, one at a time.

``python -m tests.simulation.mutants`` does the same at length, from any seed.
"""

from __future__ import annotations

import pytest

from celeriac.testing.simulate import LightStore, simulate
from tests.simulation.mutants import MOST, MUTANTS, main, search


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    report = search(name)
    assert len(report.found) == 1, f"not found in {MOST} schedules"


def test_and_is_gone_afterwards() -> None:
    seed = search("timer_fired_before_its_time").found[0].seed
    assert simulate([seed], store=LightStore).found == []


def test_the_command_tells_after_how_many_schedules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timer_fired_before_its_time"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("fired early")
    assert main(["turn_not_left_due", "--seeds", "1"]) == 1
    assert capsys.readouterr().out.rstrip().endswith("NOT FOUND")
