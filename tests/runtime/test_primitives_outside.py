"""Code outside workflows notices nothing of the primitives."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from asyncio import TaskGroup, all_tasks, gather, timeout, wait, wait_for
from typing import Any

import pytest

from celeriac.orchestrator.primitives.ordered import OrderedSet
from tests.runtime.driving import Drive, run

_ = Drive()  # which brings the primitives into effect


def test_functions_and_classes_are_the_objects_they_were() -> None:
    assert asyncio.wait_for is asyncio.tasks.wait_for is wait_for
    assert asyncio.TaskGroup is asyncio.taskgroups.TaskGroup is TaskGroup
    assert wait_for.__module__ == "asyncio.tasks"
    assert TaskGroup.__aexit__.__qualname__ == "TaskGroup.__aexit__"


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (wait_for, "(fut, timeout)"),
        (wait, "(fs, *, timeout=None, return_when='ALL_COMPLETED')"),
        (gather, "(*coros_or_futures, return_exceptions=False)"),
        (all_tasks, "(loop=None)"),
        (asyncio.as_completed, "(fs, *, timeout=None)"),
    ],
)
def test_signatures_are_asyncios(function: Any, signature: str) -> None:
    assert str(inspect.signature(function)) == signature


@pytest.mark.parametrize(
    "function",
    [
        wait_for,
        wait,
        asyncio.Semaphore.acquire,
        asyncio.Condition.wait,
        TaskGroup.__aenter__,
        TaskGroup.__aexit__,
    ],
)
def test_coroutine_functions_are_still_coroutine_functions(function: Any) -> None:
    assert inspect.iscoroutinefunction(function)


async def timed_out() -> None:
    async with timeout(0.001):
        await asyncio.Event().wait()


async def failing_group() -> None:
    async with TaskGroup() as group:
        group.create_task(asyncio.sleep(10))
        assert type(vars(group)["_tasks"]) is set
        raise ValueError("body")


def test_outside_asyncios_own_code_runs() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(0, "result"))
        done, pending = await wait([task])
        assert (type(done), type(pending)) == (set, set)
        assert type(all_tasks()) is set
        assert await wait_for(asyncio.sleep(0, 1), 5) == 1
        with pytest.raises(TimeoutError):
            await wait_for(asyncio.Event().wait(), 0.001)
        with pytest.raises(TimeoutError):
            await timed_out()
        with pytest.raises(ExceptionGroup, match="unhandled errors in a TaskGroup"):
            await failing_group()
        assert list(await gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))) == [1, 2]
        assert sorted([await each for each in asyncio.as_completed([asyncio.sleep(0, 1)])]) == [1]
        permits = asyncio.Semaphore(1)
        async with permits:
            assert permits.locked()
        assert await asyncio.to_thread(int, "7") == 7

    asyncio.run(main())


def test_asyncio_run_still_runs() -> None:
    assert asyncio.run(asyncio.sleep(0, "result")) == "result"
    with asyncio.Runner() as runner:
        assert runner.run(asyncio.sleep(0, "result")) == "result"


def test_a_coroutine_made_outside_takes_the_code_of_where_it_runs() -> None:
    futures: list[asyncio.Future[Any]] = []
    coroutine = wait(futures)

    async def main() -> str:
        futures.append(asyncio.create_task(asyncio.sleep(1)))
        done, _ = await coroutine
        return type(done).__name__

    assert run(main) == "OrderedSet"


def test_a_subclass_of_a_group_works_in_both_places() -> None:
    class Counting(TaskGroup):
        made = 0

        def create_task(self, *args: Any, **kwargs: Any) -> Any:
            self.made += 1
            return super().create_task(*args, **kwargs)

    async def main() -> int:
        async with Counting() as group:
            group.create_task(asyncio.sleep(0.001), name="named")
            group.create_task(asyncio.sleep(0))
        return group.made

    assert asyncio.run(main()) == 2
    assert run(main) == 2


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: wait([]), ValueError, "nothing to wait for"),
        (lambda: wait(asyncio.get_running_loop().create_future()), TypeError, "takes several futures"),
        (
            lambda: wait([asyncio.create_task(asyncio.sleep(0))], return_when="NEVER"),
            ValueError,
            "it is one of",
        ),
    ],
)
def test_wrong_waits_are_explained(wrong: Any, error: type[Exception], message: str) -> None:
    async def main() -> None:
        await wrong()

    with pytest.raises(error, match=message):
        run(main)


def test_waiting_for_coroutines_is_refused() -> None:
    async def main() -> None:
        coroutine = asyncio.sleep(1)
        try:
            await wait([coroutine])  # type: ignore[type-var]
        finally:
            coroutine.close()

    with pytest.raises(TypeError, match=r"takes tasks, not coroutines: wait\(\[asyncio.create_task\(it\)"):
        run(main)


def test_a_single_awaitable_is_not_iterated() -> None:
    async def main() -> None:
        asyncio.as_completed(asyncio.get_running_loop().create_future())

    with pytest.raises(TypeError, match="takes several awaitables, got one WorkflowFuture"):
        run(main)


@pytest.mark.parametrize("when", ["never entered", "finished", "shutting down"])
def test_a_group_takes_tasks_only_while_it_is_open(when: str) -> None:
    async def main() -> None:
        group = TaskGroup()
        coroutine = asyncio.sleep(1)
        if when == "finished":
            async with group:
                pass
        if when == "shutting down":
            vars(group).update(_entered=True, _aborting=True)
        group.create_task(coroutine)

    message = {"never entered": "has not been entered"}.get(when, f"is {when}")
    with pytest.raises(RuntimeError, match=message):
        run(main)


def test_a_fatal_error_in_a_group_is_the_groups_error() -> None:
    class Stop(KeyboardInterrupt): ...

    async def main() -> str:
        try:
            async with TaskGroup() as group:
                group.create_task(asyncio.sleep(9))
                raise Stop  # noqa: TRY301 - in the body of the group
        except Stop:
            return "alone"

    assert run(main) == "alone"


# -- the ordered set -------------------------------------------------------------------------------------------------


def ordered(text: str) -> OrderedSet[str]:
    return OrderedSet(text)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: ordered("cab"), "cab"),
        (lambda: ordered("cab") | {"z"}, "cabz"),
        (lambda: {"z"} | ordered("cab"), "zcab"),
        (lambda: ordered("cabz") & {"z", "c"}, "cz"),
        (lambda: {"z"} & ordered("cabz"), "z"),
        (lambda: ordered("cabz") - {"a"}, "cbz"),
        (lambda: {"z"} - ordered("cab"), "z"),
        (lambda: ordered("cab") ^ ordered("bzy"), "cazy"),
        (lambda: {"z"} ^ ordered("cab"), "zcab"),
        (lambda: ordered("cab").union("zy", "x"), "cabzyx"),
        (lambda: ordered("cab").difference("a", "b"), "c"),
        (lambda: ordered("cabz").intersection("zab", "bz"), "bz"),
        (lambda: ordered("cab").symmetric_difference("bz"), "caz"),
        (lambda: ordered("cab").copy(), "cab"),
        (lambda: copy.copy(ordered("cab")), "cab"),
        (lambda: pickle.loads(pickle.dumps(ordered("cab"))), "cab"),  # noqa: S301 - our own bytes
    ],
)
def test_an_ordered_set_keeps_the_order_of_arrival(made: Any, expected: str) -> None:
    result = made()
    assert isinstance(result, OrderedSet)
    assert "".join(result) == expected
    assert result == set(expected)
    assert len(result) == len(expected)


def test_an_ordered_set_changes_in_order() -> None:
    it = ordered("cab")
    it.add("z")
    it.add("c")
    it.discard("a")
    it.discard("nothing")
    it.update("yx", "a")
    assert list(it) == list("cbzyxa")
    it -= {"y"}
    it |= {"q"}
    it &= set("cbzxq")
    it ^= {"c", "d"}
    assert list(it) == list("bzxqd")
    it.difference_update("q")
    it.intersection_update("bzx")
    it.symmetric_difference_update("x")
    assert repr(it) == "OrderedSet(['b', 'z'])"
    it.remove("b")
    assert it.pop() == "z"
    with pytest.raises(KeyError):
        it.pop()
    with pytest.raises(KeyError):
        it.remove("b")
    it.add("a")
    it.clear()
    assert (list(it), len(it), "a" in it) == ([], 0, False)


def test_an_ordered_set_is_a_set() -> None:
    assert ordered("ab") == {"a", "b"}
    assert {"a"} < ordered("ab")
    assert frozenset(ordered("ab")) == {"a", "b"}
    assert not ordered("ab").isdisjoint({"a"})
