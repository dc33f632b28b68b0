"""Workflows whose histories are kept in ``golden/histories``. Their code stays as it is: it is what old code looks like."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from celeriac import ActivityError, RetryPolicy, WorkflowContext
from celeriac.orchestrator.definition import WorkflowDefinition
from celeriac.testing.environment import WorkflowEnvironment

Drive = Callable[[WorkflowEnvironment, Any], None]


@dataclass
class Line:
    item: str
    price: Decimal
    due: date | None = None


@dataclass
class Program:
    """A workflow, and what happens to a run of it.

    :param before: what the outside does before the run's first turn.
    :param steps: what it does afterwards, one after the other; everything settles in between.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    before: list[Drive] = field(default_factory=list)
    steps: list[Drive] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


def declare(env: WorkflowEnvironment, name: str) -> WorkflowDefinition:
    """Declare a program's workflow and everything it needs."""
    failures: dict[str, int] = {}

    @env.activity
    def work(value: Any = None) -> Any:
        return value

    @env.activity
    def price(line: Line) -> Line:
        return Line(line.item, line.price * 2, date(2030, 2, 3))

    @env.activity(retry=RetryPolicy(max_attempts=3, jitter=0))
    def flaky(times: int) -> int:
        failures["flaky"] = failures.get("flaky", 0) + 1
        if failures["flaky"] <= times:
            raise ConnectionError(f"failure {failures['flaky']}")
        return failures["flaky"]

    @env.activity(retry=RetryPolicy(max_attempts=2, initial_interval=120, max_interval=120, jitter=0))
    def patient() -> None:
        raise ConnectionError("no answer")

    @env.activity(cancellation="wait", retry=RetryPolicy.never())
    def slow() -> None: ...

    program = PROGRAMS[name]
    return env.workflow(name=name, **program.settings)(program.fn)


def play(env: WorkflowEnvironment, name: str) -> Any:
    """Run a program and return the handle of its run."""
    program, definition = PROGRAMS[name], declare(env, name)
    handle = env.start(definition, *program.args, id=name)
    for step in program.before:
        step(env, handle)
    env.settle()
    for step in program.steps:
        step(env, handle)
        env.settle()
    return handle


def signal(name: str, payload: Any = None) -> Drive:
    return lambda _, handle: handle.signal(name, payload)


def both(*drives: Drive) -> Drive:
    def drive(env: WorkflowEnvironment, handle: Any) -> None:
        for each in drives:
            each(env, handle)

    return drive


def cancel(reason: str) -> Drive:
    return lambda _, handle: handle.cancel(reason)


def advance(seconds: float) -> Drive:
    return lambda env, _: env.advance(seconds)


async def sequence(ctx: WorkflowContext, start: int) -> list[int]:
    first = await ctx.execute_activity("work", start)
    second = await ctx.execute_activity("work", first + 1)
    return [first, second]


async def spread(ctx: WorkflowContext) -> list[int]:
    async def branch(n: int) -> int:
        await ctx.sleep(10 - n)
        return int(await ctx.execute_activity("work", n))

    return await asyncio.gather(*(branch(n) for n in range(4)))


async def groups(ctx: WorkflowContext) -> list[Any]:
    got: list[Any] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(100))
            group.create_task(_fail_after(ctx, 5))
            got.append(await ctx.execute_activity("work", "in the group"))
            await ctx.sleep(50)
    except* ValueError as errors:
        got += [str(each) for each in errors.exceptions]
    return got


async def _fail_after(ctx: WorkflowContext, seconds: float) -> None:
    await ctx.sleep(seconds)
    raise ValueError("five seconds were enough")


async def races(ctx: WorkflowContext) -> list[Any]:
    first = await ctx.first(ctx.sleep(10), ctx.wait_signal("never"), ctx.execute_activity("work", 1))
    done, pending = await asyncio.wait(
        [asyncio.create_task(_slept(ctx, n)) for n in (3, 2, 1)], return_when=asyncio.FIRST_COMPLETED
    )
    for each in pending:
        each.cancel()
    order = [await each for each in asyncio.as_completed([_slept(ctx, n) for n in (3, 1, 2)])]
    return [first, [each.result() for each in done], order]


