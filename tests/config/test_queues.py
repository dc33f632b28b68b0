"""Which queue a workflow or an activity goes to, as Celery's own router sees it."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from celeriac.config import PoolQueues, Settings, pool_routes, with_routes

WORKFLOWS = ("shop.fulfil",)
ACTIVITIES = ("shop.charge",)


def _queue(task_routes: Any, name: str) -> str:
    app = Celery("shop", set_as_current=False, task_routes=task_routes, task_default_queue="web")
    return str(app.amqp.router.route({}, name)["queue"].name)


def _router(name: str, *_args: Any, **_kwargs: Any) -> dict[str, str] | None:
    return {"queue": "own"} if name == "shop.fulfil" else None


APART = Settings.load(env={}, workflow_queue="workflows", activity_queue="activities")


def test_without_settings_celery_routes_as_ever() -> None:
    routes = pool_routes(Settings.load(env={}), WORKFLOWS, ACTIVITIES)
    assert routes == {}
    assert with_routes(None, routes) == []
    assert _queue(with_routes(None, routes), "shop.fulfil") == "web"


def test_each_pool_has_its_queue_where_the_settings_name_one() -> None:
    routes = pool_routes(APART, WORKFLOWS, ACTIVITIES)
    assert routes == {"shop.fulfil": {"queue": "workflows"}, "shop.charge": {"queue": "activities"}}
    names = ("shop.fulfil", "shop.charge", "shop.send_email")
    assert [_queue(with_routes(None, routes), name) for name in names] == ["workflows", "activities", "web"]


@pytest.mark.parametrize(
    "own",
    [
        {"shop.fulfil": {"queue": "own"}},
        {"shop.ful*": "own"},
        [{"shop.fulfil": "own"}],
        ([("shop.fulfil", {"queue": "own"})],),
        _router,
        [_router],
    ],
)
def test_what_the_app_says_of_a_workflow_wins(own: Any) -> None:
    routes = with_routes(own, pool_routes(APART, WORKFLOWS, ACTIVITIES))
    assert [_queue(routes, name) for name in ("shop.fulfil", "shop.charge")] == ["own", "activities"]


def test_the_routes_handed_in_are_left_as_they_are() -> None:
    own = [{"shop.fulfil": "own"}]
    with_routes(own, pool_routes(APART, WORKFLOWS, ACTIVITIES))
    assert own == [{"shop.fulfil": "own"}]


def test_the_pools_queues_fall_back_to_the_default_queue() -> None:
    assert PoolQueues.of(Settings.load(env={}), "web") == PoolQueues("web", "web")
    assert not PoolQueues.of(Settings.load(env={}), "web").apart
    assert PoolQueues.of(APART, "web") == PoolQueues("workflows", "activities")
    assert PoolQueues.of(APART, "web").apart
