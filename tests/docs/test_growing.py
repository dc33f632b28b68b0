"""What the page on growing shows is what works: its YAML, its query, its partitions, a store that may only be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, text

from celeriac import LocalExecutor, WorkflowContext
from celeriac.errors import StoreUnavailable
from celeriac.orchestrator.definition import Registry, WorkflowDefinition
from celeriac.orchestrator.model import SECOND, RunFilter
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.stores.sql import SqlStore, migrate
from celeriac.testing.contract.committing import Committing
from celeriac.testing.contract.starting import Starting
from celeriac.testing.contract.world import World, wait_until_passed
from tests.docs.pages import DOCS, blocks

PAGE = DOCS / "how-to" / "growing.md"


@pytest.fixture
def url(postgres_url: str) -> str:
    migrate(postgres_url)
    return postgres_url


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    store = SqlStore(url)
    yield store
    store.close()


def scaled_object() -> dict[str, Any]:
    (block,) = blocks(PAGE, "yaml")
    (document,) = yaml.safe_load_all(block.text)
    assert isinstance(document, dict)
    return document


def test_the_scaled_object_is_one() -> None:
    document = scaled_object()
    assert (document["apiVersion"], document["kind"]) == ("keda.sh/v1alpha1", "ScaledObject")
    assert document["spec"]["minReplicaCount"] >= 1  # a relay has to be there
    redis, postgresql = document["spec"]["triggers"]
    assert redis["type"] == "redis"
    assert {"address", "listName", "listLength"} <= redis["metadata"].keys()
    assert postgresql["type"] == "postgresql"
    assert {"connectionFromEnv", "query", "targetQueryValue"} <= postgresql["metadata"].keys()
    for trigger in (redis, postgresql):
        assert all(isinstance(each, str) for each in trigger["metadata"].values())  # as Kubernetes wants them


def test_its_query_counts_what_has_waited_for_two_seconds(store: SqlStore, url: str) -> None:
    world = World(store, store, wait_until_passed)
    world.namespace = "shop"
    query = scaled_object()["spec"]["triggers"][1]["metadata"]["query"]
    run = world.start()
    now = store.now()
    waited = {  # seconds since it was published; due again after ten
        1: 0,
        2: 1,
        3: 3,
        4: 11,
        5: -3600,  # a retry in an hour
        6: 5,  # claimed below
    }
    activities = [
        world.activity(run, seq, due_at=now + (10 - each) * SECOND, published=1) for seq, each in waited.items()
    ]
    world.begin(run)
    world.commit(run, tasks=activities, turn_token="token")
    world.claim(run, 6)
    late = world.row(run, seq=4)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text(query)) == 2
        store.postpone(late, delay=60 * SECOND, published=late.published + 1)  # as a relay does that finds it late
        assert connection.scalar(text(query)) == 2
        assert connection.scalar(text(query.replace("'shop'", "'other'"))) == 0
    engine.dispose()


def partition(url: str) -> None:
    (block,) = blocks(PAGE, "sql")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(block.text)
    engine.dispose()


def test_events_move_into_partitions_with_what_they_hold(store: SqlStore, url: str) -> None:
    world = World(store, store, wait_until_passed)
    runs = [each.run for each in store.create_many([world.new() for _ in range(20)])]
    before = [list(store.history(run.run_id)) for run in runs]
    store.close()
    partition(url)
    assert [list(store.history(run.run_id)) for run in runs] == before
    assert {len(each) for each in before} == {1}
    migrate(url)  # finds nothing to do
    store.check()


@pytest.fixture(scope="module")
def partitioned(postgres_server: Any) -> Iterator[str]:
    url: str = postgres_server.create_database()
    migrate(url)
    partition(url)
    yield url
    postgres_server.drop_database(url)


class TestOnPartitions(Starting, Committing):
    """The rooms of the contract that write events."""

    rounds = 5

    @pytest.fixture
    def store(self, partitioned: str) -> Iterator[SqlStore]:
        store = SqlStore(partitioned)
        yield store
        store.close()


def test_a_store_that_may_only_be_read_shows_all_and_takes_nothing(store: SqlStore, url: str) -> None:
    async def flow(ctx: WorkflowContext) -> str:
        seen: list[str] = []

        @ctx.query
        def seen_so_far() -> list[str]:
            return seen

        while len(seen) < 3:
            seen.append(await ctx.wait_signal("more"))
        return "done"

    registry = Registry(workflows={"flow": WorkflowDefinition("flow", flow)})
    primary = LocalExecutor(registry, store, jump=False)
    handle = primary.execute("flow")
    handle.signal("more", "one")
    primary.drive(jump=False)

    replica = SqlStore(f"{url}?options=-c%20default_transaction_read_only%3Don")
    looking = LocalExecutor(registry, replica)
    try:
        replica.check()
        assert [run.run_id for run in looking.list(RunFilter())] == [handle.run_id]
        assert looking.describe(handle.id).status is WorkflowStatus.RUNNING
        assert list(looking.history(handle.id)) == list(handle.history())
        assert looking.query(handle.id, "seen_so_far") == ["one"]
        with pytest.raises(StoreUnavailable, match="read-only transaction"):
            looking.handle(handle.id).signal("more", "two")
        assert handle.query("seen_so_far") == ["one"]
    finally:
        replica.close()
