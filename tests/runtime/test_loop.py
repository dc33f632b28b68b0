"""The loop does what it is told, in order, and nothing by itself."""

from __future__ import annotations

import asyncio
import contextvars
import math
import sys
from typing import Any

import pytest

from celeriac.orchestrator.loop import WorkflowFuture, WorkflowLoop, WorkflowTask, WorkflowTimer
from tests.runtime.driving import EPOCH, Drive


@pytest.fixture
def drive() -> Drive:
    return Drive()


def test_what_is_ready_runs_first_in_first_out(drive: Drive) -> None:
    ran: list[int] = []
    for number in range(3):
        drive.loop.call_soon(ran.append, number)
    drive.loop.call_soon(lambda: drive.loop.call_soon(ran.append, 9))
    drive.loop.call_soon(ran.append, 3)
    drive.loop.run_until_idle()
    assert ran == [0, 1, 2, 3, 9]


def test_a_cancelled_handle_does_not_run(drive: Drive) -> None:
    ran: list[int] = []
    drive.loop.call_soon(ran.append, 1).cancel()
    drive.loop.run_until_idle()
    assert ran == []


def test_the_clock_is_what_the_runtime_says(drive: Drive) -> None:
    drive.loop.now = EPOCH + 5
    assert drive.loop.time() == EPOCH + 5


