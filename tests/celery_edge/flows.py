"""The app that the workers of these tests run: activities that end in every way there is, and workflows that use them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import redis
from celery import Celery, Task, chain, current_task, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.worker.control import control_command
from celery.worker.state import revoked
from pydantic import BaseModel

from celeriac import (
    ActivityCanceled,
    ActivityError,
    Celeriac,
    InvalidCall,
    NonRetryable,
    RetryPolicy,
    WorkflowContext,
    activity_context,
    activity_running,
)

app = Celery("edge", broker=os.environ["EDGE_BROKER"], backend=os.environ["EDGE_BROKER"])
app.conf.update(
    task_send_sent_event=True,
    task_track_started=True,
    broker_connection_retry_on_startup=True,
    result_chord_retry_interval=0.1,
    broker_transport_options={"visibility_timeout": 3600},
    worker_hijack_root_logger=True,
)
durable = Celeriac(app, store=os.environ["EDGE_STORE"], lease=1, republish_after=2)
LEDGER: redis.Redis = redis.Redis.from_url(os.environ["EDGE_LEDGER"], decode_responses=True)

TWICE = RetryPolicy(max_attempts=2, initial_interval=0.05, jitter=0)
ONCE = RetryPolicy.never()


def note(key: str, what: Any) -> int:
    """Write a line into the ledger and return how many there are now."""
    return int(LEDGER.rpush(f"ledger:{key}", str(what)))


def hold(key: str) -> None:
    """Wait until the test lets go of this key."""
    LEDGER.blpop([f"gate:{key}"], 30)


# -- workflows ---------------------------------------------------------------------------------------------------------


@durable.workflow
async def one(ctx: WorkflowContext, activity: str, args: list[Any], options: dict[str, Any] | None = None) -> Any:
    """Run one activity and return what it returns."""
    return await ctx.execute_activity(durable.options(activity, **(options or {})), *args)


@durable.workflow
async def told(ctx: WorkflowContext, activity: str, args: list[Any], options: dict[str, Any] | None = None) -> Any:
    """Run one activity and tell how it ended."""
    try:
        return await ctx.execute_activity(durable.options(activity, **(options or {})), *args)
    except ActivityError as error:
        return {"type": error.type, "attempts": error.attempts, "message": error.failure["message"]}
    except asyncio.CancelledError:
        return "canceled"


@durable.workflow
async def many(
    ctx: WorkflowContext, activity: str, calls: list[list[Any]], options: dict[str, Any] | None = None
) -> list[Any]:
    """Run one activity many times, side by side."""
    each = durable.options(activity, **(options or {}))
    return list(await asyncio.gather(*(ctx.execute_activity(each, *args) for args in calls)))


def toiling(key: str) -> str:
    """Take more CPU time than a turn may, and then longer than the lease."""
    note(key, "toiled")
    until = time.thread_time() + 0.7
    while time.thread_time() < until:
        pass
    time.sleep(1.5)
    return activity_context().activity


async def fetching(key: str, number: int) -> int:
    """Wait, as coroutines do."""
    await asyncio.sleep(0.01)
    note(key, f"fetched {number}")
    return number


@durable.workflow
async def nearby(ctx: WorkflowContext, key: str) -> list[Any]:
    """Call functions and tasks in the turn itself."""
    return [
        *await asyncio.gather(*(ctx.execute_local_activity(fetching, key, each) for each in range(3))),
        await ctx.execute_local_activity(toiling, key),
        await ctx.execute_activity(plain, key, 1),
        await ctx.execute_local_activity(plain, key, 2),
        await ctx.execute_local_activity(durable.options(failing, retry=TWICE), key, 7),
    ]


# -- the outcome table: existing tasks, which know nothing of workflows -------------------------------------------------


@app.task
def plain(key: str, x: int) -> int:
    note(key, "ran")
    return x + 1


@app.task
def failing(key: str, times: int) -> str:
    count = note(key, "ran")
    if count <= times:
        raise ValueError(f"no {count}")
    return f"yes {count}"


@app.task(bind=True, max_retries=5)
def retrying(self: Any, key: str, rounds: int, countdown: float) -> str:
    note(key, f"retries {self.request.retries}")
    if self.request.retries < rounds:
        raise self.retry(countdown=countdown)
    return f"round {self.request.retries}"


@app.task(bind=True, max_retries=1)
def giving_up(self: Any, key: str) -> str:
    note(key, f"retries {self.request.retries}")
    raise self.retry(countdown=0, exc=KeyError("never"))


@app.task(autoretry_for=(ConnectionError,), retry_backoff=False, default_retry_delay=0, max_retries=2)
def autoretrying(key: str, times: int) -> str:
    count = note(key, "ran")
    if count <= times:
        raise ConnectionError(f"down {count}")
    return f"up {count}"


@app.task
def ignoring(key: str) -> None:
    note(key, "ran")
    raise Ignore


@app.task
def rejecting(key: str) -> None:
    note(key, "ran")
    raise Reject("not mine", requeue=False)


@app.task(acks_late=True)
def requeueing(key: str) -> str:
    if note(key, "ran") == 1:
        raise Reject("not now", requeue=True)
    return "second time"


@app.task
def requeueing_early(key: str) -> str:
    if note(key, "ran") == 1:
        raise Reject("not now", requeue=True)
    return "second time"


@app.task(bind=True)
def replaced(self: Any, key: str, how: str) -> Any:
    note(key, "ran")
    if how == "chain":
        return self.replace(chain(plain.s(key, 1), added.s(key, 10)))
    if how == "failing":
        return self.replace(failing.s(key, 99))
    if how == "slow":
        return self.replace(slow.s(key, 4.0))
    return self.replace(plain.s(key, 1))


@app.task
def added(x: int, key: str, y: int) -> int:
    note(key, "added")
    return x + y


@app.task
def slow(key: str, seconds: float) -> str:
    note(key, "ran")
    time.sleep(seconds)
    note(key, "over")
    return "slept"


@app.task(soft_time_limit=30)
def in_time(key: str) -> str:
    note(key, "ran")
    return "in time"


@app.task(soft_time_limit=1)
def soft(key: str, times: int) -> str:
    count = note(key, "ran")
    if count <= times:
        while True:
            time.sleep(0.05)
    return f"quick {count}"


@app.task(soft_time_limit=1)
def soft_caught(key: str) -> str:
    note(key, "ran")
    try:
        while True:
            time.sleep(0.05)
    except SoftTimeLimitExceeded:
        return "cut short"


@app.task(time_limit=1)
def hard(key: str, times: int) -> str:
    count = note(key, "ran")
    if count <= times:
        time.sleep(30)
    return f"quick {count}"


@app.task(autoretry_for=(ConnectionError,), default_retry_delay=0)
def autoretrying_killed(key: str, times: int) -> str:
    return killed(key, times)


@app.task
def killed(key: str, times: int) -> str:
    count = note(key, "ran")
    if count <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"survived {count}"


@app.task(expires=1)
def perishable(key: str) -> str:
    note(key, "ran")
    return "fresh"


@app.task(bind=True)
def bound(self: Any, key: str, x: int) -> str:
    note(key, self.request.id)
    return f"{self.name} {x}"


class Order(BaseModel):
    id: str
    cents: int


@app.task(pydantic=True)
def modelled(key: str, order: Order) -> Order:
    note(key, type(order).__name__)
    return Order(id=order.id, cents=order.cents + 1)


@app.task(rate_limit="2/s")
def limited(key: str, x: int) -> int:
    note(key, x)
    return x


class Loud(Task):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        note(args[0], "called")
        return super().__call__(*args, **kwargs)


@app.task(base=Loud)
def loud(key: str) -> str:
    note(key, "ran")
    return "loud"


class Shouting(Loud):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return f"{super().__call__(*args, **kwargs)}!"


@app.task(base=Shouting)
def shouting(key: str) -> str:
    note(key, "ran")
    return "ho"


# -- the same, declared as activities ------------------------------------------------------------------------------------


@durable.activity
def charge(key: str, cents: int) -> dict[str, Any]:
    note(key, f"attempt {activity_context().attempt}")
    return {"cents": cents}


@durable.activity(retry=TWICE)
def declining(key: str, times: int) -> str:
    attempt = activity_context().attempt
    note(key, f"attempt {attempt}")
    if attempt <= times:
        raise ValueError(f"declined {attempt}")
    return f"accepted {attempt}"


@durable.activity
def refusing(key: str) -> None:
    note(key, "ran")
    raise NonRetryable("card stolen", details={"card": 7})


@durable.activity(bind=True, retry=ONCE, max_retries=3)
def patient(self: Any, key: str, rounds: int) -> str:
    note(key, f"attempt {activity_context().attempt} retries {self.request.retries}")
    if self.request.retries < rounds:
        raise self.retry(countdown=0)
    return "patient"


@durable.activity(bind=True)
def deputised(self: Any, key: str) -> Any:
    note(key, "ran")
    return self.replace(plain.s(key, 41))


@durable.activity
def model_activity(key: str, order: Order) -> Order:
    note(key, type(order).__name__)
    return Order(id=order.id, cents=order.cents * 2)


@durable.activity(timeout=60)
def giving_way(key: str) -> str:
    context = activity_context()
    if context.details == "half":
        note(key, "the rest")
        return "whole"
    context.heartbeat("half")
    note(key, "half")
    while not context.worker_stopping:
        time.sleep(0.02)
    raise Reject("the worker stops", requeue=True)


@durable.activity
async def awaiting(key: str, seconds: float) -> str:
    note(key, f"running {activity_running()}")
    await asyncio.sleep(seconds)
    return "awaited"


@durable.activity(bind=True)
async def naming(self: Any, key: str) -> list[str]:
    before = self.request.id
    await asyncio.sleep(0.05)
    return [before, self.request.id, current_task.name]


@durable.activity(timeout=timedelta(seconds=1), retry=TWICE)
def hanging(key: str, times: int) -> str:
    if note(key, "ran") <= times:
        time.sleep(30)
    return "done"


# -- activities that are asked to stop -----------------------------------------------------------------------------------


@durable.activity(heartbeat=timedelta(seconds=20))
def beating(key: str, beats: int) -> str:
    context = activity_context()
    note(key, f"attempt {context.attempt} from {context.details}")
    try:
        for beat in range(beats):
            context.heartbeat(beat)
            time.sleep(0.05)
    except ActivityCanceled:
        note(key, "canceled")
        raise
    return "beaten"


@durable.activity(retry=TWICE)
def handing_on(key: str) -> Any:
    """Fails once, halfway, and finds its progress again."""
    context = activity_context()
    note(key, context.details)
    if context.details is None:
        context.heartbeat({"page": 7})
        raise ValueError("halfway")
    return context.details


@durable.activity
async def sleeping(key: str, seconds: float) -> str:
    note(key, "ran")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note(key, "canceled")
        raise
    return "slept"


@durable.activity
def gated(key: str) -> str:
    """Waits, without a heartbeat, until the test lets it go."""
    note(key, f"attempt {activity_context().attempt}")
    hold(key)
    return "through"


@durable.workflow
async def giving_up_soon(ctx: WorkflowContext, activity: str, args: list[Any], wait: bool) -> Any:
    """Run one activity and cancel it when the signal comes."""
    cancellation = "wait" if wait else "try"
    running = ctx.execute_activity(durable.options(activity, cancellation=cancellation), *args)
    await ctx.wait_signal("enough")
    running.cancel()
    try:
        return await running
    except asyncio.CancelledError:
        return "gave up"


# -- canvas ----------------------------------------------------------------------------------------------------------------


@app.task
def prepare(x: int) -> int:
    return x + 1


@app.task
def report(x: Any) -> str:
    return f"report: {x}"


@app.task
def total(xs: list[int]) -> int:
    return sum(xs)


@app.task
def apology(request: Any, error: BaseException, trace: Any) -> None:
    note(f"apology:{request.id}", f"{type(error).__name__}: {error}")


@app.task
def letter(task_id: str) -> None:
    note(f"letter:{task_id}", "sorry")


@durable.activity
def doubled(x: int) -> int:
    return x * 2


@durable.workflow
async def double(ctx: WorkflowContext, x: int) -> int:
    return await ctx.execute_activity(doubled, x)


@durable.workflow
async def summed(ctx: WorkflowContext, xs: list[int]) -> int:
    return await ctx.execute_activity(total, xs)


VALUES: dict[str, Any] = {
    "tuple": (1, (2, 3)),
    "set": {3, 1, 2},
    "frozenset": frozenset({"a"}),
    "numbered": {1: 2, None: 3},
    "paired": {(1, 2): 3},
    "tag": {"__type__": "car", "__value__": 1},
    "timedelta": timedelta(minutes=1.5),
    "infinite": float("inf"),
    "bytes": b"\xffab",
    "datetime": datetime(2026, 11, 27, 22, 33, tzinfo=UTC),
    "decimal": Decimal("1.10"),
    "uuid": UUID(int=17),
    "deep": [{"a": (1, {2})}],
}
"""One of each kind that is recorded without an annotation."""


@durable.workflow
async def untyped(ctx: WorkflowContext, kind: str) -> Any:
    return VALUES[kind]


@app.task
def typed(key: str, value: Any) -> None:
    note(key, repr(value))


@durable.workflow
async def handing(ctx: WorkflowContext, key: str, kind: str) -> None:
    await ctx.execute_activity(typed, key, VALUES[kind])


@durable.workflow
async def nesting(ctx: WorkflowContext) -> str:
    try:
        await ctx.execute_activity(double, 1)
    except InvalidCall as error:
        return str(error)
    return "accepted"


@durable.workflow
async def compensating(ctx: WorkflowContext, *args: Any) -> None:
    ctx.side_effect(lambda: note(f"compensated:{args[-1] if args else ctx.workflow_id}", "done"))


@durable.workflow(queue="aside")
async def aside(ctx: WorkflowContext) -> None:
    """Nobody serves its queue."""


@durable.workflow
async def stumbling(ctx: WorkflowContext, x: int) -> int:
    await ctx.execute_activity(doubled, x)
    raise ValueError(f"stumbled over {x}")


@durable.workflow
async def ordered(ctx: WorkflowContext, order: Order, tags: set[str]) -> Order:
    return Order(id=f"{order.id} {' '.join(sorted(tags))}", cents=order.cents)


@durable.workflow
def parked(ctx: WorkflowContext, key: str) -> Any:
    """Wait for a signal, in plain code, and tidy up when canceled."""
    ctx.side_effect(lambda: note(key, "parked"))
    try:
        return ctx.wait_signal("go").result()
    except asyncio.CancelledError:
        ctx.side_effect(lambda: note(key, "tidying"))
        ctx.execute_activity(plain, key, 1).result()
        raise


@durable.workflow
async def ticked(ctx: WorkflowContext, key: str) -> str:
    return key


app.conf.beat_schedule = {
    "tick": {"task": "tests.celery_edge.flows.ticked", "schedule": 1.0, "args": ("by beat",)},
    "perishable": {
        "task": "tests.celery_edge.flows.ticked",
        "schedule": 1.0,
        "args": ("by beat, for a while",),
        "options": {"expires": 60},
    },
}


# -- whose process is ended at its own message -----------------------------------------------------------------------------


def faltering(key: str, how: str) -> str:
    """Never come to an end, or have the process killed, the first time."""
    if note(key, "begun") == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(30)
    return "done"


@durable.workflow
async def faltering_once(ctx: WorkflowContext, key: str, how: str) -> str:
    return await ctx.execute_local_activity(faltering, key, how)


@durable.workflow(acks_late=False)
async def faltering_early(ctx: WorkflowContext, key: str, how: str) -> str:
    return await ctx.execute_local_activity(faltering, key, how)


@durable.workflow(time_limit=1)
async def faltering_at_last(ctx: WorkflowContext, key: str) -> str:
    return await ctx.execute_activity(in_time, key)


@signals.task_prerun.connect(sender=faltering_at_last)
def hang_at_last(task: Any, **_: Any) -> None:
    """Have the last message hang the first time that it comes."""
    finish = (task.request.headers or {}).get("celeriac", {}).get("finish")
    if finish and note(f"last:{task.request.id}", "came") == 1:
        time.sleep(30)


@durable.workflow
async def failing_at_once(ctx: WorkflowContext, key: str) -> None:
    raise ValueError(f"no {key}")


# -- what workflow code must not do ------------------------------------------------------------------------------------


@durable.workflow
async def forbidden(ctx: WorkflowContext, how: str) -> Any:  # noqa: PLR0911
    match how:
        case "activity":
            return charge("A", 1)
        case "task":
            return plain("A", x=1)
        case "delay":
            return plain.delay("A", 1)
        case "send_task":
            return app.send_task("tests.celery_edge.flows.plain", ("A", 1))
        case "canvas":
            return chain(plain.s("A", 1), report.s()).apply_async()
        case "workflow":
            return double.delay(1)
        case "caught":
            try:
                plain.apply(("A", 1))
            except BaseException:  # noqa: BLE001
                return "caught"
    with ctx.unsafe():
        return str(plain.s("A", 1))


@durable.workflow
def forbidden_plain(ctx: WorkflowContext) -> Any:
    return charge("A", cents=1)


@control_command(args=[("task_id", str)])
def edge_forget(state: Any, task_id: str) -> dict[str, str]:
    """Put an id into the worker's list of revoked ones, past everybody."""
    revoked.add(task_id)
    return {"ok": task_id}


