"""More than the workers can do: latency grows, and nothing else does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from celeriac.orchestrator.model import SECOND, Task
from celeriac.orchestrator.relay import SPARE
from tests.acceptance.stage import QUEUE, Stage, until
from tests.acceptance.stories import result_of_steps, story_of_steps

RUNS = 120
STEPS = 2
LOOKS = 3


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_backlog_is_not_published_again_and_is_drained_in_the_end(stage: Stage) -> None:
    begun = stage.store.now()
    results = [stage.shop.quick_row.delay(STEPS) for _ in range(RUNS)]
    stage.worker(concurrency=1, queues="elsewhere")
    looked = lambda: min(each.published for each in turns(stage, results)) >= 2 * LOOKS  # noqa: E731
    until("each start has been looked at several times", looked, within=120, look_every=0.5)
    again = stage.redis.llen(QUEUE) - RUNS  # type: ignore[operator]
    seconds = (stage.store.now() - begun) // SECOND + 1
    assert 0 <= again <= SPARE * seconds, f"{again} messages more for {RUNS} runs that only wait their turn"

    stage.worker(concurrency=2)
    until("all have closed", lambda: stage.open_runs() == 0, within=120, look_every=0.25)
    expected, told = result_of_steps(STEPS, "quick_row"), story_of_steps(STEPS, workflow="quick_row")
    stage.results(results, expected)
    assert all(stage.story(each) == told for each in results)
    done = Counter(entry.activity for entry in stage.ledger() if entry.what == "done")
    assert (len(done), set(done.values())) == (RUNS * STEPS, {1})
    stage.at_rest()


def turns(stage: Stage, results: Sequence[Any]) -> list[Task]:
    """Return the rows of runs that have not begun."""
    return [task for each in results for task in stage.store.tasks(each.run_id)]
