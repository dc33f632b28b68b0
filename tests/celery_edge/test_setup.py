"""How it is set up: queues, settings, apps, children, the worker's options."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
from celery import Celery, Task

from celeriac import Celeriac, ConfigurationError, WorkflowContext, shared_activity, shared_workflow
from celeriac.executors.celery.queues import queue_of
from tests.celery_edge.harness import Ledger, Worker, eventually, tale

HERE = "tests.celery_edge.flows"


# -- queues -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def apart(flows: Any) -> Any:
    import tests.celery_edge.apart as module

    return module


@pytest.fixture(scope="module")
def pools(apart: Any, start_worker: Any) -> tuple[Worker, Worker]:
    name = "tests.celery_edge.apart"
    return (
        start_worker("-Q", "flows,routed", app=name, name="flows", concurrency=1),
        start_worker("-Q", "activities,rest,special", app=name, name="activities", concurrency=1),
    )


def test_pools_apart(pools: Any, apart: Any) -> None:
    apart.TENANT["name"] = "acme"
    result = apart.around.delay()
    assert result.get(timeout=30) == [[0, "acme", "activities"], [1, "acme", "rest"], [2, "acme", "special"]]
    flows, activities = pools
    assert "Task celeriac.turn[" in flows.log
    assert "Task celeriac.turn[" not in activities.log
    for name in ("declared", "plain", "special"):
        assert f"Task tests.celery_edge.apart.{name}[" in activities.log
        assert f"Task tests.celery_edge.apart.{name}[" not in flows.log
    assert flows.troubles() + activities.troubles() == []


def test_a_route_of_the_apps_own_wins(pools: Any, apart: Any) -> None:
    assert queue_of(apart.app, apart.routed.name) == "routed"
    result = apart.routed.apply_async(headers={"tenant": "other"})
    assert result.get(timeout=30) == [1, "other", "activities"]
    assert apart.durable.client.describe(result.id).queue == "routed"


def test_no_queue_is_left_with_messages(pools: Any, apart: Any, edge_env: Any) -> None:
    with redis.Redis.from_url(edge_env["EDGE_BROKER"], decode_responses=True) as client:
        names = {"celery", "flows", "routed", "activities", "rest", "special"}
        before = {
            name: client.llen(name) for name in names
        }  # the default queue is other tests' too, and nobody serves it here
        apart.around.delay().get(timeout=30)
        eventually(lambda: [name for name in names if client.llen(name) > before[name]], lambda left: left == [])


def test_a_task_whose_annotations_can_not_be_read_is_served_all_the_same(pools: Any, apart: Any) -> None:
    assert apart.unannotated.apply_async((4,), ignore_result=False).get(timeout=30) == 4


def test_what_is_shared_is_part_of_each_app(pools: Any, apart: Any) -> None:
    assert apart.app.tasks["reusable.flow"].delay(14).get(timeout=30) == 42


# -- children and options -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_children_of_one_task_each(flows: Any, start_worker: Any, key: str) -> None:
    worker = start_worker("-Q", "short", "--max-tasks-per-child", "1", concurrency=2)
    count = 6  # which makes 24 tasks
    call = f"{HERE}.plain"
    results = [flows.one.apply_async((call, [key, n], {"queue": "short"}), queue="short") for n in range(count)]
    assert [each.handle.result(timeout=100) for each in results] == [n + 1 for n in range(count)]
    assert [each.get(timeout=30) for each in results] == [n + 1 for n in range(count)]
    assert worker.troubles() == []
    assert "waits for the store" not in worker.log
    worker.stop()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_an_activity_may_give_way_to_a_worker_that_stops(
    flows: Any, start_worker: Any, ledger: Ledger, key: str, pool: str
) -> None:
    first = start_worker("-Q", f"stopping-{pool}", pool=pool, concurrency=1)
    options = {"queue": f"stopping-{pool}"}
    started = flows.one.apply_async((f"{HERE}.giving_way", [key], options), **options)
    ledger.has(key, 1)
    assert first.stop() < 15
    start_worker("-Q", f"stopping-{pool}", pool=pool, concurrency=1)
    assert started.handle.result(timeout=30) == "whole"
    assert ledger.read(key) == ["half", "the rest"]
    assert "activity_started activity=1" in tale(started.handle)


def test_without_celeriac_there_is_no_relay_but_messages_are_carried_out(
    flows: Any, start_worker: Any, ledger: Ledger, key: str
) -> None:
    bare = start_worker("-Q", "bareback", "--without-celeriac", concurrency=1)
    result = flows.one.apply_async((f"{HERE}.plain", [key, 1], {"queue": "bareback"}), queue="bareback")
    assert result.get(timeout=30) == 2
    assert ledger.read(key) == ["ran"]
    assert "durable workflows: namespace" not in bare.log


def test_messages_are_in_the_apps_own_serializer(start_worker: Any, flows: Any) -> None:
    from tests.celery_edge import yamlapp

    worker = start_worker(app="tests.celery_edge.yamlapp", concurrency=1)
    result = yamlapp.both.delay("Ö")
    result.signal("go")
    assert result.get(timeout=30) == [{"price": 1.5, "name": "Ö"}, "a b"]
    assert worker.troubles() == []


def test_a_worker_tells_of_settings_that_would_break_the_promises(start_worker: Any) -> None:
    careless = "tests.celery_edge.careless"
    first = start_worker(app=careless, concurrency=1)
    first.says(
        "task 'tests.celery_edge.careless.encode' may take 7200 s, but after 3600 s Redis delivers its message again; set "
        "app.conf.broker_transport_options = {'visibility_timeout': 8640}"
    )
    second = start_worker("-n", "second@there", app=careless, concurrency=1)
    second.says(
        "the store is an SQLite file, which is for one machine, but workers run on there and on here; move to PostgreSQL "
        "unless these are names of one machine"
    )
    assert "is for one machine" not in first.log


# -- settings -------------------------------------------------------------------------------------------------------------


def test_settings_are_read_late_and_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Celery("late", set_as_current=False)
    durable = Celeriac(app, relay_batch=7)
    assert not app.configured
    assert not app.finalized
    app.config_from_object({"celeriac_store": "sqlite:///late.db", "celeriac_lease": 3, "broker_url": "memory://"})
    monkeypatch.setenv("CELERIAC_CACHE_RUNS", "5")
    settings = durable.settings
    assert (settings.store, settings.lease.total_seconds()) == ("sqlite:///late.db", 3)
    assert (settings.relay_batch, settings.cache_runs) == (7, 5)
    assert durable.runtime.namespace == "late"


def test_settings_in_djangos_way() -> None:
    module = ModuleType("settings")
    module.CELERY_BROKER_URL = "memory://"  # type: ignore[attr-defined]
    module.CELERY_CELERIAC_STORE = "sqlite:///django.db"  # type: ignore[attr-defined]
    module.CELERY_CELERIAC_NAMESPACE = "web"  # type: ignore[attr-defined]
    app = Celery("django", set_as_current=False)
    durable = Celeriac(app)
    app.config_from_object(module, namespace="CELERY")
    assert durable.settings.store == "sqlite:///django.db"
    assert durable.runtime.namespace == "web"


def test_a_missing_store_says_how_to_name_one() -> None:
    durable = Celeriac(Celery("none", broker="memory://", set_as_current=False))

    @durable.workflow
    async def flow(ctx: WorkflowContext) -> None: ...

    with pytest.raises(ConfigurationError, match=r"no store is configured\. Say where workflows are kept"):
        flow.delay()


def test_attaching_twice_is_told() -> None:
    app = Celery("twice", set_as_current=False)
    Celeriac(app)
    with pytest.raises(ConfigurationError, match="celeriac is attached to the app 'twice' already"):
        Celeriac(app)


# -- apps -----------------------------------------------------------------------------------------------------------------


def test_two_apps_in_one_process_share_nothing(edge_env: Any) -> None:
    def make(name: str) -> tuple[Celery, Celeriac, Any]:
        app = Celery(name, broker=edge_env["EDGE_BROKER"], backend=edge_env["EDGE_BROKER"], set_as_current=False)
        app.conf.task_default_queue = f"two-{name}"
        durable = Celeriac(app, store=edge_env["EDGE_STORE"])

        @durable.workflow(name="same.name")
        async def flow(ctx: WorkflowContext) -> str:
            return name

        return app, durable, flow

    (left, durable_left, flow_left), (right, durable_right, flow_right) = make("left"), make("right")
    first = flow_left.apply_async(workflow_id="the same")
    second = flow_right.apply_async(workflow_id="the same")
    assert first.run_id != second.run_id
    assert durable_left.handle("the same").run_id == first.run_id
    assert durable_right.handle("the same").run_id == second.run_id
    for app, durable in ((left, durable_left), (right, durable_right)):
        with app.connection_for_read() as connection:
            assert connection.default_channel._size(app.conf.task_default_queue) == 1
        durable.client.terminate("the same")
        durable.close()
        app.close()


def test_shared_definitions_reach_apps_attached_before_and_after() -> None:
    early = Celery("early", broker="memory://", set_as_current=False)
    Celeriac(early)
    early.finalize()

    @shared_activity(name="shop.tax")
    def tax(cents: int) -> int:
        return cents * 119 // 100

    @shared_workflow(name="shop.bill")
    async def bill(ctx: WorkflowContext, cents: int) -> int:
        return await ctx.execute_activity("shop.tax", cents)

    late = Celery("late", broker="memory://", set_as_current=False)
    Celeriac(late)
    attached_late = Celery("attached late", broker="memory://", set_as_current=False)
    attached_late.finalize()
    assert "shop.bill" not in attached_late.tasks
    Celeriac(attached_late)
    never = Celery("never", broker="memory://", set_as_current=False)
    for app in (early, late, attached_late):
        app.conf.task_always_eager = True
        assert app.tasks["shop.bill"].app is app
        assert app.tasks["shop.bill"].delay(100).get() == 119
    assert "shop.bill" not in never.tasks


def test_workflow_modules_are_discovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "discovered_shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "workflows.py").write_text(
        "from celeriac import shared_workflow\n\n@shared_workflow\nasync def found(ctx): return 'found'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    app = Celery("discovering", broker="memory://", set_as_current=False)
    app.conf.task_always_eager = True
    durable = Celeriac(app)
    durable.autodiscover(["discovered_shop"])
    assert "discovered_shop.workflows" not in sys.modules
    app.loader.import_default_modules()
    assert app.tasks["discovered_shop.workflows.found"].delay().get() == "found"


def test_an_apps_own_task_class_is_kept() -> None:
    class OwnTask(Task):
        pass

    class OtherTask(Task):
        pass

    app = Celery("own", broker="memory://", task_cls=OwnTask, set_as_current=False)
    durable = Celeriac(app)

    @durable.workflow
    async def flow(ctx: WorkflowContext) -> None: ...

    @durable.activity
    def activity() -> None: ...

    @durable.activity(base=OtherTask)
    def other() -> None: ...

    @durable.workflow(base=OtherTask)
    async def other_flow(ctx: WorkflowContext) -> None: ...

    assert isinstance(flow, OwnTask)
    assert isinstance(activity, OwnTask)
    assert isinstance(other, OtherTask)
    assert not isinstance(other, OwnTask)
    assert isinstance(other_flow, OtherTask)


def test_options_by_name_do_not_finalize_the_app() -> None:
    app = Celery("lazy", broker="memory://", set_as_current=False)
    durable = Celeriac(app)
    named = durable.options("shop.charge", timeout=3)
    assert not app.finalized
    with pytest.raises(TypeError, match=r"an activity has no option 'timout'\. Did you mean 'timeout'\?"):
        durable.options("shop.charge", timout=3)

    @durable.activity(name="shop.charge")
    def charge() -> int:
        return 1

    assert durable.runtime.registry.activity(named).options.start_to_close == 3
