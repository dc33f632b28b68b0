"""An app whose messages and results are YAML, and which takes nothing else."""

from __future__ import annotations

import os

from celery import Celery

from celeriac import Celeriac, WorkflowContext

# A worker asks at its start who else is there, here in YAML; those of other tests, in database 0, would log that they can't read it.
BROKER = f"{os.environ['EDGE_BROKER'].rpartition('/')[0]}/5"
app = Celery("yamlapp", broker=BROKER, backend=BROKER)
app.conf.update(task_default_queue="yaml", task_serializer="yaml", result_serializer="yaml", accept_content=["yaml"])
durable = Celeriac(app, store=os.environ["EDGE_STORE"], lease=1, republish_after=2)


@app.task
def existing(price: float, *, name: str) -> dict[str, object]:
    return {"price": price, "name": name}


@durable.activity
def declared(words: list[str]) -> str:
    return " ".join(words)


@durable.workflow
async def both(ctx: WorkflowContext, name: str) -> list[object]:
    first = await ctx.execute_activity(existing, 1.5, name=name)
    await ctx.wait_signal("go")
    return [first, await ctx.execute_activity(declared, ["a", "b"])]
