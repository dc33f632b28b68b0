"""Plain functions live on the same loop as coroutines."""

# ruff: noqa: BLE001, S112 - code that catches everything is what is tested

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from celeriac.orchestrator.bridge import await_in_greenlet, in_workflow_greenlet, run_sync
from celeriac.orchestrator.loop import RunDiscarded
from celeriac.orchestrator.primitives import discard
from tests.runtime.driving import Drive


@pytest.fixture
def drive() -> Drive:
    return Drive()


def nap(length: float, result: Any = None) -> Any:
    return await_in_greenlet(asyncio.sleep(length, result))


def test_a_plain_function_waits_in_the_middle(drive: Drive) -> None:
    def code(start: int, *, step: int) -> int:
        return start + int(nap(1, step)) + int(nap(2, step))

    assert drive.run(run_sync(code, 1, step=10)) == 21
    assert drive.elapsed == 3


def test_one_that_never_waits_just_returns(drive: Drive) -> None:
    assert drive.run(run_sync(int, "7")) == 7


def test_errors_go_both_ways(drive: Drive) -> None:
    async def failing() -> None:
        await asyncio.sleep(1)
        raise KeyError("inner")

    def code() -> None:
        try:
            await_in_greenlet(failing())
        except KeyError as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError, match="outer") as caught:
        drive.run(run_sync(code))
    assert isinstance(caught.value.__cause__, KeyError)


def test_two_run_side_by_side(drive: Drive) -> None:
    def code(name: str, length: float) -> str:
        for number in range(2):
            nap(length)
            drive.note(f"{name}{number}")
        return name

    async def main() -> tuple[str, str]:
        return await asyncio.gather(run_sync(code, "a", 2), run_sync(code, "b", 1.5))

    assert list(drive.run(main())) == ["a", "b"]
    assert [line for line in drive.journal if "timer" not in line] == ["1.5 b0", "2 a0", "3 b1", "4 a1"]


def test_it_waits_through_c_frames_and_for_combinations(drive: Drive) -> None:
    def code() -> Any:
        ordered = sorted([3, 1, 2], key=lambda value: nap(0.5, value))
        generated = list(nap(0.5, number) for number in range(2))  # noqa: C400 - a generator is the point
        both = await_in_greenlet(asyncio.wait_for(asyncio.sleep(1, "in time"), 5))
        with pytest.raises(TimeoutError):
            await_in_greenlet(asyncio.wait_for(asyncio.sleep(100), 5))
        return ordered, generated, both

    assert drive.run(run_sync(code)) == ([1, 2, 3], [0, 1], "in time")
    assert drive.elapsed == 8.5


def test_cancelling_reaches_the_call_and_can_be_cleaned_up_after(drive: Drive) -> None:
    def code() -> str:
        try:
            nap(100)
        except asyncio.CancelledError:
            nap(2)
            drive.note("compensated")
            raise
        return "not cancelled"

    async def main() -> bool:
        task = asyncio.create_task(run_sync(code))
        await asyncio.sleep(3)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert drive.run(main()) is True
    assert drive.journal[-1] == "5 compensated"


def test_context_variables_are_the_tasks(drive: Drive) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    def code() -> str:
        variable.set("inner")
        nap(1)
        return variable.get()

    async def main() -> tuple[str, str]:
        variable.set("outer")
        inner = await run_sync(code)
        return inner, variable.get()

    assert drive.run(main()) == ("inner", "inner")
    assert variable.get() == "unset"


def test_the_task_and_the_loop_are_those_of_the_code(drive: Drive) -> None:
    def code() -> bool:
        nap(1)
        return asyncio.current_task() is task and asyncio.get_running_loop() is drive.loop

    task = drive.start(run_sync(code))
    assert drive.finish(task) is True


@pytest.mark.parametrize("where", ["nowhere", "in a coroutine"])
def test_waiting_elsewhere_is_explained(drive: Drive, where: str) -> None:
    async def helper() -> None:
        assert not in_workflow_greenlet()
        await_in_greenlet(asyncio.sleep(1))

    def wait() -> None:
        if where == "nowhere":
            await_in_greenlet(asyncio.sleep(1))
        else:
            drive.run(helper())

    with pytest.raises(RuntimeError, match="only a plain `def` workflow can do"):
        wait()


