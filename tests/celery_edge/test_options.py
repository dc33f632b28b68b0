"""Options of a start that can't be right: refused before anything is recorded."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import QueueNotFound
from kombu.exceptions import SerializerNotInstalled

from celeriac import InvalidCall, RunFilter


@pytest.fixture(autouse=True)
def _records_nothing(flows: Any) -> Any:
    def count() -> int:
        return sum(1 for _ in flows.durable.client.list(RunFilter(name=flows.double.name)))

    before = count()
    yield
    assert count() == before


@pytest.mark.parametrize(
    ("option", "meant"), [("workflow_idd", "workflow_id"), ("timeut", "timeout"), ("id_conflicts", "id_conflict")]
)
def test_a_name_that_is_almost_ours(flows: Any, option: str, meant: str) -> None:
    with pytest.raises(
        InvalidCall, match=f"^the start of a workflow has no option '{option}'. Did you mean '{meant}'\\?$"
    ):
        flows.double.apply_async((1,), **{option: "A-17"})


def test_of_a_declaration_too(flows: Any) -> None:
    def fulfil(ctx: Any) -> None: ...

    with pytest.raises(
        InvalidCall, match=r"^'fulfil' as it is declared has no option 'timeot'. Did you mean 'timeout'\?$"
    ):
        flows.durable.workflow(timeot=5)(fulfil)
    with pytest.raises(InvalidCall, match=r"has no option 'heartbeats'. Did you mean 'heartbeat'\?$"):
        flows.durable.activity(heartbeats=5)(fulfil)


def test_what_no_message_could_be_sent_with(flows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SerializerNotInstalled):
        flows.double.apply_async((1,), serializer="nonsense")
    with pytest.raises(InvalidCall, match=r"^there is no compression 'gzipp'$"):
        flows.double.apply_async((1,), compression="gzipp")
    queues, router = flows.app.amqp.queues, flows.app.amqp.router  # made now, and as they are to be afterwards
    monkeypatch.setitem(flows.app.conf, "task_create_missing_queues", False)
    monkeypatch.setattr(queues, "create_missing", False)
    monkeypatch.setattr(router, "create_missing", False)
    with pytest.raises(QueueNotFound):
        flows.double.apply_async((1,), queue="nowhere")


def test_a_result_that_nobody_stores_is_not_waited_for(flows: Any) -> None:
    started = [flows.aside.apply_async(ignore_result=True) for _ in range(2)]  # a message, and then a letter
    started += flows.aside.start_many([{"args": (), "ignore_result": True}])
    try:
        assert [(each.ignored, each.get(timeout=1)) for each in started] == [(True, None)] * 3
    finally:
        for each in started:
            each.handle.terminate("enough")
