"""How many statements each call costs, and that none of them has a user's text in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celeriac.errors import StoreError
from celeriac.orchestrator.events import SignalReceived, WorkflowCompleted
from celeriac.orchestrator.model import SECOND, Fence, RunFilter, Task
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.stores.sql import SqlStore, migrate
from celeriac.stores.sql.ids import index_form
from celeriac.testing.contract.world import MINUTE, World, wait_until_passed

_HOSTILE = "x'); DROP TABLE celeriac_runs; -- %s %(run_id)s :p_run_id ? $1 {now} \\"


def open_sqlite(_: pytest.FixtureRequest) -> SqlStore:
    return SqlStore("sqlite://")


def open_postgresql(request: pytest.FixtureRequest) -> SqlStore:
    url = request.getfixturevalue("postgres_url")
    migrate(url)
    return SqlStore(url)


def open_portable(request: pytest.FixtureRequest) -> SqlStore:
    url = request.getfixturevalue("postgres_url")
    migrate(url)
    return SqlStore(url, fast_path=False)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    store: SqlStore = request.param(request)
    store.check()
    yield store
    store.close()


@pytest.fixture
def world(store: SqlStore) -> World:
    return World(store, store, wait_until_passed)


@pytest.fixture
def count(store: SqlStore) -> Callable[[Callable[[], Any]], int]:
    """``count(call)``: how many statements it runs, BEGIN and COMMIT not counted."""

    def counted(call: Callable[[], Any]) -> int:
        texts: list[str] = []
        store.db.trace = texts.append
        try:
            assert call() not in (None, False)
        finally:
            store.db.trace = None
        return len(texts)

    return counted


def a_life(world: World, count: Callable[[Callable[[], Any]], int]) -> dict[str, int]:
    """Return the cost of each call in the life of a run with two activities."""
    store, new, costs = world.store, world.new(), {}
    costs["create"] = count(lambda: store.create(new))
    costs["begin_turn"] = count(lambda: store.begin_turn(new.run_id, token="turn", lease=MINUTE, known=None))
    run = world.start()
    rows = [world.activity(run, 1), world.activity(run, 2, heartbeat=MINUTE)]
    commit = world.a_commit(run, SignalReceived("a"), tasks=rows)
    costs["commit"] = count(lambda: store.commit(commit))
    costs["claim_activity"] = count(lambda: world.claim(run))
    costs["read_turn"] = count(lambda: store.read_turn(run.run_id, known=(run.epoch, 2)))
    fences = [world.claim(run, 2, token="other").fence]
    costs["renew"] = count(lambda: store.renew(fences, lease=SECOND))
    costs["heartbeat"] = count(lambda: store.heartbeat(fences[0], {"done": 3}))
    costs["requeue"] = count(lambda: store.requeue(fences[0], delay=0, grace=0, next_attempt=False))
    fences = [world.claim(run, 2).fence]
    row = world.row(run, seq=1)
    settling = world.a_commit(world.read(run), SignalReceived("b"), tasks=[world.activity(run, 3)], settles=_fence(row))
    costs["commit an outcome"] = count(lambda: store.commit(settling))
    costs["settle"] = count(lambda: store.settle(fences[0], world.message("outcome")))
    costs["deliver"] = count(lambda: world.signal(run))
    costs["find_run"] = count(lambda: store.find_run(run.namespace, workflow_id=run.workflow_id))
    closing = world.a_commit(
        world.read(run),
        WorkflowCompleted(1),
        status=WorkflowStatus.COMPLETED,
        consumed=[1, 2],
        tasks=[world.finish(run, due_in=0)],
    )
    costs["close"] = count(lambda: store.commit(closing))
    costs["take_due, one due"] = count(lambda: store.take_due(world.namespace, limit=9, hold=MINUTE))
    costs["take_due, none due"] = count(lambda: store.take_due(world.namespace, limit=9, hold=MINUTE) == [])
    costs["next_due"] = count(lambda: store.next_due(world.namespace))
    return costs


def _fence(row: Task) -> Fence:
    return Fence(row.run_id, row.kind, row.seq, row.token or "")


FAST = {
    "create": 1,
    "begin_turn": 1,
    "commit": 1,
    "claim_activity": 1,
    "read_turn": 1,
    "renew": 1,
    "heartbeat": 1,
    "requeue": 1,
    "commit an outcome": 1,
    "settle": 1,
    "deliver": 1,
    "find_run": 1,
    "close": 1,
    "take_due, one due": 3,
    "take_due, none due": 1,
    "next_due": 1,
}
PORTABLE = {
    "create": 6,
    "begin_turn": 6,
    "commit": 5,
    "claim_activity": 3,
    "read_turn": 2,
    "renew": 2,
    "heartbeat": 3,
    "requeue": 3,
    "commit an outcome": 6,
    "settle": 7,
    "deliver": 6,
    "find_run": 1,
    "close": 7,
    "take_due, one due": 3,
    "take_due, none due": 1,
    "next_due": 1,
}


@pytest.mark.parametrize("store", [open_postgresql], indirect=True)
def test_on_postgresql_each_call_is_one_statement(world: World, count: Any) -> None:
    assert a_life(world, count) == FAST


@pytest.mark.parametrize("store", [open_sqlite, open_portable], indirect=True)
def test_the_portable_path_takes_a_few(world: World, count: Any) -> None:
    assert a_life(world, count) == PORTABLE


@pytest.mark.parametrize("store", [open_sqlite, open_postgresql, open_portable], indirect=True)
def test_a_claim_tells_of_the_run_what_a_turn_needs(world: World) -> None:
    run = world.start()
    run = world.commit(run, SignalReceived("a"), SignalReceived("b"), tasks=[world.activity(run)])
    claim = world.claim(run, known=(run.epoch, 1))
    head = claim.head
    assert head is not None
    kept = ("run_id", "epoch", "version", "inbox_seq", "turns", "status", "origin", "updated_at")
    assert [getattr(head, each) for each in kept] == [getattr(run, each) for each in kept]
    assert [each.number for each in claim.events] == [2, 3]
    assert list(claim.events) == list(world.store.history(run.run_id))[1:]


@pytest.mark.parametrize("store", [open_sqlite, open_postgresql, open_portable], indirect=True)
def test_but_not_of_one_that_is_not_running_or_for_which_something_waits(world: World) -> None:
    waited_for, paused = world.scheduled(), world.scheduled()
    world.signal(waited_for)
    world.store.set_status(paused.run_id, WorkflowStatus.PAUSED)
    for run in (waited_for, paused):
        assert world.claim(run, known=(run.epoch, 0)).head is None


@pytest.mark.parametrize("store", [open_sqlite, open_postgresql, open_portable], indirect=True)
def test_no_text_of_a_user_s_is_part_of_a_statement(store: SqlStore, world: World) -> None:
    texts: list[str] = []
    store.db.trace = texts.append
    world.namespace = _HOSTILE
    run = world.start(_HOSTILE, start_key=_HOSTILE, name=_HOSTILE, queue=_HOSTILE, input={_HOSTILE: _HOSTILE})
    world.signal(run, _HOSTILE, name=_HOSTILE)
    view = world.begin(run, token=_HOSTILE)
    world.commit(
        run,
        (SignalReceived(_HOSTILE), _HOSTILE),
        consumed=[view.inbox[0].number],
        tasks=[world.activity(run, data={_HOSTILE: _HOSTILE}, queue=_HOSTILE)],
        turn_token=_HOSTILE,
        waits=[_HOSTILE],
    )
    claim = world.claim(run, worker=_HOSTILE, token=_HOSTILE)
    assert store.heartbeat(claim.fence, _HOSTILE) == "alive"
    assert store.settle(claim.fence, world.message(_HOSTILE + "2")).outcome == "delivered"
    assert store.hold_lease(_HOSTILE, _HOSTILE, lease=SECOND) is True
    assert [run.workflow_id for run in store.list(_HOSTILE, RunFilter(name=_HOSTILE))] == [_HOSTILE]
    state = store.load(_HOSTILE, _HOSTILE)
    assert state is not None
    assert (state.run.input, state.history[1].key) == ({_HOSTILE: _HOSTILE}, _HOSTILE)
    assert (state.tasks[0].kind, state.tasks[0].state) == (TaskKind.TURN, TaskState.QUEUED)
    assert len(texts) > 10
    assert [each for each in texts if "DROP TABLE" in each] == []


def test_long_ids_have_an_index_form_of_their_own() -> None:
    ids = ["a", "a" * 64, "a" * 65, "a" * 1000, "a ", " a", "#" + "0" * 64, "é" * 64, ""]
    forms = [index_form(each) for each in ids]
    assert len(set(forms)) == len(ids)
    assert max(map(len, forms)) == 65
    assert [form for form, each in zip(forms, ids, strict=True) if form == each] == [
        "a",
        "a" * 64,
        " a",
        "é" * 64,
        "",
    ]


@pytest.mark.parametrize("store", [open_sqlite, open_postgresql, open_portable], indirect=True)
def test_many_starts_are_one_transaction(store: SqlStore, world: World) -> None:
    taken, first, twice, last = world.start(), world.new(), world.new(), world.new()
    many = [first, world.new(taken.workflow_id), twice, twice, last]
    created = store.create_many(many)
    assert [each.outcome for each in created] == ["created", "open_exists", "created", "same_start", "created"]
    assert [each.run.run_id for each in created] == [
        first.run_id,
        taken.run_id,
        twice.run_id,
        twice.run_id,
        last.run_id,
    ]
    assert created[4].run == store.find_run(world.namespace, run_id=last.run_id)
    assert len(store.list(world.namespace, RunFilter())) == 4


@pytest.mark.parametrize("store", [open_sqlite, open_postgresql, open_portable], indirect=True)
def test_one_start_among_many_that_can_not_be_leaves_the_others(store: SqlStore, world: World) -> None:
    first, bad = world.new(), world.new("a\0b")
    with pytest.raises(ValueError, match=r"workflow id .a.x00b. has a NUL character"):
        store.create_many([first, bad])
    assert store.find_run(world.namespace, run_id=first.run_id) is None
    with pytest.raises(StoreError, match="a run id is never used twice"):
        store.create_many([first, world.new(run_id=first.run_id)])


@pytest.mark.parametrize("store", [open_sqlite, open_postgresql, open_portable], indirect=True)
@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 1001])
def test_an_id_that_no_database_holds_is_refused_and_not_found(store: SqlStore, world: World, text: str) -> None:
    for new in (world.new(text), world.new(start_key=text), world.new(run_id=text)):
        with pytest.raises(ValueError, match=r"(workflow id|start key|run id) "):
            store.create(new)
    run = world.start()
    with pytest.raises(ValueError, match="message key "):
        world.signal(run, text)
    assert store.find_run(world.namespace, workflow_id=text) is None
    assert store.find_run(world.namespace, start_key=text) is None
    missed = store.deliver(world.message(), namespace=world.namespace, workflow_id=text)
    assert missed.outcome == "not_found"


@pytest.mark.parametrize("store", [open_sqlite, open_postgresql, open_portable], indirect=True)
def test_a_commit_with_a_row_that_is_there_is_a_mistake(store: SqlStore, world: World) -> None:
    run = world.scheduled()
    with pytest.raises(ValueError, match="the commit has a task row, or an event with a key, of which the run has one"):
        store.commit(world.a_commit(run, tasks=[world.activity(run)]))
    assert world.read(run) == run


@pytest.mark.parametrize("store", [open_sqlite, open_postgresql, open_portable], indirect=True)
def test_a_purge_reads_no_run_that_stays(store: SqlStore, world: World) -> None:
    old = [world.closed().run_id for _ in range(3)]
    before = store.now() + 1
    texts: list[str] = []
    store.db.trace = texts.append
    assert store.purge(world.namespace, closed_before=before, limit=3) == 3
    store.db.trace = None
    explain = "EXPLAIN QUERY PLAN " if store.db.dialect.name == "sqlite" else "EXPLAIN "
    values: Any = {"p_namespace": "n", "namespace": "n", "before": 1, "limit": 3}

    def plan(session: Any) -> str:
        session.cursor.execute(explain + texts[0], values if "%(" in texts[0] else [1] * texts[0].count("?"))
        return str(session.cursor.fetchall())

    assert "celeriac_runs_closed" in store.db.write(plan)
    assert [store.find_run(world.namespace, run_id=run_id) for run_id in old] == [None] * 3


@pytest.mark.parametrize(
    ("store", "meanwhile"), [(open_sqlite, 0), (open_postgresql, 8), (open_portable, 0)], indirect=["store"]
)
def test_a_commit_that_is_one_statement_leaves_time_for_something_else(
    store: SqlStore, world: World, meanwhile: int
) -> None:
    run = world.start()
    calls: list[None] = []
    for number in range(10):  # psycopg prepares what comes for the fifth time
        commit = world.a_commit(world.read(run), SignalReceived(str(number)))
        assert store.commit_meanwhile(commit, lambda: calls.append(None)) == "committed"
        assert store.commit_meanwhile(commit, lambda: None) == "conflict"
    assert len(calls) == meanwhile
    assert world.read(run).version == 11
