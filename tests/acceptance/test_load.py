"""Many runs on a few workers: every result right, every step done and recorded once, nothing left behind."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.acceptance.stage import Measured, Stage, until
from tests.acceptance.stories import result_of_steps, story_of_steps

STEPS = 10


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("store_url", "runs"), [("postgresql", 200), ("mariadb", 100), ("sqlite", 100)], indirect=["store_url"]
)
def test_hundreds_of_runs_of_ten_steps(stage: Stage, runs: int, measured: Measured) -> None:
    stage.two()
    begun = time.monotonic()
    results = [stage.shop.quick_row.delay(STEPS) for _ in range(runs)]
    until("all have closed", lambda: stage.open_runs() == 0, within=200, look_every=0.25)
    taken = time.monotonic() - begun
    measured("steps per second", runs * STEPS / taken)

    expected, told = result_of_steps(STEPS, "quick_row"), story_of_steps(STEPS, workflow="quick_row")
    stage.results(results, expected)
    for result in results:
        assert stage.story(result) == told
    done = Counter(entry.activity for entry in stage.ledger() if entry.what == "done")
    assert len(done) == runs * STEPS
    assert set(done.values()) == {1}
    stage.one_at_a_time()
    stage.at_rest()
