"""Several apps in one process, as in a test suite or a process that talks to two shops."""

from __future__ import annotations

from typing import Any

from celery import Celery

from celeriac import WorkflowContext
from celeriac.app import Celeriac


def test_each_app_has_its_own_workflows_and_activities() -> None:
    apps = [Celery(name, set_as_current=False) for name in ("north", "south")]
    owners: dict[str, tuple[Any, Any, Any]] = {}
    for app in apps:
        durable = Celeriac(app)

        async def fulfil(ctx: WorkflowContext, shop: str = app.main) -> str:
            return shop

        def charge(shop: str = app.main) -> str:
            return shop

        owners[app.main] = (
            durable.workflow(name="fulfil")(fulfil),
            durable.activity(name="charge")(charge),
            fulfil,
        )

    for app in apps:
        app.finalize()
        workflow, activity, fn = owners[app.main]
        assert app.tasks["fulfil"].definition.fn is fn
        assert app.tasks["charge"].run() == app.main
        assert workflow.app is activity.app is app