async def _slept(ctx: WorkflowContext, n: int) -> int:
    await ctx.sleep(n)
    return n


async def timeouts(ctx: WorkflowContext) -> list[str]:
    got: list[str] = []
    for limit in (5, 500):
        try:
            async with asyncio.timeout(limit):
                await ctx.sleep(50)
                got.append("slept")
        except TimeoutError:
            got.append("too long")
    try:
        await asyncio.wait_for(ctx.wait_signal("go"), 30)
    except TimeoutError:
        got.append("nobody came")
    got.append(await ctx.wait_signal("go", timeout=timedelta(hours=1)))
    return got


async def signals(ctx: WorkflowContext) -> list[Any]:
    notes: list[Any] = []
    ctx.on_signal("note", notes.append)
    items = [await ctx.wait_signal("item")]
    async for item in ctx.receive_signal("item"):
        if item is None:
            break
        items.append(item)
    await ctx.wait(lambda: len(notes) >= 2)
    return [items, notes]


async def canceled(ctx: WorkflowContext) -> None:
    try:
        await ctx.sleep(3600)
    finally:
        await ctx.execute_activity("work", "clean up")


async def canceled_and_stayed(ctx: WorkflowContext) -> str:
    working = ctx.execute_activity("work", "shielded")
    try:
        await asyncio.shield(asyncio.gather(working, ctx.wait_signal("go")))
    except asyncio.CancelledError:
        return f"stayed, {await working}"
    return "never asked"


async def waits_for_the_canceled(ctx: WorkflowContext) -> str:
    await ctx.wait_signal("start")
    slow = ctx.execute_activity("slow")
    await ctx.wait_signal("stop")
    slow.cancel()
    try:
        await slow
    except asyncio.CancelledError:
        return "stopped"
    return "done"


async def failures(ctx: WorkflowContext) -> list[Any]:
    got: list[Any] = [await ctx.execute_activity("flaky", 2)]
    try:
        await ctx.execute_activity("flaky", 100)
    except ActivityError as error:
        got += [error.type, error.attempts]
    return got


async def fails(ctx: WorkflowContext) -> None:
    try:
        await ctx.execute_activity("flaky", 100)
    except ActivityError as error:
        raise RuntimeError("could not be done") from error


async def reproducible(ctx: WorkflowContext) -> list[Any]:
    drawn = [ctx.random().randint(1, 6), str(ctx.uuid4()), ctx.side_effect(lambda: 42), ctx.now().isoformat()]
    await ctx.sleep(0.25)
    if ctx.patched("second-side-effect"):
        drawn.append(ctx.side_effect(lambda: uuid.UUID(int=7, version=4), uuid.UUID).hex)
    return [*drawn, ctx.random().random()]


async def typed(ctx: WorkflowContext, lines: list[Line]) -> dict[str, Line]:
    priced = await asyncio.gather(*(ctx.execute_activity("price", each) for each in lines))
    return {each.item: each for each in priced}


async def elided(ctx: WorkflowContext) -> str:
    ctx.execute_activity("work", 1).cancel()
    timer = asyncio.create_task(_slept(ctx, 5))
    await asyncio.sleep(0)
    timer.cancel()
    async with asyncio.timeout(60):  # noqa: ASYNC100 - pointless on purpose
        pass
    await ctx.sleep(1)
    return str(await ctx.execute_activity("work", "kept"))


async def unheard(ctx: WorkflowContext) -> str:
    asyncio.create_task(_fail_after(ctx, 1), name="unheard")  # noqa: RUF006
    await ctx.sleep(2)
    return "done"


