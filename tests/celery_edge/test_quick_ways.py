"""The short way of activities' messages: the same messages as Celery's own way makes, and only where nobody has a say."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from logging import getLogger
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import redis
from billiard.einfo import ExceptionInfo
from celery import Celery, Signature, Task, signals
from celery.exceptions import Ignore, SoftTimeLimitExceeded
from kombu import Exchange, Producer, Queue
from kombu.transport.redis import Channel as RedisChannel
from kombu.transport.redis import SentinelChannel

from celeriac import Celeriac, WorkflowContext
from celeriac.executors.celery.leaving import BriefInfo, LeftOpen
from celeriac.executors.celery.oneredis import is_on_one_redis
from celeriac.executors.celery.onetrip import in_one_trip
from celeriac.executors.celery.quick import QuickWays
from celeriac.executors.celery.straight import Letter, Line
from celeriac.executors.celery.wire import Wire
from celeriac.orchestrator.model import RunRef
from celeriac.orchestrator.ports import ActivityReady, TurnReady
from celeriac.orchestrator.status import WorkflowStatus
from tests.celery_edge.harness import eventually


def charge(order: str) -> str:
    return order


def quick_app(redis_url: str, **options: Any) -> Celery:
    """Return an app with connections of its own, on which nothing has been declared."""
    app = Celery("quick", broker=redis_url, set_as_current=False, **options)
    app.conf.broker_transport_options = {"of": uuid.uuid4().hex}  # what kombu keeps connections by
    return app


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    app = quick_app(redis_url)
    durable = Celeriac(app, store="memory://")

    durable.activity(name="quick.charge")(charge)
    yield app
    app.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client
        client.delete("celery", "elsewhere")


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody listen whom another module has left behind."""
    for each in (signals.before_task_publish, signals.after_task_publish, signals.task_sent):
        monkeypatch.setattr(each, "receivers", [])


