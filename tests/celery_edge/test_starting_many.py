"""A workflow started many times by its task: what ``apply_async`` does, for all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from celery import Celery, signals
from kombu.messaging import Producer

from celeriac import (
    Celeriac,
    InvalidCall,
    PayloadError,
    RunFilter,
    StartsRefused,
    WorkflowContext,
    WorkflowIdInUse,
    WorkflowOptions,
)
from tests.celery_edge.harness import Ledger, Worker

together = pytest.mark.skipif(not hasattr(Producer, "batch"), reason="kombu publishes together from 5.7 on")


@pytest.fixture(scope="module", autouse=True)
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker(concurrency=2)
    return worker


def test_results_come_in_order(flows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celeriac.orchestrator.many.CHUNK", 10)
    results = flows.double.start_many((n,) for n in range(25))
    assert [each.get(timeout=60) for each in results] == [2 * n for n in range(25)]
    assert [each.handle.result() for each in results[-3:]] == [44, 46, 48]
    assert {each.workflow_id for each in results} == {each.id for each in results}
    assert results[0].state == "SUCCESS"


def test_each_may_have_what_apply_async_takes(flows: Any, ledger: Ledger, key: str) -> None:
    results = flows.double.start_many(
        [
            (1,),
            {"args": (2,), "workflow_id": f"two {key}"},
            {"kwargs": {"x": 3}, "task_id": f"three {key}", "link": flows.report.s()},
            flows.double.s(4).set(workflow_id=f"four {key}"),
            WorkflowOptions(args=[5], id=f"five {key}", memo={"for": "Ann"}),
            {"args": [6], "eta": datetime.now(UTC) + timedelta(seconds=0.2), "workflow_id": f"six {key}"},
            {"args": [7], "expires": 60, "workflow_id": f"seven {key}"},
            (8,),
        ]
    )
    assert [each.get(timeout=20) for each in results] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert [each.workflow_id for each in results[1:6]] == [
        f"two {key}",
        f"three {key}",
        f"four {key}",
        f"five {key}",
        f"six {key}",
    ]
    assert results[2].id == f"three {key}"
    assert flows.durable.client.describe(f"five {key}").memo == {"for": "Ann"}
    assert flows.durable.handle(f"seven {key}").result() == 14
    assert results[2].children[0].get(timeout=20) == "report: 6"


def test_from_the_app_and_its_client(flows: Any, key: str) -> None:
    starts = [(1,), WorkflowOptions(args=[2], id=f"two {key}"), {"args": (3,), "workflow_id": f"three {key}"}]
    handles = flows.durable.start_many(flows.double, starts)
    assert [each.result(timeout=20) for each in handles] == [2, 4, 6]
    assert [each.id for each in handles[1:]] == [f"two {key}", f"three {key}"]
    assert [each.result(timeout=20) for each in flows.durable.client.start_many(flows.double.name, [(4,)])] == [8]


def test_an_id_in_use_refuses_one(flows: Any, key: str) -> None:
    open_run = flows.parked.apply_async((key,), workflow_id=f"a {key}")
    ids = [f"{name} {key}" for name in "xayx"]
    starts = [{"args": (key,), "workflow_id": each} for each in ids]
    with pytest.raises(StartsRefused, match=f"2 of 4 starts of workflow '{flows.parked.name}' were refused") as refused:
        flows.parked.start_many(starts)
    assert sorted(refused.value.refused) == [1, 3]
    first, in_use, third, twice = refused.value.results
    assert [in_use.run_id, twice.run_id] == [open_run.run_id, first.run_id]
    attached = flows.parked.start_many([{**starts[1], "id_conflict": "attach"}])[0]
    assert (attached.run_id, attached.id) == (open_run.run_id, open_run.id)
    for each in (first, third, attached):
        each.signal("go", 1)
    assert [each.get(timeout=20) for each in (first, third, open_run)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("bad", "kind", "said"),
    [
        (("x",), PayloadError, r"starts\[1\]: argument 'x' of workflow .*Nothing was started"),
        (3, InvalidCall, r"starts\[1\] is 3. Each start is a tuple of arguments, such as \(3,\), or a dict such as"),
        ({"args": (1,), "workflow_id": ""}, InvalidCall, r"starts\[1\]: a workflow id is a non-empty string"),
    ],
)
def test_one_that_makes_no_sense_has_nothing_started(flows: Any, bad: Any, kind: Any, said: str) -> None:
    before = len(flows.durable.client.list(RunFilter(limit=10_000)))
    with pytest.raises(kind, match=said):
        flows.double.start_many([(1,), bad])
    assert len(flows.durable.client.list(RunFilter(limit=10_000))) == before


def test_a_signature_of_another_task_is_told(flows: Any) -> None:
    with pytest.raises(InvalidCall, match=r"starts\[0\] is a signature of '.*report', not of '.*double'"):
        flows.double.start_many([flows.report.s(1)])


def test_those_who_watch_publishing_see_each(flows: Any) -> None:
    seen: list[str] = []

    def note(sender: str, headers: dict[str, Any], **_: Any) -> None:
        headers["tenant"] = f"of {headers['id']}"
        seen.append(headers["id"])

    signals.before_task_publish.connect(note, sender=flows.double.name)
    try:
        results = flows.double.start_many([(1,), (2,)])
    finally:
        signals.before_task_publish.disconnect(note, sender=flows.double.name)
    assert seen == [each.id for each in results]
    assert [each.get(timeout=20) for each in results] == [2, 4]
    origin = flows.durable.client.describe(results[0].run_id).origin
    assert f"of {results[0].id}" in origin["options"]


def test_nothing_went_wrong_behind_the_scenes(worker: Worker) -> None:
    assert worker.troubles() == []


# -- without a worker ------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(redis_url: str) -> Iterator[Any]:
    app = Celery("bare", broker=redis_url, set_as_current=False)
    durable = Celeriac(app, store="memory://")

    @durable.workflow
    async def flow(ctx: WorkflowContext, n: int) -> int:
        return n

    yield flow
    app.close()


@together
def test_their_messages_take_one_round_trip(bare: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(2):  # connects: once by kombu, once for letters
        bare.start_many([(n,)])
    sent: list[Any] = []
    kept = redis.connection.AbstractConnection.send_packed_command

    def send(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(command)
        return kept(self, command, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.AbstractConnection, "send_packed_command", send)
        bare.start_many([(n,) for n in range(100)])
    assert len(sent) == 1
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("celery") == 102


@together
def test_over_a_dead_connection_they_are_sent_again(bare: Any, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        bare.start_many([(0,)])
        client.client_kill_filter(_type="normal", skipme=True)
        bare.start_many([(1,), (2,)])
        assert client.llen("celery") == 3


def test_a_broker_that_is_away_costs_no_start_and_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.update(task_publish_retry=False, broker_transport_options={"socket_connect_timeout": 1})
    durable = Celeriac(app, store="memory://", hints=False)

    @durable.workflow
    async def flow(ctx: WorkflowContext, n: int) -> int:
        return n

    monkeypatch.setattr("celeriac.orchestrator.many.CHUNK", 4)
    results = flow.start_many([(n,) for n in range(10)])
    assert len({each.run_id for each in results}) == 10
    assert len(durable.client.list(RunFilter())) == 10
    warnings = [each.getMessage() for each in caplog.records if each.name == "celeriac.workflows"]
    assert len(warnings) == 1
    assert warnings[0].startswith("workflows are recorded; their starts will be published later: ")


def test_an_eager_app_runs_each_to_its_end() -> None:
    app = Celery("eager", broker="memory://", set_as_current=False)
    app.conf.update(task_always_eager=True)
    durable = Celeriac(app)

    @durable.workflow
    async def flow(ctx: WorkflowContext, n: int) -> int:
        await ctx.sleep(60)
        return n * 2

    assert [each.get() for each in flow.start_many([(1,), {"kwargs": {"n": 2}}])] == [2, 4]


def test_a_refusal_is_returned_where_that_is_asked_for(bare: Any) -> None:
    starts = [{"args": (1,), "workflow_id": "a"}] * 2
    first, second = bare.start_many(starts, return_exceptions=True)
    assert isinstance(second, WorkflowIdInUse)
    assert second.run_id == first.run_id
