"""How hints get to the broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.messaging import Producer

from celeriac import Celeriac
from celeriac.orchestrator.model import RunRef
from celeriac.orchestrator.ports import RunFinished, TurnReady
from celeriac.orchestrator.status import WorkflowStatus

together = pytest.mark.skipif(not hasattr(Producer, "batch"), reason="kombu publishes together from 5.7 on")


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    app = Celery("publishing", broker=redis_url, set_as_current=False)
    Celeriac(app, store="memory://")
    yield app
    app.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def turns(*names: str) -> list[TurnReady]:
    return [TurnReady(RunRef(name, name, "publishing", "flow", None, WorkflowStatus.RUNNING)) for name in names]


def dispatcher(app: Celery) -> Any:
    return app.celeriac_runtime.dispatcher  # type: ignore[attr-defined]


def round_trips(app: Celery, monkeypatch: pytest.MonkeyPatch, publish: Any) -> int:
    """Count what is sent to Redis while hints are published."""
    sent: list[Any] = []
    kept = redis.connection.AbstractConnection.send_packed_command

    def send(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(command)
        return kept(self, command, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.AbstractConnection, "send_packed_command", send)
        publish()
    return len(sent)


@together
def test_many_hints_take_one_round_trip(app: Celery, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher(app).publish(turns("first"))  # connects
    many = turns(*(f"run-{n}" for n in range(50)))
    assert round_trips(app, monkeypatch, lambda: dispatcher(app).publish(many)) == 1
    assert client.llen("celery") == 51


@together
def test_a_batch_over_a_dead_connection_is_sent_again_one_by_one(app: Celery, client: Any) -> None:
    dispatcher(app).publish(turns("first"))
    client.client_kill_filter(_type="normal", skipme=True)
    dispatcher(app).publish(turns("second", "third"))
    assert client.llen("celery") == 3


def test_the_last_message_of_a_run_is_never_part_of_a_batch(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher(app).publish(turns("first"))
    run = turns("over")[0].run
    hints = [*turns("one"), RunFinished(run, None), *turns("two")]
    publish = super(type(dispatcher(app)), dispatcher(app)).publish
    assert round_trips(app, monkeypatch, lambda: publish(hints)) == 2