@pytest.fixture
def short_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Which messages have gone the short way."""
    taken: list[bool] = []
    publish = QuickWays.publish

    def noted(*args: Any) -> bool:
        taken.append(publish(*args))
        return taken[-1]

    push = QuickWays.push

    def pushed(ways: QuickWays, letters: Sequence[Letter]) -> bool:
        sent = push(ways, letters)
        taken.extend([sent] * len(letters))
        return sent

    monkeypatch.setattr(QuickWays, "publish", noted)
    monkeypatch.setattr(QuickWays, "push", pushed)
    return taken


def publish(app: Celery, *seqs: int, queue: str | None = None, options: Mapping[str, Any] | None = None) -> None:
    run = RunRef("run-1", "order-1", "quick", "flow", None, WorkflowStatus.RUNNING)
    data = {"name": "quick.charge", "args": ["A-17"], "kwargs": {}, "options": dict(options or {})}
    for seq in seqs:
        app.celeriac_runtime.dispatcher.publish([ActivityReady(run, seq, 1, data, queue)])  # type: ignore[attr-defined]


def messages(client: Any, queue: str = "celery") -> list[dict[str, Any]]:
    """Take what is in a queue, the first message first, without what must differ from one message to the next."""
    found = [json.loads(each) for each in reversed(client.lrange(queue, 0, -1))]
    client.delete(queue)
    for each in found:
        each["body"] = json.loads(base64.b64decode(each["body"]))
        assert each["properties"].pop("delivery_tag")
        number = str(each["headers"]["celeriac"].pop("seq"))
        assert number in each["headers"].pop("id")
        assert number in each["properties"].pop("correlation_id")
        for name in ("argsrepr", "kwargsrepr"):  # which Celery writes here too, where nobody reads them
            each["properties"].pop(name, None)
    return found


@pytest.mark.parametrize("options", [{}, {"start_to_close": 30.0}], ids=["plain", "limited"])
def test_the_short_way_makes_the_message_that_celery_makes(
    app: Celery, client: Any, short_ways: list[bool], options: dict[str, Any]
) -> None:
    publish(app, 1, 2, 3, options=options)

    first, second, third = messages(client)

    assert short_ways == [False, True, True]  # the first one has the queue declared
    assert first == second == third
    assert first["body"] == [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    assert first["headers"]["timelimit"] == [35.0 if options else None, None]


def test_a_message_goes_to_the_queue_that_the_call_names(app: Celery, client: Any, short_ways: list[bool]) -> None:
    publish(app, 1, 2, queue="elsewhere")

    first, second = messages(client, "elsewhere")

    assert short_ways == [False, True]
    assert first == second


def test_whoever_listens_to_the_publish_signals_hears_of_each_message(
    app: Celery, client: Any, short_ways: list[bool]
) -> None:
    heard: list[str] = []

    def hear(sender: str, headers: dict[str, Any], **_: Any) -> None:
        heard.append(sender)
        headers["tenant"] = "acme"

    publish(app, 1, 2)
    signals.before_task_publish.connect(hear)
    try:
        publish(app, 3, 4)
    finally:
        signals.before_task_publish.disconnect(hear)

    assert short_ways == [False, True, False, False]
    assert heard == ["quick.charge", "quick.charge"]
    assert [each["headers"].get("tenant") for each in messages(client)] == [None, None, "acme", "acme"]


def test_a_router_that_is_a_function_is_asked_each_time(app: Celery, client: Any, short_ways: list[bool]) -> None:
    app.conf.task_routes = [lambda name, args, kwargs, options, **_: {"queue": next(places)}]
    places = iter(["celery", "elsewhere", "celery"])

    publish(app, 1, 2, 3)

    assert short_ways == [False, False, False]
    assert (len(messages(client)), len(messages(client, "elsewhere"))) == (2, 1)


def test_a_class_with_a_way_of_its_own_to_send_is_asked_each_time(
    redis_url: str, client: Any, short_ways: list[bool]
) -> None:
    sent: list[str] = []

    class Tenant(Task):  # type: ignore[misc]
        def apply_async(self, *args: Any, **kwargs: Any) -> Any:
            sent.append(kwargs["task_id"])
            return super().apply_async(*args, **kwargs)

    app = quick_app(redis_url, task_cls=Tenant)
    durable = Celeriac(app, store="memory://")
    durable.activity(name="quick.charge")(charge)

    publish(app, 1, 2)

    assert short_ways == [False, False]
    assert len(sent) == 2
    app.close()


def test_a_library_that_wraps_the_sending_is_gone_through(
    app: Celery, client: Any, short_ways: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    traced: list[str] = []
    original = Celery.send_task

    def send_task(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        traced.append(name)
        return original(self, name, *args, **kwargs)

    monkeypatch.setattr(Celery, "send_task", send_task)

    publish(app, 1, 2)

    assert short_ways == [False, False]
    assert traced == ["quick.charge", "quick.charge"]


def test_what_is_not_a_direct_queue_is_left_to_celery(redis_url: str, client: Any, short_ways: list[bool]) -> None:
    app = quick_app(redis_url)
    app.conf.task_queues = [Queue("celery", Exchange("topics", type="topic"), routing_key="orders")]
    app.conf.task_default_routing_key = "orders"
    durable = Celeriac(app, store="memory://")
    durable.activity(name="quick.charge")(charge)

    publish(app, 1, 2)

    assert short_ways == [False, False]
    assert len(messages(client)) == 2
    app.close()


def test_a_connection_that_was_cut_is_opened_again(app: Celery, client: Any, short_ways: list[bool]) -> None:
    publish(app, 1, 2)
    client.client_kill_filter(_type="normal", skipme=True)

    publish(app, 3)

    assert len(messages(client)) == 3


def test_no_client_is_made_for_a_message(app: Celery, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(app, 1, 2)
    made: list[Any] = []
    original = redis.Redis.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(redis.Redis, "__init__", init)

    publish(app, 3, 4, 5)

    assert made == []


def test_a_task_that_is_left_open_is_told_without_a_traceback() -> None:
    def info(error: Exception) -> ExceptionInfo:
        try:
            raise error
        except Ignore:
            return BriefInfo(internal=True)

    brief, whole = info(LeftOpen()), info(Ignore("on purpose"))

    assert (brief.type, brief.traceback, brief.tb, brief.internal) == (LeftOpen, "", None, True)
    assert type(brief.exception.exc) is LeftOpen
    assert whole.type is Ignore
    assert whole.traceback.startswith("Traceback (most recent call last):")
    assert whole.traceback.endswith("celery.exceptions.Ignore: on purpose\n")


# -- straight into the lists of Redis -----------------------------------------------------------------------------------


@pytest.fixture
def passed_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How many letters went to which list, a line a push."""
    pushed: list[str] = []
    original = Line.push

    def push(line: Line, letters: Sequence[Letter]) -> None:
        pushed.append(f"{letters[0].key} {len(letters)}")
        original(line, letters)

    monkeypatch.setattr(Line, "push", push)
    return pushed


