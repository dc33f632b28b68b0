"""Which statements are not about runs by their run id: what a database that is distributed by run id would have to ask everywhere."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celeriac.orchestrator.model import SECOND, IdReuse, RunFilter
from celeriac.orchestrator.ports import Store
from celeriac.orchestrator.status import TaskKind, WorkflowStatus
from celeriac.stores.sql import SqlStore, migrate
from celeriac.testing.contract.world import World, wait_until_passed
from tests.docs.pages import DOCS, first_cells

BY_RUN = re.compile(r"\brun_id = %\(run_id\)s|\brun_id(?: IN|=).*%\(run_id|(?:VALUES|SELECT) \(?%\(run_id\)s")
"""A condition on one run id, or a row that brings its own."""


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    migrate(postgres_url)
    store = SqlStore(postgres_url)
    yield store
    store.close()


@pytest.fixture
def world(store: SqlStore) -> World:
    return World(store, store, wait_until_passed)


class Traced:
    """The store, with each statement noted under the method that ran it."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.statements: defaultdict[str, set[str]] = defaultdict(set)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        return self._noting(name, attribute) if callable(attribute) else attribute

    def _noting(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            noted = self.statements[name]
            before, self._store.db.trace = self._store.db.trace, lambda text: noted.add(" ".join(text.split()))
            try:
                return method(*args, **kwargs)
            finally:
                self._store.db.trace = before

        return call

    def not_by_run(self) -> dict[str, set[str]]:
        found = {
            name: {text for text in texts if "celeriac_" in text and not BY_RUN.search(text)}
            for name, texts in self.statements.items()
        }
        return {name: texts for name, texts in found.items() if texts}


def everything(store: Any, world: World) -> None:
    """Call every method, in every way that leads to other statements."""
    world.store = world.second = store
    namespace = world.namespace
    store.check()
    run = world.start("a", start_key="key", turn_due=0)
    for other in (
        {"workflow_id": "a"},
        {"start_key": "key"},
        {"workflow_id": "b", "id_reuse": IdReuse.NEVER},
        {"workflow_id": "b", "id_reuse": IdReuse.AFTER_FAILURE},
    ):
        store.create(world.new(**other))
        store.create_many([world.new(**other), world.new()])
    world.signal(run, "one")
    store.deliver(world.message("two"), namespace=namespace, workflow_id="a")
    store.deliver(world.message("two"), namespace=namespace, workflow_id="a")
    store.deliver(world.message("three"), namespace=namespace, workflow_id="nobody")
    store.set_status(run.run_id, WorkflowStatus.PAUSED)
    store.set_status(run.run_id, WorkflowStatus.RUNNING)
    view = world.begin(run)
    world.commit(
        run,
        consumed=[each.number for each in view.inbox],
        tasks=[world.activity(run, 1), world.activity(run, 2, heartbeat=SECOND)],
        turn_token="token",
    )
    store.read_turn(run.run_id, known=None)
    store.read_turn(run.run_id, known=(run.epoch, 1))
    claims = [world.claim(run, 1), world.claim(run, 2)]
    store.renew([each.fence for each in claims], lease=SECOND)
    store.heartbeat(claims[1].fence, 1)
    store.requeue(claims[0].fence, delay=0, grace=0, next_attempt=False)
    store.settle(claims[1].fence, world.message("outcome"))
    store.release_turn(run.run_id, token="token", delay=0)
    store.wake_blocked(namespace)
    store.take_due(namespace, limit=10, hold=0)
    store.next_due(namespace)
    store.postpone(world.turn(run), delay=0, published=0)
    store.remove_task(run.run_id, TaskKind.FINISH, 0)
    store.hold_lease("lease", "holder", lease=SECOND)
    for which in ({"workflow_id": "a"}, {"run_id": run.run_id}, {"start_key": "key"}):
        store.find_run(namespace, **which)
    store.history(run.run_id)
    store.tasks(run.run_id)
    store.save(store.load(namespace, "a"))
    store.list(namespace, RunFilter(statuses=[WorkflowStatus.RUNNING], cursor=run.run_id))
    world.closed("gone")
    store.delete(namespace, "gone")
    world.closed("old")
    store.purge(namespace, closed_before=store.now() + SECOND, limit=10)


def test_the_page_names_every_statement_that_is_not_by_run_id(store: SqlStore, world: World) -> None:
    traced = Traced(store)
    everything(traced, world)
    methods = {name for name, member in vars(Store).items() if inspect.isfunction(member) and not name.startswith("_")}
    assert methods - traced.statements.keys() == {"close"}
    found = traced.not_by_run()
    told = first_cells(DOCS / "how-to" / "growing.md", "## A database distributed by run id")
    assert sorted(found) == sorted(told), found


@pytest.mark.parametrize("others", [0, 1, 50])
def test_no_call_about_a_run_is_planned_to_read_others(store: SqlStore, world: World, others: int) -> None:
    """A connection keeps the plan that it made when there were few runs, and then there may be many."""
    store.create_many([world.new() for _ in range(others)])
    traced = Traced(store)
    everything(traced, world)
    about_a_run = {
        (name, text)
        for name, texts in traced.statements.items()
        for text in texts
        if re.search(r"%\(p?_?(run_id|open_id)\)s", text) and "workflow_index = " not in text
    }
    assert len(about_a_run) > 40
    read_others = {
        (name, node["Relation Name"], condition)
        for name, text in about_a_run
        for node in _generic_plan(store, text)
        if not re.search(r"run_id = |open_id = ", condition := node.get("Index Cond") or node.get("Recheck Cond") or "")
    }
    assert read_others == set()


def _generic_plan(store: SqlStore, text: str) -> Iterator[dict[str, Any]]:
    """Return the nodes that read a table, of the plan that the server makes without looking at the parameters."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    for place, name in enumerate(names, 1):
        text = text.replace(f"%({name})s", f"${place}")

    def asked(session: Any) -> Any:
        session.cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        session.cursor.execute(f"PREPARE one AS {text}")
        session.cursor.execute(f"EXPLAIN (FORMAT JSON) EXECUTE one ({', '.join('NULL' for _ in names)})")
        plan = session.cursor.fetchone()[0][0]["Plan"]
        session.cursor.execute("DEALLOCATE one")
        return plan

    nodes = [store.db.write(asked)]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", ())
        if "Relation Name" in node and node["Node Type"] != "ModifyTable":
            yield node
