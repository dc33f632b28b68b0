"""No transaction locks a run when it has locked one of its rows already, so that no two wait for each other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import Fence
from celeriac.orchestrator.status import TaskKind, WorkflowStatus
from celeriac.stores.sql import SqlStore, migrate
from celeriac.testing.contract.world import MINUTE, World, wait_until_passed

_LOCKS = re.compile(r"^(?:UPDATE|DELETE FROM)\s+celeriac_(\w+)|^SELECT.*?FROM celeriac_(\w+).*FOR UPDATE", re.DOTALL)


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    """On the path that all databases share: there each lock is a statement of its own."""
    migrate(postgres_url)
    store = SqlStore(postgres_url, fast_path=False)
    yield store
    store.close()


@pytest.fixture
def locks(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The tables in which each transaction has locked rows, in order."""
    found: list[list[str]] = []
    begin = store.db.driver.begin

    def begun(connection: object, cursor: object) -> None:
        found.append([])
        begin(connection, cursor)

    def ran(text: str) -> None:
        locked = _LOCKS.match(text)
        if locked and found:
            found[-1].append(next(name for name in locked.groups() if name))

    monkeypatch.setattr(store.db.driver, "begin", begun)
    store.db.trace = ran
    return found


def test_a_run_is_locked_before_its_rows(store: SqlStore, locks: list[list[str]]) -> None:
    world = World(store, store, wait_until_passed)
    run = world.scheduled(due_at=store.now() - 1)
    fence = world.claim(run).fence
    store.renew([fence], lease=MINUTE)
    store.heartbeat(fence, {})
    store.requeue(fence, delay=0, grace=0, next_attempt=False)
    world.due()
    fence = world.claim(run).fence
    world.signal(run)
    store.settle(fence, world.message("outcome"))
    view = world.begin(run)
    store.release_turn(run.run_id, token="turn", delay=0, blocked={"reason": "no code"})
    store.set_status(run.run_id, WorkflowStatus.PAUSED)
    store.set_status(run.run_id, WorkflowStatus.RUNNING)
    view = world.begin(run)
    world.commit(
        view.run,
        (SignalReceived("s"), "key"),
        consumed=[1, 2],
        tasks=[world.activity(run, 2), world.timer(run, 3)],
        turn_token="turn",
    )
    claimed = world.claim(run, 2).fence
    run = world.commit(run, settles=claimed, dropped=[(TaskKind.TIMER, 3)], canceling=[7])
    state = store.load(world.namespace, run.workflow_id)
    assert state is not None
    store.save(state)
    run = world.commit(run, status=WorkflowStatus.COMPLETED)
    other = world.closed()
    store.delete(world.namespace, run.workflow_id)
    assert store.purge(world.namespace, closed_before=store.now() + 1, limit=5) == 1
    assert store.settle(Fence(other.run_id, TaskKind.ACTIVITY, 1, ""), world.message()).run is None
    held = [each for each in locks if len(set(each)) > 1]
    assert len(held) > 8, locks
    for tables in held:
        assert "runs" not in tables[next(place for place, table in enumerate(tables) if table != "runs") :], tables
