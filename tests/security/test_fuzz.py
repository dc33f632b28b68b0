"""Hostile values of every kind on every store: refused with a sentence before anything is recorded, or given back as they were."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from celeriac.activities.context import activity_context
from celeriac.activities.definition import ActivityDefinition
from celeriac.activities.options import ActivityOptions, RetryPolicy
from celeriac.errors import CeleriacError
from celeriac.executors.local import LocalExecutor
from celeriac.orchestrator.definition import Registry, WorkflowDefinition
from celeriac.orchestrator.executor import Signal, WorkflowOptions
from celeriac.orchestrator.model import RunFilter
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.payloads import UNTYPED, restore
from celeriac.stores.memory import InMemoryStore
from celeriac.stores.sql import SqlStore, migrate
from tests.security import hostile
from tests.security.hostile import MARK, same

FEW = {"mariadb": 8, "postgresql": 20, "portable": 8}
FIXED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much)


@dataclass
class Ground:
    """A store with an executor on it, and the texts of all statements that were run."""

    kind: str
    executor: LocalExecutor
    texts: set[str] = field(default_factory=set)
    heard: dict[str, Any] = field(default_factory=dict)

    def refused(self, call: Callable[[], Any]) -> tuple[bool, Any]:
        """Say whether a call is refused, as celeriac refuses, and what it returns else."""
        try:
            return False, call()
        except CeleriacError as error:
            said = str(error)
        assert 10 < len(said) < 5_000, "a refusal says why, at no length that floods a log"
        return True, None

    def idle(self) -> None:
        """See that nothing is broken, and no statement's text had a hostile word in it."""
        handle = self.executor.execute("echo", WorkflowOptions(args=("fine",)))
        assert handle.result() == "fine"
        assert [each for each in self.texts if MARK in each] == []


def _registry(heard: dict[str, Any]) -> Registry:
    registry = Registry()

    async def echo(ctx: Any, value: Any = None) -> Any:
        return value

    async def through(ctx: Any, value: Any) -> Any:
        """Have a value go through an activity, and be heard as a heartbeat's details."""
        first = await ctx.execute_activity(beat, value)
        return [first, await ctx.execute_local_activity(beat_not, value)]

    async def hears(ctx: Any, name: str) -> Any:
        return await ctx.wait_signal(name)

    def beating(value: Any) -> Any:
        activity_context().heartbeat(value)
        heard["details"] = _details(activity_context().activity_id)
        return value

    def _details(_: str) -> Any:
        return heard["look"]()

    beat = ActivityDefinition("beat", beating, ActivityOptions(retry=RetryPolicy.never()))
    beat_not = ActivityDefinition("beat_not", lambda value: value, ActivityOptions())
    for name, fn in (("echo", echo), ("through", through), ("hears", hears)):
        registry.add_workflow(WorkflowDefinition(name, fn))
    for activity in (beat, beat_not):
        registry.activities[activity.name] = activity
    registry.max_payload = 2 * 1024 * 1024
    return registry


def _store(kind: str, request: pytest.FixtureRequest) -> Any:
    if kind == "memory":
        return InMemoryStore()
    if kind == "sqlite":
        return SqlStore(f"sqlite:///{request.getfixturevalue('tmp_path_factory').mktemp('fuzz') / 'flows.db'}")
    server = request.getfixturevalue("mariadb_server" if kind == "mariadb" else "postgres_server")
    url = server.create_database()
    migrate(url)
    request.addfinalizer(lambda: server.drop_database(url))
    return SqlStore(url, fast_path=kind != "portable")


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgresql", "portable", "mariadb"])
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    heard: dict[str, Any] = {}
    store = _store(request.param, request)
    executor = LocalExecutor(_registry(heard), store, jump=False)
    made = Ground(request.param, executor, heard=heard)
    if isinstance(store, SqlStore):
        store.check()
        store.db.trace = made.texts.add
    yield made
    store.close()


