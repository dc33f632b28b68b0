"""Programs drawn at random, on drawn outside events: with the cache, without it, inline and on replay they come out the same.

A program is a tree: leaves have an activity done, sleep, wait for a signal or a condition, or roll dice; branches run their
parts one after the other, side by side, as a race, under a timeout, or behind a shield. The outside sends signals, lets time
pass and cancels.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from celeriac import ActivityError, RetryPolicy, WorkflowContext, activity_context
from celeriac.testing.histories import compact
from tests.workflows import MODES, Env, make

Node = list[Any]

NAMES = st.sampled_from(["a", "b"])
LENGTHS = st.sampled_from([0, 1, 1, 2, 5, 7.5])

LEAVES = st.one_of(
    st.tuples(st.just("work"), st.integers(0, 3)).map(list),
    st.tuples(st.just("flaky"), st.integers(0, 4)).map(list),
    st.tuples(st.just("sleep"), LENGTHS).map(list),
    st.tuples(st.just("signal"), NAMES).map(list),
    st.tuples(st.just("condition"), st.integers(0, 3)).map(list),
    st.just(["dice"]),
    st.just(["effect"]),
    st.just(["raise"]),
    st.just(["unheard"]),
)


def _branches(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(parts, min_size=1, max_size=4)
    return st.one_of(
        st.tuples(st.sampled_from(["sequence", "gather", "group", "first", "as_completed"]), several).map(list),
        st.tuples(st.just("timeout"), LENGTHS, parts).map(list),
        st.tuples(st.sampled_from(["shield", "try", "spawn"]), parts).map(list),
    )


PROGRAMS = st.recursive(LEAVES, _branches, max_leaves=10)
NEARBY = st.one_of(
    st.tuples(st.just("near"), st.integers(0, 3)).map(list),
    st.tuples(st.just("shaky"), st.integers(0, 4)).map(list),
)
MIXED = st.recursive(st.one_of(NEARBY, NEARBY, LEAVES), _branches, max_leaves=10)
"""Programs half of whose leaves are local activities."""
OUTSIDE = st.lists(
    st.one_of(
        st.tuples(st.just("signal"), NAMES, st.integers(0, 9)),
        st.tuples(st.just("advance"), st.sampled_from([0.5, 1, 3, 10])),
        st.just(("settle",)),
        st.just(("cancel",)),
        st.just(("drop",)),
    ),
    max_size=8,
)


class Interpreter:
    """Runs a program inside a workflow."""

    def __init__(self, ctx: WorkflowContext) -> None:
        self.ctx = ctx
        self.done = 0

    async def run(self, node: Node) -> Any:
        kind, *rest = node
        value = await getattr(self, f"_{kind}")(*rest)
        self.done += 1
        return value

    async def _work(self, n: int) -> Any:
        return await self.ctx.execute_activity("work", n)

    async def _flaky(self, n: int) -> Any:
        return await self.ctx.execute_activity("flaky", n)

    async def _near(self, n: int) -> Any:
        return await self.ctx.execute_local_activity("work", n)

    async def _shaky(self, n: int) -> Any:
        return await self.ctx.execute_local_activity("shaky", n)

    async def _sleep(self, length: float) -> Any:
        await self.ctx.sleep(length)
        return length

    async def _signal(self, name: str) -> Any:
        return await self.ctx.wait_signal(name)

    async def _condition(self, n: int) -> Any:
        await self.ctx.wait(lambda: self.done >= n, timeout=9)
        return n

    async def _dice(self) -> Any:
        return self.ctx.random().randint(1, 6)

    async def _effect(self) -> Any:
        return self.ctx.side_effect(lambda: 4)

    async def _raise(self) -> Any:
        raise LookupError("raised")

    async def _unheard(self) -> Any:
        async def fail() -> None:
            await asyncio.sleep(0)
            raise OSError("unheard")

        asyncio.create_task(fail(), name="unheard")  # noqa: RUF006
        return None

    async def _sequence(self, parts: list[Node]) -> Any:
        return [await self.run(each) for each in parts]

    async def _gather(self, parts: list[Node]) -> Any:
        got = await asyncio.gather(*(self.run(each) for each in parts), return_exceptions=True)
        return [_told(each) for each in got]

    async def _group(self, parts: list[Node]) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.run(each)) for each in parts]
        return [each.result() for each in tasks]

    async def _first(self, parts: list[Node]) -> Any:
        return await self.ctx.first(*(self.run(each) for each in parts))

    async def _as_completed(self, parts: list[Node]) -> Any:
        return [await each for each in asyncio.as_completed([self.run(each) for each in parts])]

    async def _timeout(self, length: float, part: Node) -> Any:
        try:
            async with asyncio.timeout(length):
                return await self.run(part)
        except TimeoutError:
            return "too late"

    async def _shield(self, part: Node) -> Any:
        return await asyncio.shield(asyncio.ensure_future(self.run(part)))

    async def _try(self, part: Node) -> Any:
        try:
            return await self.run(part)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                await self.ctx.execute_activity("work", "clean up")
                raise
            return _told(error)

    async def _spawn(self, part: Node) -> Any:
        asyncio.create_task(self.run(part))  # noqa: RUF006
        await asyncio.sleep(0)


def _told(value: Any) -> Any:
    if isinstance(value, BaseExceptionGroup):
        return [_told(each) for each in value.exceptions]
    return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else value


def _play(mode: str, program: Node, outside: list[Any]) -> tuple[Any, list[str]]:
    env = make(mode)
    _declare(env)
    handle = env.start("flow", program, id="run")
    for kind, *rest in outside:
        if kind == "settle":
            env.settle()
        elif kind == "advance":
            env.advance(rest[0])
        elif kind == "drop":
            env.executor.engine.cache.clear()  # as a restart of the process does
        elif handle.status().open:
            handle.signal(*rest) if kind == "signal" else handle.cancel("enough")
    env.settle()
    env.advance(100)
    env.check_replay()
    run = handle.describe()
    failure = {name: each for name, each in (run.failure or {}).items() if name in {"type", "message"}}
    return (run.status, run.result, failure, list(run.waits)), compact(env.history(handle))


def _declare(env: Env) -> None:
    attempts: dict[str, int] = {}

    @env.activity
    def work(value: Any) -> Any:
        return value

    @env.activity(retry=RetryPolicy(max_attempts=3, jitter=0, initial_interval=0.4, backoff_coefficient=4))
    def shaky(times: int) -> int:
        if activity_context().attempt <= times:
            raise ConnectionError(f"attempt {activity_context().attempt}")
        return activity_context().attempt

    @env.activity(retry=RetryPolicy(max_attempts=3, jitter=0, initial_interval=1))
    def flaky(times: int) -> int:
        context = activity_context()
        attempts[context.activity_id] = context.attempt
        if context.attempt <= times:
            raise ConnectionError(f"attempt {context.attempt}")
        return context.attempt

    @env.workflow
    async def flow(ctx: WorkflowContext, program: Node) -> Any:
        try:
            return await Interpreter(ctx).run(program)
        except ActivityError as error:
            return _told(error)


@settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(PROGRAMS, OUTSIDE)
def test_every_mode_comes_to_the_same(program: Node, outside: list[Any]) -> None:
    expected = _play("cached", program, outside)
    for mode in MODES:
        if mode != "cached":
            assert _play(mode, program, outside) == expected


@settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(MIXED, OUTSIDE)
def test_local_activities_among_them(program: Node, outside: list[Any]) -> None:
    """Taken inline the turns are others, and with them the order of calls and inputs: then it is the replay that counts."""
    assert _play("cold", program, outside) == _play("cached", program, outside)
    _play("inline", program, outside)