# -- for every pool ----------------------------------------------------------------------------------------------------


@durable.workflow
async def varied(ctx: WorkflowContext, key: str) -> list[Any]:
    """Three activities of three kinds, a timer and a signal."""
    first = await ctx.execute_activity(plain, key, 1)
    both = await asyncio.gather(ctx.execute_activity(awaiting, key, 0.05), ctx.execute_activity(charge, key, 5))
    await ctx.sleep(0.1)
    return [first, *both, await ctx.wait_signal("go")]


@durable.workflow
def varied_plainly(ctx: WorkflowContext, key: str) -> list[Any]:
    """The same in plain code."""
    first = ctx.execute_activity(plain, key, 1).result()
    running = [ctx.execute_activity(awaiting, key, 0.05), ctx.execute_activity(charge, key, 5)]
    both = [each.result() for each in running]
    ctx.sleep(0.1)
    return [first, *both, ctx.wait_signal("go").result()]


@durable.workflow
async def chatty(ctx: WorkflowContext, n: int) -> int:
    for turn in range(3):
        ctx.logger.info("turn %d of %d", turn, n)
        logging.getLogger("edge").warning("turn %d of %d", turn, n)
        n = await ctx.execute_activity(doubled, n)
    return n


@durable.workflow
async def stuck(ctx: WorkflowContext) -> None:
    while True:
        pass
