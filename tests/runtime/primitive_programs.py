"""Programs whose course is kept in ``golden/primitives``: each exercises one primitive beside tasks that tick.

A sibling counts rounds of the loop, so that a primitive which takes one round more or less than recorded shows.
"""

from __future__ import annotations

import asyncio
from asyncio import (  # bound early, as users' modules do
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    TaskGroup,
    as_completed,
    gather,
    timeout,
    wait,
    wait_for,
)
from collections.abc import Callable, Coroutine
from typing import Any

Note = Callable[[object], None]
Program = Callable[[Note], Coroutine[Any, Any, Any]]

PROGRAMS: dict[str, Program] = {}


def program(function: Program) -> Program:
    PROGRAMS[function.__name__] = function
    return function


async def rounds(note: Note, count: int) -> None:
    for number in range(count):
        note(f"round {number}")
        await asyncio.sleep(0)


async def job(note: Note, name: object, length: float, error: BaseException | None = None) -> object:
    try:
        await asyncio.sleep(length)
        if error is not None:
            raise error
    except asyncio.CancelledError:
        note(f"{name} cancelled")
        await asyncio.sleep(0.5)
        note(f"{name} cleaned up")
        raise
    note(f"{name} done")
    return name


def tasks(note: Note, *lengths: float) -> list[asyncio.Task[object]]:
    return [asyncio.create_task(job(note, index, length)) for index, length in enumerate(lengths)]


@program
async def wait_all(note: Note) -> Any:
    done, pending = await wait(tasks(note, 3, 1, 2))
    return [task.result() for task in done], len(pending)


@program
async def wait_first(note: Note) -> Any:
    jobs = tasks(note, 3, 1, 2, 1)
    ticking = asyncio.create_task(rounds(note, 3))
    done, pending = await wait([*jobs, ticking, jobs[0]], return_when=FIRST_COMPLETED)
    note(f"first {[jobs.index(task) for task in done if task in jobs]}")
    while pending:
        done, pending = await wait(pending, return_when=FIRST_COMPLETED)
        note(f"then {[jobs.index(task) for task in done]}")
    return "end"


@program
async def wait_exception(note: Note) -> Any:
    jobs = [
        asyncio.create_task(job(note, "a", 1)),
        asyncio.create_task(job(note, "b", 2, ValueError("b"))),
        asyncio.create_task(job(note, "c", 3)),
    ]
    done, pending = await wait(set(jobs), return_when=FIRST_EXCEPTION, timeout=5)
    for task in pending:
        task.cancel()
    await wait(pending)
    return [jobs.index(task) for task in done], [repr(task.exception()) for task in done]


@program
async def wait_timeout(note: Note) -> Any:
    done, pending = await wait(tasks(note, 1, 9, 4, 2, 7), timeout=3.0001)
    for task in pending:
        task.cancel()
    await gather(*pending, return_exceptions=True)
    return len(done), len(pending)


@program
async def wait_for_in_time(note: Note) -> Any:
    ticking = asyncio.create_task(rounds(note, 6))
    result = await wait_for(job(note, "inner", 1), 3)
    note("after")
    await ticking
    return result


@program
async def wait_for_done_coroutine(note: Note) -> Any:
    async def at_once() -> str:
        note("ran")
        return "at once"

    ticking = asyncio.create_task(rounds(note, 5))
    result = await wait_for(at_once(), 3)
    note("after")
    await ticking
    return result


@program
async def wait_for_too_late(note: Note) -> Any:
    try:
        await wait_for(job(note, "inner", 10), 3)
    except TimeoutError as error:
        note(f"{type(error).__name__} from {type(error.__cause__).__name__}")
    ticking = asyncio.create_task(rounds(note, 4))
    try:
        await wait_for(job(note, "never", 10), 0)
    except TimeoutError:
        note("no time at all")
    await ticking
    future = asyncio.get_running_loop().create_future()
    future.set_result("was done")
    return await wait_for(future, -1)


@program
async def wait_for_cancelled(note: Note) -> Any:
    outer = asyncio.create_task(wait_for(job(note, "inner", 10), 8))
    await asyncio.sleep(1)
    outer.cancel("enough")
    result = await gather(outer, return_exceptions=True)
    return repr(result)


@program
async def timeout_struck(note: Note) -> Any:
    try:
        async with timeout(2) as limit:
            try:
                await job(note, "inner", 5)
            finally:
                note(f"expired {limit.expired()}")
    except TimeoutError:
        note("timed out")
    try:
        async with timeout(1):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                raise ValueError("while timing out") from None
    except ValueError as error:
        note(f"{error!r} in the context of {error.__context__!r}")
    async with timeout(1):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            note("swallowed")
    return "end"