@pytest.mark.parametrize(
    ("asked", "started"),
    [
        (3, 3.0),
        (3.0001, 3.001),
        (0.0000001, 0.001),
        (0.57, 0.57),
        (1.001, 1.001),
        (86_400 * 365.25, 86_400 * 365.25),
        (0.1 + 0.2, 0.3),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_delay_is_rounded_up_to_the_millisecond(drive: Drive, asked: float, started: float, absolute: bool) -> None:
    drive.loop.now = EPOCH + 0.123
    timer = drive.loop.call_at(drive.loop.now + asked, print) if absolute else drive.loop.call_later(asked, print)
    assert isinstance(timer, WorkflowTimer)
    assert timer.delay == pytest.approx(started, abs=1e-9) or (absolute and asked < 1e-6 and timer.delay == 0)


@pytest.mark.parametrize("delay", [0, -1, -0.001])
def test_no_delay_is_no_timer(drive: Drive, delay: float) -> None:
    ran: list[int] = []
    drive.loop.call_later(delay, ran.append, 1)
    drive.loop.call_at(EPOCH + delay, ran.append, 2)
    drive.loop.run_until_idle()
    assert ran == [1, 2]
    assert drive.journal == []


def test_a_timer_without_end_is_reported_to_nobody(drive: Drive) -> None:
    timer = drive.loop.call_later(math.inf, print)
    timer.cancel()
    assert drive.journal == []


def test_a_delay_that_is_no_number_is_refused(drive: Drive) -> None:
    with pytest.raises(ValueError, match="NaN"):
        drive.loop.call_later(math.nan, print)


def test_the_clock_passing_a_deadline_fires_nothing(drive: Drive) -> None:
    ran: list[int] = []
    drive.loop.call_later(1, ran.append, 1)
    drive.loop.now += 100
    drive.loop.run_until_idle()
    assert ran == []


def test_firing_makes_exactly_that_timer_ready(drive: Drive) -> None:
    ran: list[int] = []
    drive.loop.call_later(1, ran.append, 1)
    drive.loop.call_later(1, ran.append, 2)
    drive.loop.fire(drive.timers[2])
    drive.loop.run_until_idle()
    assert ran == [2]


def test_a_timer_fires_once(drive: Drive) -> None:
    ran: list[int] = []
    drive.loop.call_later(1, ran.append, 1)
    for _ in range(2):
        drive.loop.fire(drive.timers[1])
    drive.loop.run_until_idle()
    drive.loop.fire(drive.timers[1])
    drive.loop.run_until_idle()
    assert ran == [1]


def test_a_timer_is_cancelled_once_and_not_after_it_fired(drive: Drive) -> None:
    first, second = drive.loop.call_later(1, print), drive.loop.call_later(2, print)
    first.cancel()
    first.cancel()
    drive.loop.fire(drive.timers[2])
    second.cancel()
    drive.loop.run_until_idle()
    assert drive.journal == ["0 timer 1 started for 1", "0 timer 2 started for 2", "0 timer 1 cancelled"]


def test_two_timers_of_the_same_length_are_two(drive: Drive) -> None:
    first, second = drive.loop.call_later(1, print), drive.loop.call_later(1, print)
    assert first != second
    assert len({first, second}) == 2


def test_futures_and_tasks_hash_by_their_number(drive: Drive) -> None:
    async def nothing() -> None: ...

    first, task, last = (
        drive.loop.create_future(),
        drive.loop.create_task(nothing()),
        drive.loop.create_future(),
    )
    assert isinstance(first, WorkflowFuture)
    assert isinstance(task, WorkflowTask)
    assert [hash(first), hash(task), hash(last)] == [1, 2, 3]
    assert first != last
    assert task.get_name() == "Task-2"
    drive.loop.run_until_idle()


def test_many_runs_do_not_collide_in_the_set_that_asyncio_keeps() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    drives = [Drive() for _ in range(50)]
    tasks = [drive.start(forever()) for drive in drives]
    assert {hash(task) for task in tasks} == {1}
    kept = getattr(asyncio.tasks, "_scheduled_tasks", getattr(asyncio.tasks, "_all_tasks", None))
    if sys.version_info < (3, 14):
        hashes = {hash(reference) for reference in kept.data if reference() in tasks}  # type: ignore[union-attr]
        assert len(hashes) == 50
    for drive in drives:
        drive.loop.close()


def test_idle_is_asked_again_until_it_has_nothing(drive: Drive) -> None:
    ran: list[int] = []

    def on_idle() -> bool:
        ran.append(len(ran))
        drive.loop.call_soon(ran.append, 100 + len(ran))
        assert asyncio.get_running_loop() is drive.loop
        return len(ran) < 4

    drive.loop.on_idle = on_idle
    drive.loop.run_until_idle()
    assert ran == [0, 101, 2, 103, 4]


def test_it_does_not_run_inside_itself(drive: Drive) -> None:
    async def again() -> None:
        drive.loop.run_until_idle()

    with pytest.raises(RuntimeError, match="this WorkflowLoop is running already"):
        drive.run(again())


def test_the_callers_loop_and_task_are_back_afterwards() -> None:
    seen: list[object] = []

    async def inside() -> int:
        seen.append(asyncio.get_running_loop())
        seen.append(asyncio.current_task())
        await asyncio.sleep(1)
        return 7

    async def outside() -> tuple[int, Any]:
        before, task, hooks = asyncio.get_running_loop(), asyncio.current_task(), sys.get_asyncgen_hooks()
        drive = Drive()
        result = drive.run(inside())
        assert seen[0] is drive.loop
        assert isinstance(seen[1], WorkflowTask)
        assert asyncio.get_running_loop() is before
        assert asyncio.current_task() is task
        assert sys.get_asyncgen_hooks() == hooks
        await asyncio.sleep(0)
        return result, drive.elapsed

    assert asyncio.run(outside()) == (7, 1)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_a_process_comes_out_and_leaves_the_loop_whole(drive: Drive, error: BaseException) -> None:
    ran: list[str] = []

    async def leave() -> None:
        raise error

    async def other() -> None:
        ran.append("other")
        await asyncio.sleep(0)
        ran.append("and on")

    hooks = sys.get_asyncgen_hooks()
    task = drive.loop.create_task(leave())
    drive.loop.create_task(other())
    with pytest.raises(type(error)):
        drive.loop.run_until_idle()
    assert not drive.loop.is_running()
    assert asyncio._get_running_loop() is None
    assert sys.get_asyncgen_hooks() == hooks
    assert task.exception() is error
    drive.loop.run_until_idle()
    assert ran == ["other", "and on"]


def test_other_base_exceptions_stay_in_their_task(drive: Drive) -> None:
    class Odd(BaseException): ...

    async def odd() -> None:
        raise Odd

    task = drive.start(odd())
    assert isinstance(task.exception(), Odd)


def test_a_task_that_failed_unseen_is_reported(drive: Drive) -> None:
    async def lost() -> None:
        raise ValueError("lost")

    async def main() -> None:
        asyncio.create_task(lost())  # noqa: RUF006 - it is lost
        await asyncio.sleep(1)

    drive.run(main())
    (error,) = drive.loop.errors
    assert error["message"] == "WorkflowTask exception was never retrieved"
    assert repr(error["exception"]) == "ValueError('lost')"


def test_a_callback_that_fails_is_reported(drive: Drive) -> None:
    seen: list[str] = []
    drive.loop.set_exception_handler(lambda _, context: seen.append(context["message"]))
    drive.loop.call_soon(int, "x")
    drive.loop.run_until_idle()
    (error,) = drive.loop.errors
    assert isinstance(error["exception"], ValueError)
    assert seen == [error["message"]]


def test_a_task_nobody_refers_to_is_kept(drive: Drive) -> None:
    import gc

    ran: list[str] = []

    async def waiting() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ran.append("collected")

    async def main() -> None:
        asyncio.create_task(waiting())  # noqa: RUF006 - that is the point
        await asyncio.sleep(0)

    drive.run(main())
    gc.collect()
    assert ran == []
    assert len(drive.loop.pending_tasks()) == 1
    drive.loop.close()


def test_finished_tasks_are_let_go(drive: Drive) -> None:
    async def nothing() -> None: ...

    async def main() -> None:
        for _ in range(1000):
            await asyncio.create_task(nothing())

    drive.run(main())
    assert len(drive.loop._tasks) <= 65


def test_each_task_has_its_own_context(drive: Drive) -> None:
    variable = contextvars.ContextVar("variable", default=0)

    async def child() -> int:
        variable.set(2)
        await asyncio.sleep(0)
        return variable.get()

    async def main() -> tuple[int, int]:
        variable.set(1)
        return await asyncio.create_task(child()), variable.get()

    assert drive.run(main()) == (2, 1)
    assert variable.get() == 0


def test_an_async_generator_that_is_left_early_cleans_up(drive: Drive) -> None:
    async def numbers() -> Any:
        try:
            for number in range(9):
                yield number
        finally:
            drive.note("closing")
            await asyncio.sleep(2)
            drive.note("closed")

    async def main() -> None:
        async for number in numbers():
            if number == 1:
                break
        drive.note("left")
        await asyncio.sleep(5)

    drive.run(main())
    assert drive.journal == [
        "0 left",
        "0 timer 1 started for 5",
        "0 closing",
        "0 timer 2 started for 2",
        "2 timer 2 fired",
        "2 closed",
        "5 timer 1 fired",
    ]


def test_an_async_generator_that_the_collector_finds_does_not_run_again(drive: Drive) -> None:
    import gc

    ran: list[str] = []

    async def numbers() -> Any:
        try:
            yield 1
        finally:
            ran.append("closing")

    async def main() -> None:
        cycle: list[Any] = [numbers()]
        await anext(cycle[0])
        cycle.append(cycle)
        del cycle
        gc.collect()
        await asyncio.sleep(0)

    drive.run(main())
    assert ran == []


def test_requests_to_cancel_are_counted_alike_everywhere(drive: Drive) -> None:
    # Since Python 3.13 asyncio forgets a request that is taken back before it is delivered.
    async def main() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        assert (task.cancelling(), task.uncancel(), task.uncancel()) == (1, 0, 0)
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            return "delivered"
        return "forgotten"

    assert drive.run(main()) == "delivered"


def test_wishes_for_eager_tasks_are_ignored(drive: Drive) -> None:
    async def child() -> None:
        drive.note("child")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        if sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        task = drive.loop.create_task(child(), eager_start=True)
        drive.note("main")
        await task

    drive.run(main())
    assert drive.journal == ["0 main", "0 child"]


def test_another_makers_tasks_are_refused(drive: Drive) -> None:
    with pytest.raises(RuntimeError, match="makes its tasks itself"):
        drive.loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))
    drive.loop.set_task_factory(None)


def test_a_loop_is_an_asyncio_loop(drive: Drive) -> None:
    assert isinstance(drive.loop, asyncio.AbstractEventLoop)
    assert not drive.loop.get_debug()
    assert not drive.loop.is_closed()


def test_a_timer_number_is_the_runtimes() -> None:
    timers: list[WorkflowTimer] = []
    loop = WorkflowLoop(on_timer_started=lambda timer, _: timers.append(timer), on_timer_cancelled=lambda timer: None)
    loop.call_later(1, print)
    assert timers[0].number is None
    loop.close()
