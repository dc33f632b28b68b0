"""Sleeping runs are rows: they wake in time, in whatever process, and cost the broker nothing."""

from __future__ import annotations

from tests.acceptance.stage import Stage, slack, until
from tests.acceptance.stories import completed, slept, started


def test_timers_fire_in_time(stage: Stage) -> None:
    stage.two()
    spans = [0.3, 0.8, 1.3, 1.8, 2.3, 2.8]
    results = [stage.shop.nap.delay(span) for span in spans]

    stage.results(results, "slept")
    for span, result in zip(spans, results, strict=True):
        assert stage.story(result) == [started("nap", span), *slept(1), completed(2, "slept")]
        due, fired = (event.data.get("fire_at", event.at) for event in stage.store.history(result.run_id)[1:3])
        assert 0 <= (fired - due) / 1e6 < slack(), span
    stage.at_rest()


def test_two_hundred_sleeping_runs_leave_no_message(stage: Stage) -> None:
    stage.two()
    results = [stage.shop.nap.delay(3600) for _ in range(200)]
    until("all sleep", lambda: stage.count("events") == 2 * len(results))

    until("no messages are left", lambda: stage.messages() == {})
    assert {task.state for result in results[:5] for task in stage.store.tasks(result.run_id)} == {"idle", "queued"}
    assert stage.count("tasks") == 2 * len(results)  # a turn row that idles, and the timer
    assert stage.count("inbox") == 0
    assert stage.ledger() == []