def publish_together(app: Celery, *seqs: int) -> None:
    run = RunRef("run-1", "order-1", "quick", "flow", None, WorkflowStatus.RUNNING)
    data = {"name": "quick.charge", "args": ["A-17"], "kwargs": {}, "options": {}}
    app.celeriac_runtime.dispatcher.publish([ActivityReady(run, seq, 1, data, None) for seq in seqs])  # type: ignore[attr-defined]


def test_many_messages_of_one_queue_are_a_few_commands(
    app: Celery, client: Any, short_ways: list[bool], passed_on: list[str]
) -> None:
    publish(app, 1, 2, 3)
    client.config_resetstat()
    publish_together(app, *range(4, 455))

    assert passed_on == [
        "celery 1",
        "celery 1",
        "celery 451",
    ]  # the first one has gone Celery's way, and shown where it leads
    assert client.info("commandstats")["cmdstat_lpush"]["calls"] == 3  # of two hundred at most
    texts = [json.loads(each) for each in reversed(client.lrange("celery", 0, -1))]
    assert [each["headers"]["celeriac"]["seq"] for each in texts] == list(range(1, 455))
    assert len({each["properties"]["delivery_tag"] for each in texts}) == 454
    first, *others = messages(client)
    assert all(each == first for each in others)


def test_a_letter_takes_no_producer(
    app: Celery, client: Any, short_ways: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(app, 1, 2)
    monkeypatch.setattr(Celery, "producer_or_acquire", None)

    publish(app, 3)
    publish_together(app, 4, 5)

    assert short_ways == [False, True, True, True, True]
    assert len(messages(client)) == 5


def test_priorities_have_lists_of_their_own(app: Celery, client: Any, passed_on: list[str]) -> None:
    app.tasks["quick.charge"].priority = 6
    publish(app, 1, 2, 3)

    assert passed_on == ["celery\x06\x166 1"] * 2
    first, second, third = messages(client, "celery\x06\x166")
    assert first == second == third
    assert first["properties"]["priority"] == 6


def test_messages_that_are_compressed_are_left_to_kombu(app: Celery, client: Any, passed_on: list[str]) -> None:
    app.conf.task_compression = "gzip"
    publish(app, 1, 2, 3)

    assert passed_on == []
    assert client.llen("celery") == 3
    client.delete("celery")


def test_a_queue_whose_messages_expire_is_left_to_kombu(redis_url: str, client: Any, passed_on: list[str]) -> None:
    app = quick_app(redis_url)
    app.conf.task_queues = [Queue("celery", Exchange("celery"), routing_key="celery", expires=60)]
    durable = Celeriac(app, store="memory://")
    durable.activity(name="quick.charge")(charge)
    publish(app, 1, 2, 3)

    assert passed_on == []
    assert 0 < client.pttl("celery") <= 60_000
    app.close()


def test_a_library_that_wraps_the_producer_is_gone_through(
    app: Celery, client: Any, passed_on: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    original = Producer.publish

    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["routing_key"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Producer, "publish", traced)
    publish(app, 1, 2, 3)

    assert passed_on == []
    assert seen == ["celery"] * 3
    assert len(messages(client)) == 3


def test_where_they_can_t_be_pushed_they_are_sent_by_kombu(
    app: Celery, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    push, calls = Wire.push, []

    def away(self: Wire, key: str, texts: Sequence[str]) -> bool:
        calls.append(len(texts))
        if len(calls) == 1:
            raise redis.ConnectionError("gone")
        return push(self, key, texts)

    publish(app, 1, 2, 3)
    monkeypatch.setattr(Wire, "push", away)
    publish_together(app, 4, 5, 6)

    assert calls[0] == 3
    texts = [json.loads(each) for each in client.lrange("celery", 0, -1)]
    assert sorted(each["headers"]["celeriac"]["seq"] for each in texts) == [1, 2, 3, 4, 5, 6]
    client.delete("celery")


# -- starts -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def flow(redis_url: str) -> Iterator[Any]:
    """A workflow of an app with results in Redis, on connections of its own."""
    app = quick_app(redis_url, backend=redis_url)
    durable = Celeriac(app, store="memory://")

    @durable.workflow(name="quick.flow")
    async def flow(ctx: WorkflowContext, order: str) -> str:
        return order

    yield flow
    app.close()


def starts(client: Any, queue: str = "celery") -> list[dict[str, Any]]:
    """Take the starts in a queue, the first one first, without what must differ from one to the next."""
    found = [json.loads(each) for each in reversed(client.lrange(queue, 0, -1))]
    client.delete(queue)
    for each in found:
        each["body"] = json.loads(base64.b64decode(each["body"]))
        assert each["properties"].pop("delivery_tag")
        task_id = each["headers"].pop("id")
        assert each["headers"].pop("root_id") == task_id == each["properties"].pop("correlation_id")
        assert each["headers"]["celeriac"].pop("run")
        for name in ("argsrepr", "kwargsrepr"):  # which Celery writes here too, where nobody reads them
            each["properties"].pop(name, None)
    return found


@pytest.mark.parametrize(
    "options", [{}, {"queue": "elsewhere"}, {"headers": {"tenant": "acme"}}, {"ignore_result": True}], ids=str
)
def test_a_start_that_is_a_letter_is_the_message_that_celery_makes(
    flow: Any, client: Any, short_ways: list[bool], options: dict[str, Any]
) -> None:
    results = [flow.apply_async((order,), **options) for order in ("A-17", "A-17", "A-17")]

    first, second, third = starts(client, options.get("queue", "celery"))

    assert short_ways == [True, True]
    assert first == second == third
    assert first["headers"]["argsrepr"] == "('A-17',)"
    assert [each.status for each in results] == ["PENDING"] * 3


def test_many_starts_are_letters_once_one_has_shown_where_they_lead(
    flow: Any, client: Any, passed_on: list[str]
) -> None:
    started = flow.start_many([("A-17",)] * 500)

    assert passed_on == ["celery 200", "celery 100"]  # the first two hundred went Celery's own way
    assert len({each.run_id for each in started}) == 500
    first, *others = starts(client)
    assert len(others) == 499
    assert all(each == first for each in others)


def test_a_start_goes_by_the_producer_that_is_passed(flow: Any, redis_url: str, client: Any) -> None:
    for _ in range(2):
        flow.delay("A-17")
    elsewhere = redis_url.rpartition("/")[0] + "/9"
    with flow.app.connection_for_write(elsewhere) as connection, connection.Producer() as producer:
        flow.apply_async(("A-18",), producer=producer)
    with redis.Redis.from_url(elsewhere) as other:
        assert (client.llen("celery"), other.llen("celery")) == (2, 1)
        other.flushdb()


def test_a_result_backend_that_is_away_keeps_no_recorded_start_from_being_sent(
    flow: Any, client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        flow.delay("A-17")

    def away(*_: Any) -> None:
        raise RuntimeError("Retry limit exceeded")

    monkeypatch.setattr(type(flow.backend), "on_task_call", away)
    monkeypatch.setattr(away, "__module__", "celery.backends.redis")
    started = [flow.delay("A-18"), *flow.start_many([("A-19",)] * 2)]

    assert client.llen("celery") == 5
    assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == [
        f"the result backend can't be asked to tell of workflow {each.id}: Retry limit exceeded" for each in started
    ]


def test_the_result_of_a_letter_is_listened_for_before_it_is_sent(
    flow: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with each of Celery's calls. Who subscribes when he waits may do so a moment after the result was published."""
    listened: list[set[str]] = []
    original = Line.push

    def push(line: Line, letters: Sequence[Letter]) -> None:
        listened.append({each.decode() for each in flow.backend.result_consumer.subscribed_to})
        original(line, letters)

    monkeypatch.setattr(Line, "push", push)
    results = [flow.delay("A-17") for _ in range(3)]
    results += flow.start_many([("A-17",)] * 3)
    unheard = flow.apply_async(("A-17",), ignore_result=True)

    keys = [f"celery-task-meta-{each.id}" for each in results]
    assert [each & {*keys} for each in listened] == [{*keys[:2]}, {*keys[:3]}, {*keys}, {*keys}]
    eventually(lambda: client.pubsub_numsub(*keys), lambda found: found == [(each, 1) for each in keys])
    assert client.pubsub_numsub(f"celery-task-meta-{unheard.id}") == [(f"celery-task-meta-{unheard.id}", 0)]


@pytest.mark.parametrize(
    "options",
    [
        {"link": Signature("quick.charge")},
        {"priority": 3},
        {"countdown": 60},
        {"expires": 60},
        {"serializer": "yaml"},
        {"shadow": "other"},
    ],
    ids=str,
)
def test_a_start_with_anything_else_to_say_goes_celery_s_own_way(
    flow: Any, client: Any, passed_on: list[str], options: dict[str, Any]
) -> None:
    for _ in range(3):
        flow.apply_async(("A-17",), **options)

    assert passed_on == []
    client.flushdb()


def test_a_result_backend_that_prepares_for_a_result_is_told_of_each_start(
    redis_url: str, client: Any, passed_on: list[str]
) -> None:
    app = quick_app(redis_url, backend="rpc://")
    durable = Celeriac(app, store="memory://")

    @durable.workflow(name="quick.flow")
    async def flow(ctx: WorkflowContext, order: str) -> str:
        return order

    for _ in range(3):
        flow.delay("A-17")

    assert passed_on == []
    assert len(starts(client)) == 3
    app.close()


def test_a_prefix_of_all_keys_is_kept(redis_url: str, client: Any, passed_on: list[str]) -> None:
    app = quick_app(redis_url, backend=redis_url)
    app.conf.broker_transport_options = {"global_keyprefix": "shop:"}
    durable = Celeriac(app, store="memory://")
    durable.activity(name="quick.charge")(charge)

    publish(app, 1, 2, 3)

    assert passed_on == ["celery 1", "celery 1"]
    first, second, third = messages(client, "shop:celery")
    assert first == second == third
    client.delete("shop:_kombu.binding.celery")
    app.close()


def test_a_turn_s_message_is_a_letter_too(
    app: Celery, client: Any, short_ways: list[bool], passed_on: list[str]
) -> None:
    dispatcher = app.celeriac_runtime.dispatcher  # type: ignore[attr-defined]
    for number in range(1, 4):
        run = RunRef(f"run-{number}", "order-1", "quick", "flow", "celery", WorkflowStatus.RUNNING)
        dispatcher.publish([TurnReady(run)])

    texts = [json.loads(each) for each in reversed(client.lrange("celery", 0, -1))]
    client.delete("celery")
    bodies = [json.loads(base64.b64decode(each["body"])) for each in texts]
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    assert bodies == [[[f"run-{number}"], {}, embedded] for number in range(1, 4)]
    assert passed_on == ["celery 1", "celery 1"]
    first, *others = texts
    for each in others:
        assert each["headers"].keys() == first["headers"].keys()
        assert {name for name in first["headers"] if each["headers"][name] != first["headers"][name]} == {
            "id",
            "root_id",
            "argsrepr",
        }


def test_a_delayed_turn_goes_celery_s_own_way(app: Celery, client: Any, passed_on: list[str]) -> None:
    run = RunRef("run-1", "order-1", "quick", "flow", "celery", WorkflowStatus.RUNNING)
    for _ in range(3):
        app.celeriac_runtime.dispatcher.publish([TurnReady(run, delay=5.0)])  # type: ignore[attr-defined]

    assert passed_on == []
    assert [json.loads(each)["headers"]["eta"] is not None for each in client.lrange("celery", 0, -1)] == [True] * 3
    client.delete("celery")


def test_a_task_with_a_sender_of_its_own_is_no_workflow(redis_url: str, client: Any, short_ways: list[bool]) -> None:
    class Mailing(Task):  # type: ignore[misc]
        sender = "shop@example.com"

    app = quick_app(redis_url, task_cls=Mailing)
    durable = Celeriac(app, store="memory://")
    durable.activity(name="quick.charge")(charge)

    publish(app, 1, 2)

    assert short_ways == [False, True]
    assert len(messages(client)) == 2
    app.close()


def test_only_kombu_s_own_channel_is_known_by_its_private_parts(app: Celery) -> None:
    class Other(RedisChannel):
        pass

    with app.connection_for_write() as connection:
        assert is_on_one_redis(connection.default_channel)
    assert not is_on_one_redis(object.__new__(Other))
    assert not is_on_one_redis(object.__new__(SentinelChannel))


# -- a soft time limit that strikes meanwhile ---------------------------------------------------------------------------
# Celery raises it once. Whoever kept it to himself would let the task that publishes go on until the hard one.


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the limit strike once on the way to the broker, whichever that is, after the messages have gone."""
    struck: list[str] = []

    def struck_after(kind: type, name: str) -> None:
        original = getattr(kind, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            done = original(*args, **kwargs)
            if not struck:
                struck.append(name)
                raise SoftTimeLimitExceeded
            return done

        monkeypatch.setattr(kind, name, call)

    struck_after(Wire, "push")
    struck_after(Producer, "publish")
    return struck


def test_a_limit_that_strikes_a_start_is_the_caller_s(flow: Any, client: Any, request: pytest.FixtureRequest) -> None:
    flow.delay("A-17")
    struck = request.getfixturevalue("strike")
    with pytest.raises(SoftTimeLimitExceeded):
        flow.apply_async(("A-17",), task_id="struck")

    assert struck == ["push"]
    assert len(starts(client)) == 2  # and not once more by Celery's own way
    assert flow.apply_async(("A-17",), task_id="struck").workflow_id == "struck"  # which was recorded
    assert client.llen("celery") == 0


def test_a_limit_that_strikes_an_activity_s_message_is_the_caller_s(
    app: Celery, client: Any, request: pytest.FixtureRequest
) -> None:
    publish(app, 1, 2)
    struck = request.getfixturevalue("strike")
    with pytest.raises(SoftTimeLimitExceeded):
        publish(app, 3)
    publish(app, 4)

    assert struck == ["push"]
    assert len(messages(client)) == 4


def test_a_limit_that_strikes_the_short_way_through_kombu_is_the_caller_s(
    app: Celery, client: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    publish(app, 1)
    monkeypatch.setattr(Line, "is_open", False)
    struck = request.getfixturevalue("strike")
    ways = app.celeriac_runtime.dispatcher.quick  # type: ignore[attr-defined]
    with app.producer_or_acquire() as producer, pytest.raises(SoftTimeLimitExceeded):
        ways.publish(producer, app.tasks["quick.charge"], None, {"task_id": "run-1-2", "headers": {}})

    assert struck == ["publish"]
    assert client.llen("celery") == 2


def test_a_limit_that_strikes_a_batch_is_the_caller_s() -> None:
    def send() -> NoReturn:
        raise SoftTimeLimitExceeded

    producer = SimpleNamespace(supports_batch_publish=True, batch=nullcontext)
    with pytest.raises(SoftTimeLimitExceeded):
        in_one_trip(producer, send, log=getLogger(), what="messages")


def test_a_limit_that_strikes_a_signal_s_turn_is_the_caller_s(
    flow: Any, client: Any, request: pytest.FixtureRequest
) -> None:
    engine = flow.runtime.engine
    started = flow.delay("A-17")
    run = RunRef(started.run_id, started.workflow_id, "quick", "quick.flow", "celery", WorkflowStatus.RUNNING)
    assert engine.publish([TurnReady(run)])
    struck = request.getfixturevalue("strike")
    with pytest.raises(SoftTimeLimitExceeded):
        engine.publish([TurnReady(run)])

    assert struck == ["push"]
    assert client.llen("celery") == 3
