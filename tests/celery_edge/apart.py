"""An app whose workflows and activities have queues of their own, by settings; and one of whose tasks can't be annotated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from celery import Celery, Task
from celery.signals import before_task_publish

from celeriac import Celeriac, WorkflowContext, shared_activity, shared_workflow

if TYPE_CHECKING:
    from nowhere import Nothing  # type: ignore[import-not-found]

TENANT = {"name": ""}


class TenantTask(Task):
    """Sends the tenant along, as libraries for tenants do: in a header that is added when a message is sent."""

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        headers = {"tenant": TENANT["name"], **(options.pop("headers", None) or {})}
        return super().apply_async(args, kwargs, headers=headers, **options)


@shared_activity
def lent(x: int) -> int:
    return x * 3


@shared_workflow(name="reusable.flow")
async def reusable(ctx: WorkflowContext, x: int) -> int:
    return await ctx.execute_activity(lent, x)


app = Celery("apart", task_cls=TenantTask)
durable = Celeriac(app, lease=1, republish_after=2)
app.config_from_object(
    {
        "broker_url": os.environ["EDGE_BROKER"],
        "result_backend": os.environ["EDGE_BROKER"],
        "celeriac_store": os.environ["EDGE_STORE"],
        "celeriac_workflow_queue": "flows",
        "celeriac_activity_queue": "activities",
        "task_default_queue": "rest",
        "task_routes": {"tests.celery_edge.apart.routed": {"queue": "routed"}},
        "broker_connection_retry_on_startup": True,
    }
)


@before_task_publish.connect
def trace(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers.setdefault("seen", [])


@durable.activity(bind=True)
def declared(self: Any, x: int) -> list[Any]:
    return [x, self.request.headers.get("tenant"), self.request.delivery_info["routing_key"]]


@app.task(bind=True)
def plain(self: Any, x: int) -> list[Any]:
    return [x, self.request.headers.get("tenant"), self.request.delivery_info["routing_key"]]


@durable.activity(queue="special", bind=True)
def special(self: Any, x: int) -> list[Any]:
    return [x, self.request.headers.get("tenant"), self.request.delivery_info["routing_key"]]


@app.task
def unannotated(x: Nothing) -> Nothing:
    return x


@durable.workflow
async def around(ctx: WorkflowContext) -> list[Any]:
    return [await ctx.execute_activity(each, n) for n, each in enumerate((declared, plain, special))]


@durable.workflow
async def routed(ctx: WorkflowContext) -> list[Any]:
    await ctx.sleep(0.1)
    return await ctx.execute_activity(declared, 1)