async def primitives(ctx: WorkflowContext) -> list[Any]:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
    lock, gate, got = asyncio.Lock(), asyncio.Event(), list[Any]()

    async def produce() -> None:
        for n in range(3):
            await queue.put(n)
            await ctx.sleep(1)
        gate.set()

    async def consume(name: str) -> None:
        while not gate.is_set():
            async with lock:
                got.append([name, await queue.get()])
            await ctx.sleep(1.5)

    consumers = [asyncio.create_task(consume(name)) for name in "ab"]
    await produce()
    await gate.wait()
    for each in consumers:
        each.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)
    return got


def plain(ctx: WorkflowContext, n: int) -> list[Any]:
    started = [ctx.execute_activity("work", each) for each in range(n)]
    ctx.sleep(60)
    got: list[Any] = [each.result() for each in started]
    got.append(ctx.first(ctx.wait_signal("go"), ctx.wait(lambda: False)).result())
    return got


def plain_canceled(ctx: WorkflowContext) -> str:
    try:
        ctx.wait_signal("go").result()
    except asyncio.CancelledError:
        ctx.execute_activity("work", "clean up").result()
        return "stayed"
    return "went"


async def timed_out(ctx: WorkflowContext) -> None:
    await ctx.wait_signal("never")


async def continued(ctx: WorkflowContext) -> None:
    """Stays open: what is kept of it is replayed without an end."""
    await ctx.execute_activity("work", 1)
    await ctx.sleep(3600)


def halve(value: int) -> float:
    return value / 2


async def local(ctx: WorkflowContext) -> list[Any]:
    got: list[Any] = [await ctx.execute_local_activity(halve, each) for each in range(3)]
    got += await asyncio.gather(
        ctx.execute_activity("work", "far"), ctx.execute_local_activity("work", "near"), ctx.wait_signal("go")
    )
    got.append((await ctx.first(ctx.execute_local_activity(halve, 1), ctx.execute_local_activity(halve, 2)))[1])
    try:
        async with asyncio.timeout(400):
            got.append(await ctx.execute_local_activity(halve, "x"))  # type: ignore[arg-type]
    except TypeError:
        got.append(await ctx.execute_local_activity("flaky", 2))
    try:
        await ctx.execute_local_activity("patient")
    except ActivityError as error:
        got.append(error.attempts)
    return got


PROGRAMS: dict[str, Program] = {
    "sequence": Program(sequence, (1,)),
    "spread": Program(spread, steps=[advance(20)]),
    "groups": Program(groups, steps=[advance(20)]),
    "races": Program(races, steps=[advance(20)]),
    "timeouts": Program(timeouts, steps=[advance(200), signal("go", "came")]),
    "signals": Program(
        signals,
        before=[signal("item", 1), signal("note", "early")],
        steps=[signal("item", [2]), signal("note", {"n": 1}), signal("item", None)],
    ),
    "canceled": Program(canceled, steps=[cancel("enough")]),
    "canceled_and_stayed": Program(canceled_and_stayed, before=[cancel("")]),
    "waits_for_the_canceled": Program(waits_for_the_canceled, steps=[both(signal("start"), signal("stop"))]),
    "failures": Program(failures, steps=[advance(60)]),
    "fails": Program(fails, steps=[advance(60)]),
    "reproducible": Program(reproducible, steps=[advance(1)]),
    "typed": Program(typed, ([Line("tea", Decimal("1.10")), Line("milk", Decimal("0.99"))],)),
    "elided": Program(elided, steps=[advance(5)]),
    "unheard": Program(unheard, steps=[advance(5)]),
    "primitives": Program(primitives, steps=[advance(20)]),
    "plain": Program(plain, (2,), steps=[advance(61), signal("go", "gone")]),
    "plain_canceled": Program(plain_canceled, steps=[cancel("why not")]),
    "timed_out": Program(timed_out, steps=[advance(60)], settings={"timeout": 30}),
    "continued": Program(continued),
    "local": Program(local, steps=[signal("go", "gone"), advance(200)]),
}
