"""The cache of live runs: bounded by count and by bytes, and telling of itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from celeriac import Celeriac, WorkflowContext
from celeriac.orchestrator.cache import RunCache
from celeriac.orchestrator.model import micros
from celeriac.orchestrator.weight import PENDING, SUSPENDED, weigh
from celeriac.payloads import Json
from celeriac.testing.environment import WorkflowEnvironment
from tests.workflows import Env, make

KILO = "x" * 1000


@pytest.fixture
def env() -> Iterator[Env]:
    made = make("cached")
    yield made
    made.check_replay()


@pytest.fixture
def hoarder(env: Env) -> Any:
    @env.workflow
    async def hoarder(ctx: WorkflowContext) -> int:
        kept: list[Any] = []
        while (got := await ctx.wait_signal("more")) is not None:
            kept.append(got)
        return len(kept)

    return hoarder


def limited(env: WorkflowEnvironment, **limits: Any) -> RunCache:
    cache = env.executor.engine.cache = RunCache(**limits)
    return cache


def begin(env: Env, flow: Any, *ids: str) -> list[Any]:
    handles = [env.start(flow, id=each) for each in ids]
    env.settle()
    return handles


def send(env: Env, handle: Any, payload: Any) -> None:
    handle.signal("more", payload)
    env.settle()


def test_a_run_found_in_memory_is_a_hit_and_its_first_turn_neither(env: Env, hoarder: Any) -> None:
    cache = limited(env)
    (handle,) = begin(env, hoarder, "a")
    assert cache.metrics() == {
        "cache_runs": 1,
        "cache_bytes": SUSPENDED + weigh([]) + weigh({}),
        "cache_hits": 0,
        "cache_misses": 0,
        "cache_hit_rate": 1.0,
        "cache_evictions": 0,
        "cache_events_caught_up": 0,
        "cache_events_replayed": 0,
    }
    for _ in range(3):
        send(env, handle, 1)
    assert (cache.counts.hits, cache.counts.misses, cache.metrics()["cache_hit_rate"]) == (3, 0, 1.0)
    send(env, handle, None)
    assert (handle.result(), len(cache), cache.bytes) == (3, 0, 0)


def test_the_least_recently_used_makes_room_by_count(env: Env, hoarder: Any) -> None:
    cache = limited(env, limit=2)
    first, second, third = begin(env, hoarder, "a", "b", "c")
    assert (len(cache), cache.counts.evictions) == (2, 1)
    assert [cache.known(each.run_id) is not None for each in (first, second, third)] == [False, True, True]
    send(env, second, 1)
    send(env, first, 1)  # of which nothing is in memory: two events are replayed, and the third makes room
    assert (cache.counts.hits, cache.counts.misses, cache.counts.evictions) == (1, 1, 2)
    assert cache.counts.replayed == 1
    assert [cache.known(each.run_id) is not None for each in (first, second, third)] == [True, True, False]
    assert cache.metrics()["cache_hit_rate"] == 0.5
    for each in (first, second, third):
        each.terminate()


def test_it_makes_room_by_bytes(env: Env, hoarder: Any) -> None:
    empty = SUSPENDED + weigh([]) + weigh({})
    cache = limited(env, max_bytes=3 * empty + 2 * weigh(KILO))
    handles = begin(env, hoarder, "a", "b", "c")
    assert (len(cache), cache.bytes) == (3, 3 * empty)
    send(env, handles[0], KILO)
    send(env, handles[1], KILO)
    assert (len(cache), cache.bytes, cache.counts.evictions) == (3, 3 * empty + 2 * weigh(KILO), 0)
    send(env, handles[0], KILO)  # one kilobyte too many: c has waited longest
    assert (len(cache), cache.bytes, cache.counts.evictions) == (2, 2 * empty + 3 * weigh(KILO), 1)
    assert cache.known(handles[2].run_id) is None
    for each in handles:
        send(env, each, None)
    assert [each.result() for each in handles] == [2, 1, 0]
    assert (len(cache), cache.bytes) == (0, 0)


def test_a_run_that_is_too_heavy_is_kept_alone(env: Env, hoarder: Any) -> None:
    cache = limited(env, max_bytes=SUSPENDED // 2)
    first, second = begin(env, hoarder, "a", "b")
    assert [cache.known(each.run_id) is not None for each in (first, second)] == [False, True]
    for _ in range(3):
        send(env, second, KILO)
    assert (cache.counts.hits, cache.counts.misses) == (3, 0)
    for each in (first, second):
        each.terminate()


def test_what_it_waits_for_weighs_too(env: Env) -> None:
    @env.workflow
    async def waiting(ctx: WorkflowContext) -> None:
        await asyncio.gather(*(ctx.sleep(60 + n) for n in range(3)))

    cache = limited(env)
    (handle,) = begin(env, waiting, "a")
    started = SUSPENDED + weigh([]) + weigh({})
    assert cache.bytes == started + PENDING * 3
    env.advance(70)
    assert handle.result() is None


def test_events_of_other_processes_are_caught_up_with(env: Env, hoarder: Any) -> None:
    here = limited(env)
    (handle,) = begin(env, hoarder, "a")
    there = limited(env)
    for _ in range(5):
        send(env, handle, 1)
    assert (there.counts.misses, there.counts.replayed, there.counts.hits) == (1, 1, 4)
    env.executor.engine.cache = here
    send(env, handle, 1)
    assert (here.counts.hits, here.counts.misses, here.counts.caught_up) == (1, 0, 5)
    send(env, handle, None)
    assert handle.result() == 6


def test_evictions_are_logged_ever_more_rarely(env: Env, hoarder: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="celeriac.cache")
    limited(env, limit=1)
    handles = begin(env, hoarder, *(f"run {n}" for n in range(13)))
    told = [each.getMessage() for each in caplog.records if each.name == "celeriac.cache"]
    assert told == [
        f"the cache of live runs is full (1 runs, about 10 kB): {times} evicted so far. The next turn of such a run replays "
        "its history; cache_runs and cache_bytes make room"
        for times in (1, 10)
    ]
    for each in handles:
        each.terminate()


@pytest.mark.parametrize("limits", [{"limit": 0}, {"limit": 0, "max_bytes": 1}])
def test_with_none_kept_every_turn_replays(env: Env, hoarder: Any, limits: Any) -> None:
    cache = limited(env, **limits)
    (handle,) = begin(env, hoarder, "a")
    for _ in range(3):
        send(env, handle, 1)
    assert (cache.counts.hits, cache.counts.misses, cache.counts.replayed) == (0, 3, 1 + 2 + 3)
    assert (len(cache), cache.bytes) == (0, 0)
    handle.terminate()


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        (None, 28),
        (7, 28),
        ("abc", 53),
        ([], 60),
        ([1, 2, 3], 60 + 3 * 8 + 3 * 28),
        ([1] * 1000, 60 + 1000 * 8 + 1000 * 28),
        (["x" * 50] * 8, 60 + 8 * 8 + 8 * 100),
        ({}, 80),
        ({"a": 1, "b": "cd"}, 80 + 2 * 90 + 28 + 52),
        ([[[[[["deep"]]]]]], 5 * 68 + 28),
    ],
)
def test_the_weight_of_a_value(value: Json, weight: int) -> None:
    assert weigh(value) == weight


def test_weighing_looks_at_few_of_many() -> None:
    looked = 0

    class Noting(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            nonlocal looked
            for each in super().__iter__():
                looked += 1
                yield each

    weigh(Noting(Noting(Noting([1] * 100) for _ in range(100)) for _ in range(100)))
    assert looked <= 4 + 4 * 4 + 4 * 4 * 4


def test_an_app_tells_of_its_process(redis_url: str) -> None:
    app = Celery("metrics", broker=redis_url, set_as_current=False)
    durable = Celeriac(app, store="memory://", cache_runs=7, cache_bytes=12_345)
    assert durable.metrics()["cache_runs"] == 0
    assert "engine" not in durable.runtime.__dict__  # asking makes nothing

    @durable.workflow
    async def flow(ctx: WorkflowContext) -> None:
        await ctx.sleep(micros(1))

    result = flow.delay()
    durable.runtime.turn(result.run_id)
    assert (durable.metrics()["cache_runs"], durable.metrics()["cache_bytes"]) == (1, SUSPENDED + 60 + 80 + PENDING)
    assert (durable.runtime.engine.cache.limit, durable.runtime.engine.cache.max_bytes) == (7, 12_345)
    app.close()
