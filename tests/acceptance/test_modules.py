"""Workers that don't have the same code on one queue, as during a deployment."""

from __future__ import annotations

from tests.acceptance.stage import Stage
from tests.acceptance.stories import result_of_steps, story_of_steps


def test_runs_of_a_workflow_that_only_one_of_two_workers_has(stage: Stage) -> None:
    knowing = stage.launch(wares=["row", "steps"])
    other = stage.launch(wares=["nap"])
    stage.open(knowing, other)
    results = [stage.shop.row.delay(1) for _ in range(100)]

    stage.results(results, result_of_steps(1, "row"))
    for result in results:
        assert stage.run(result).status == "completed"
        assert stage.run(result).blocked is None
        assert result.state == "SUCCESS"
        assert stage.story(result) == story_of_steps(1, workflow="row")
        assert stage.times_done(result) == [1]
    stage.one_at_a_time()
    stage.at_rest()
    assert "held, not failed" not in knowing.logs() + other.logs()