def fuzz(**strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Draw examples, fewer of them where each takes longer; a failing one is made small on SQLite and in memory."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        def run(ground: Ground) -> None:
            count = FEW.get(ground.kind, 30)
            phases = tuple(Phase) if ground.kind in {"memory", "sqlite"} else (Phase.explicit, Phase.generate)
            config = settings(
                max_examples=count, deadline=None, suppress_health_check=FIXED, phases=phases, database=None
            )
            config(given(**strategies)(lambda **drawn: test(ground, **drawn)))()
            ground.idle()

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


def written(value: Any) -> Any:
    """Return a value as it comes back from where no annotation says what it is."""
    return restore(UNTYPED.write(value, "it"))


@fuzz(value=hostile.value)
def test_a_payload_comes_back_or_is_refused(ground: Ground, value: Any) -> None:
    refused, _ = ground.refused(lambda: UNTYPED.write(value, "it"))
    workflow_id = uuid.uuid4().hex
    start = lambda: ground.executor.execute("through", WorkflowOptions(id=workflow_id, args=(value,)))  # noqa: E731
    run_refused, handle = ground.refused(start)
    assert run_refused == refused
    if refused:
        assert ground.executor.store.find_run("local", workflow_id=workflow_id) is None
        return
    ground.heard["look"] = lambda: ground.executor.store.tasks(handle.run_id)[0].details
    first, second = handle.result()
    expected = written(value)
    assert same(first, expected)
    assert same(second, expected)
    assert same(restore(ground.heard.pop("details")), expected) or value is None


@fuzz(text=hostile.text, value=hostile.value)
def test_an_id_a_memo_and_attributes(ground: Ground, text: str, value: Any) -> None:
    memo = {text: value}
    options: dict[str, Any] = {"id": text + uuid.uuid4().hex, "memo": memo, "attributes": {text: text}}
    refused, handle = ground.refused(lambda: ground.executor.execute("echo", WorkflowOptions(**options)))
    if refused:
        found = ground.refused(lambda: ground.executor.describe(options["id"]))
        assert found == (True, None)
        return
    run = ground.executor.describe(options["id"])
    assert (run.workflow_id, run.run_id) == (options["id"], handle.run_id)
    assert same(run.memo, UNTYPED.write(memo, "it"))
    assert run.attributes == {text: text}
    assert [each.run_id for each in ground.executor.list(RunFilter(workflow_id=options["id"]))] == [run.run_id]
    assert handle.result() is None
    assert ground.executor.query(options["id"], "status") == "completed"


@fuzz(name=hostile.text, payload=hostile.value, key=hostile.text, sender=hostile.text)
def test_a_signal(ground: Ground, name: str, payload: Any, key: str, sender: str) -> None:
    handle = ground.executor.execute("hears", WorkflowOptions(args=(name,)))
    signal = Signal(name=name, payload=payload, key=key, sender_id=sender)
    refused, _ = ground.refused(lambda: ground.executor.signal(handle.id, signal))
    again, _ = ground.refused(lambda: ground.executor.signal(handle.id, signal))
    assert again == refused
    if refused:
        ground.executor.drive(jump=False)
        assert [each.type for each in handle.history()] == ["workflow_started"]
        handle.terminate()
        return
    assert same(handle.result(), written(payload))
    received = [each.data for each in handle.history() if each.type == "signal_received"]
    assert [(each["name"], each["sender_id"]) for each in received] == [(name, sender)]


@fuzz(text=hostile.text)
def test_what_is_looked_for_is_found_or_not(ground: Ground, text: str) -> None:
    """A name, an id, a query, that nobody has: a clear answer each."""
    look: list[Callable[[], Any]] = [
        lambda: ground.executor.list(RunFilter(name=text)),
        lambda: ground.executor.list(RunFilter(workflow_id=text)),
        lambda: ground.executor.list(RunFilter(cursor=text)),
        lambda: ground.executor.list(RunFilter(statuses=(WorkflowStatus.PAUSED,), name=text, workflow_id=text)),
        lambda: ground.executor.describe(text),
        lambda: ground.executor.signal(text, Signal(name=text)),
        lambda: ground.executor.cancel(text, text),
        lambda: ground.executor.terminate(text, text),
        lambda: ground.executor.handle(text),
        lambda: ground.executor.execute(text),
    ]
    for each in look:
        refused, found = ground.refused(each)
        assert refused or list(found) == []


@fuzz(text=hostile.text, queue=hostile.text)
def test_a_reason_and_a_queue(ground: Ground, text: str, queue: str) -> None:
    definition = ground.executor.definition("hears")
    arguments = ground.executor.arguments(definition, WorkflowOptions(args=("x",)))
    refused, created = ground.refused(
        lambda: ground.executor.create(
            definition, arguments, WorkflowOptions(start_key=text + uuid.uuid4().hex), queue=queue
        )
    )
    if refused:
        return
    run = ground.executor.store.find_run("local", run_id=created.run.run_id)
    assert run is not None
    assert run.queue == queue
    ground.executor.terminate(run.workflow_id, text)
    ended = ground.executor.describe(run.workflow_id)
    assert (ended.failure or {})["message"] == (text or "terminated")


@fuzz(text=hostile.text)
def test_an_exceptions_words_come_through(ground: Ground, text: str) -> None:
    def failing() -> None:
        raise type(MARK + "Error", (Exception,), {"details": {text: text}})(text)

    ground.executor.mocks["beat"] = lambda value: failing()
    try:
        handle = ground.executor.execute("through", WorkflowOptions(args=(1,)))
        with pytest.raises(CeleriacError):
            handle.result()
    finally:
        del ground.executor.mocks["beat"]
    failure = handle.describe().failure
    assert failure is not None
    assert failure["cause"]["message"] == text
    assert failure["cause"]["details"] == {text: text}