@program
async def timeout_moved(note: Note) -> Any:
    loop = asyncio.get_running_loop()
    async with timeout(3) as limit:
        limit.reschedule(loop.time() + 20)
        await asyncio.sleep(10)
    async with asyncio.timeout_at(loop.time() + 2) as limit:
        limit.reschedule(None)
        await asyncio.sleep(4)
    try:
        async with timeout(100) as limit:
            limit.reschedule(loop.time())
            await asyncio.sleep(1)
    except TimeoutError:
        note("at once")
    async with timeout(None):
        await asyncio.sleep(1)
    return "end"


@program
async def timeout_nested(note: Note) -> Any:
    try:
        async with timeout(3):
            try:
                async with timeout(3):
                    await asyncio.sleep(10)
            except TimeoutError:
                note("inner")
                await asyncio.sleep(1)
    except TimeoutError:
        note("outer")

    async def both() -> None:
        async with timeout(2):
            await job(note, "inner", 5)

    task = asyncio.create_task(both())
    await asyncio.sleep(2)
    task.cancel()
    return repr(await gather(task, return_exceptions=True))


@program
async def group_well(note: Note) -> Any:
    ticking = asyncio.create_task(rounds(note, 5))
    async with TaskGroup() as group:
        jobs = [group.create_task(job(note, index, length)) for index, length in enumerate((2, 1, 0))]
        note("body ends")
    note("group ends")
    await ticking
    return [task.result() for task in jobs]


@program
async def group_failing(note: Note) -> Any:
    try:
        async with TaskGroup() as group:
            for index in range(6):
                group.create_task(job(note, index, 5))
            group.create_task(job(note, "bad", 1, ValueError("bad")))
            await asyncio.sleep(50)
    except* ValueError as failed:
        note(repr(failed.exceptions))
    return asyncio.current_task().cancelling()  # type: ignore[union-attr]


@program
async def group_body_fails(note: Note) -> Any:
    try:
        async with TaskGroup() as group:
            for index in range(5):
                group.create_task(job(note, index, 5))
            await asyncio.sleep(1)
            raise KeyError("body")
    except BaseExceptionGroup as failed:
        note(repr(failed.exceptions))
    return "end"


@program
async def group_cancelled(note: Note) -> Any:
    async def grouped() -> None:
        async with TaskGroup() as group:
            group.create_task(job(note, "a", 5))
            group.create_task(job(note, "b", 2, ValueError("b")))

    first, second = asyncio.create_task(grouped()), asyncio.create_task(grouped())
    await asyncio.sleep(1)
    first.cancel()
    await asyncio.sleep(1)
    second.cancel()
    outcome = await gather(first, second, return_exceptions=True)
    return [repr(each) for each in outcome], second.cancelling()


async def late(note: Note, length: float) -> None:
    """Fail some time after the request to stop."""
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        await asyncio.sleep(length)
        note("fails late")
        raise ValueError("late") from None


@program  # seed 7093069 of the simulator: the cleanup was cancelled
async def group_failing_after_a_timeout(note: Note) -> Any:
    try:
        async with timeout(1), TaskGroup() as group:
            group.create_task(late(note, 1))
    except* ValueError as failed:
        note(repr(failed.exceptions))
    await job(note, "cleanup", 1)
    return asyncio.current_task().cancelling()  # type: ignore[union-attr]


@program
async def group_failing_in_a_failing_group(note: Note) -> Any:
    try:
        async with TaskGroup() as outer:
            outer.create_task(job(note, "outer", 1, KeyError("outer")))
            async with TaskGroup() as inner:
                inner.create_task(late(note, 1))
    except* (KeyError, ValueError) as failed:
        note(repr(failed.exceptions))
    await job(note, "cleanup", 1)
    return asyncio.current_task().cancelling()  # type: ignore[union-attr]


@program
async def group_failing_in_a_task_that_is_cancelled(note: Note) -> Any:
    async def grouped() -> None:
        try:
            async with timeout(10), TaskGroup() as group:
                group.create_task(late(note, 1))
        except* ValueError:
            await job(note, "cleanup", 1)

    task = asyncio.create_task(grouped())
    await asyncio.sleep(1)
    task.cancel()
    return repr(await gather(task, return_exceptions=True))


@program
async def group_nested(note: Note) -> Any:
    try:
        async with TaskGroup() as outer:
            outer.create_task(job(note, "outer", 3, KeyError("outer")))
            try:
                async with TaskGroup() as inner:
                    inner.create_task(job(note, "inner", 1, ValueError("inner")))
                    inner.create_task(job(note, "slow", 9))
            except* ValueError:
                note("inner failed")
            await asyncio.sleep(10)
    except* KeyError:
        note("outer failed")
    return "end"


@program
async def gather_results(note: Note) -> Any:
    done = asyncio.get_running_loop().create_future()
    done.set_result("was done")
    twice = asyncio.create_task(job(note, "twice", 1))
    ticking = asyncio.create_task(rounds(note, 4))
    note(await gather(done, done))
    note(await gather())
    result = await gather(job(note, "a", 3), twice, done, job(note, "b", 0), twice)
    await ticking
    return result