def test_code_knows_where_it_is(drive: Drive) -> None:
    async def main() -> tuple[bool, bool]:
        return in_workflow_greenlet(), await run_sync(in_workflow_greenlet)

    assert drive.run(main()) == (False, True)


def test_one_may_run_inside_another(drive: Drive) -> None:
    def inner(value: int) -> int:
        return int(nap(1, value + 1))

    def outer() -> int:
        return await_in_greenlet(run_sync(inner, 1)) + inner(10)

    assert drive.run(run_sync(outer)) == 13


def closing_the_loop(drive: Drive, task: asyncio.Task[Any]) -> None:
    drive.loop.close()


def closing_the_coroutine(drive: Drive, task: asyncio.Task[Any]) -> None:
    task.get_coro().close()
    drive.loop.close()


@pytest.mark.parametrize("drop", [closing_the_loop, closing_the_coroutine])
def test_a_dropped_one_unwinds_and_waits_for_nothing(
    drive: Drive, drop: Callable[[Drive, asyncio.Task[Any]], None], capfd: pytest.CaptureFixture[str]
) -> None:
    steps: list[str] = []

    def code() -> None:
        try:
            try:
                nap(100)
            except Exception:
                steps.append("except Exception")
            finally:
                steps.append("finally")
                nap(5)
                steps.append("waited")
        except BaseException as error:
            steps.append(type(error).__name__)
            raise

    task = drive.start(run_sync(code))
    before = list(drive.journal)
    drop(drive, task)
    del task
    gc.collect()
    assert steps == ["finally", "RunDiscarded"]
    assert [line for line in drive.journal[len(before) :] if "started" in line] == []
    assert capfd.readouterr() == ("", "")


def test_one_that_never_gives_in_is_left_standing(drive: Drive) -> None:
    def stubborn() -> None:
        while True:
            try:
                nap(1)
            except BaseException:
                continue

    drive.start(run_sync(stubborn))
    standing = len(discard._left_standing)
    drive.loop.close()
    assert len(discard._left_standing) == standing + 1


def test_one_that_gives_in_by_returning_is_done(drive: Drive) -> None:
    seen: list[BaseException] = []

    def code() -> str:
        try:
            nap(1)
        except BaseException as error:
            seen.append(error)
        return "whatever"

    drive.start(run_sync(code))
    standing = len(discard._left_standing)
    drive.loop.close()
    assert [type(error) for error in seen] == [RunDiscarded]
    assert len(discard._left_standing) == standing


def test_a_run_is_taken_up_from_another_greenlet_of_the_thread(drive: Drive) -> None:
    from greenlet import greenlet  # type: ignore[import-untyped]

    def code() -> str:
        nap(1)
        nap(1)
        return "end"

    task = greenlet(drive.start).switch(run_sync(code))
    greenlet(drive.fire_next).switch()
    greenlet(drive.fire_next).switch()
    assert task.result() == "end"


GEVENT = """
import gevent.monkey
gevent.monkey.patch_all()
import asyncio
import gevent
from celeriac.orchestrator.bridge import await_in_greenlet, run_sync
from tests.runtime.driving import Drive

order = []

def code(name):
    for number in range(3):
        await_in_greenlet(asyncio.sleep(1))
        order.append(f"{name}{number}")

def turns(name):
    drive = Drive()
    task = drive.start(run_sync(code, name))
    while not task.done():
        gevent.sleep(0)         # another run's turn comes in between, from the hub
        drive.fire_next()

gevent.joinall([gevent.spawn(turns, "a"), gevent.spawn(turns, "b")], raise_error=True)
print(*order)
"""


def test_it_lives_beside_gevents_hub() -> None:
    done = subprocess.run([sys.executable, "-c", GEVENT], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["a0", "b0", "a1", "b1", "a2", "b2"], "")


def test_typed(drive: Drive) -> None:
    def code(number: int) -> str:
        return str(number)

    coroutine: Awaitable[str] = run_sync(code, 1)
    assert drive.loop is not None
    drive.run(coroutine)  # type: ignore[arg-type]