@program
async def gather_errors(note: Note) -> Any:
    jobs = [job(note, "a", 1, ValueError("a")), job(note, "b", 1, KeyError("b")), job(note, "c", 4)]
    try:
        await gather(*jobs)
    except ValueError as error:
        note(repr(error))
    await asyncio.sleep(5)
    cancelled = asyncio.create_task(job(note, "d", 4))
    asyncio.get_running_loop().call_later(1, cancelled.cancel)
    outcome = await gather(cancelled, job(note, "e", 2, OSError("e")), return_exceptions=True)
    return [repr(each) for each in outcome]


@program
async def gather_cancelled(note: Note) -> Any:
    gathered = gather(*(job(note, index, 5) for index in range(5)))
    asyncio.get_running_loop().call_later(1, gathered.cancel)
    try:
        await gathered
    except asyncio.CancelledError:
        note("cancelled")
    return gathered.cancelled()


@program
async def as_completed_plain(note: Note) -> Any:
    ticking = asyncio.create_task(rounds(note, 4))
    found = [
        await each for each in as_completed([job(note, index, length) for index, length in enumerate((4, 1, 2, 1, 0))])
    ]
    await ticking
    return found


@program
async def as_completed_async(note: Note) -> Any:
    jobs = tasks(note, 3, 1, 2)
    iterator: Any = as_completed([jobs[0], *jobs])
    return [jobs.index(each) async for each in iterator]


@program
async def as_completed_late(note: Note) -> Any:
    found: list[object] = []
    try:
        for each in as_completed(tasks(note, 1, 9, 2, 8), timeout=3):
            found.append(await each)  # noqa: PERF401 - what came in time is kept
    except TimeoutError:
        found.append("late")
    return found


@program
async def semaphore(note: Note) -> Any:
    permits = asyncio.Semaphore(2)

    async def worker(name: int, length: float) -> None:
        async with permits:
            note(f"{name} in")
            await asyncio.sleep(length)
        note(f"{name} out")

    workers = [asyncio.create_task(worker(index, length)) for index, length in enumerate((2, 2, 1, 1, 1, 1))]
    ticking = asyncio.create_task(rounds(note, 2))
    await asyncio.sleep(1)
    workers[2].cancel()
    await gather(*workers, ticking, return_exceptions=True)
    await permits.acquire()
    await permits.acquire()
    waiting = [asyncio.create_task(worker(index, 0)) for index in range(7, 11)]
    await asyncio.sleep(0)
    permits.release()
    permits.release()
    waiting[0].cancel()
    late = asyncio.create_task(worker(11, 0))
    await gather(*waiting, late, rounds(note, 8), return_exceptions=True)
    return permits.locked()


@program
async def condition(note: Note) -> Any:
    changed = asyncio.Condition()

    async def waiter(name: int) -> None:
        async with changed:
            await changed.wait()
            note(f"{name} woke")

    waiting = [asyncio.create_task(waiter(index)) for index in range(4)]
    await asyncio.sleep(0)
    async with changed:
        changed.notify(1)
        waiting[0].cancel()
    await asyncio.sleep(1)
    note([task.done() for task in waiting])
    async with changed:
        changed.notify_all()
    outcome = await gather(*waiting, rounds(note, 6), return_exceptions=True)
    return [repr(each) for each in outcome]


@program
async def untouched_ones(note: Note) -> Any:
    event, lock, queue = asyncio.Event(), asyncio.Lock(), asyncio.Queue[int](2)
    barrier = asyncio.Barrier(3)

    async def waiter(name: int) -> None:
        await event.wait()
        async with lock:
            note(f"{name} has the lock")
            await asyncio.sleep(1)
        await barrier.wait()
        note(f"{name} past the barrier")

    async def producer() -> None:
        for item in range(5):
            await queue.put(item)
            note(f"put {item}")

    async def consumer() -> None:
        for _ in range(5):
            note(f"got {await queue.get()}")
            await asyncio.sleep(0.25)
            queue.task_done()

    async with TaskGroup() as group:
        for index in range(3):
            group.create_task(waiter(index))
        group.create_task(producer())
        group.create_task(consumer())
        await asyncio.sleep(0)
        event.set()
        await queue.join()
        note("joined")
    inner = asyncio.create_task(job(note, "shielded", 3))
    try:
        await wait_for(asyncio.shield(inner), 1)
    except TimeoutError:
        note("stopped waiting")
    return await inner


@program
async def own_sets_of_tasks(note: Note) -> Any:
    running = {asyncio.create_task(job(note, index, 5)) for index in range(20)}
    await asyncio.sleep(1)
    for task in running:
        task.cancel()
    await wait(running)
    note(sorted(task.get_name() for task in asyncio.all_tasks()))
    return len([task for task in running if task.cancelled()])
