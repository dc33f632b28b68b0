"""Closing a loop drops what is suspended without a word."""

# ruff: noqa: BLE001, S112 - code that catches everything is what is tested

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.orchestrator.loop import RunDiscarded
from celeriac.orchestrator.primitives import discard
from tests.runtime.driving import Drive


@pytest.fixture
def drive(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Drive]:
    """A drive after whose test nothing may have been printed, logged or complained about."""
    it = Drive()
    yield it
    it.loop.close()
    gc.collect()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


def test_suspended_code_sees_why(drive: Drive) -> None:
    seen: list[BaseException] = []

    async def code() -> None:
        try:
            await forever()
        except BaseException as error:
            seen.append(error)
            raise

    drive.start(code())
    drive.loop.close()
    assert isinstance(seen[0], RunDiscarded)
    assert "the run goes on from its history" in str(seen[0]).lower()


def test_except_exception_does_not_catch_it(drive: Drive) -> None:
    seen: list[BaseException] = []

    async def code() -> None:
        try:
            await forever()
        except Exception as error:
            seen.append(error)

    drive.start(code())
    drive.loop.close()
    assert seen == []


def test_every_further_await_is_refused(drive: Drive) -> None:
    steps: list[str] = []

    async def stubborn() -> None:
        for number in range(3):
            try:
                await asyncio.sleep(number + 1)
            except BaseException as error:
                steps.append(type(error).__name__)
        steps.append("end")

    drive.start(stubborn())
    before = list(drive.journal)
    drive.loop.close()
    assert steps == ["RunDiscarded", "RunDiscarded", "RunDiscarded", "end"]
    assert drive.journal == before


def test_code_that_never_gives_in_is_left_standing(drive: Drive) -> None:
    async def immortal() -> None:
        waiter = asyncio.get_running_loop().create_future()
        while True:
            try:
                await waiter
            except BaseException:
                continue

    drive.start(immortal())
    standing = len(discard._left_standing)
    drive.loop.close()
    assert len(discard._left_standing) == standing + 1


@pytest.mark.parametrize("again", ["sleep", "task", "gather", "wait_for"])
def test_code_that_tries_again_for_ever_is_left_standing(drive: Drive, again: str) -> None:
    ways: dict[str, Any] = {
        "sleep": lambda: asyncio.sleep(1),
        "task": lambda: asyncio.create_task(forever()),
        "gather": lambda: asyncio.gather(forever(), forever()),
        "wait_for": lambda: asyncio.wait_for(forever(), 5),
    }

    async def retrying() -> None:
        while True:
            try:
                await ways[again]()
            except BaseException:
                continue

    drive.start(retrying())
    drive.loop.close()
    assert not drive.loop.is_running()


def test_what_is_left_standing_does_not_keep_the_process_from_ending() -> None:
    program = """if True:
        import asyncio
        from celeriac.orchestrator.loop import WorkflowLoop

        async def retrying():
            while True:
                try:
                    await asyncio.sleep(1)
                except BaseException:
                    continue

        loop = WorkflowLoop(on_timer_started=lambda *_: None, on_timer_cancelled=lambda *_: None)
        loop.create_task(retrying())
        loop.run_until_idle()
        loop.close()
        asyncio = None  # as the end of the interpreter leaves it
        print("the end")
        import celeriac.orchestrator.primitives.discard as discard
        del discard._left_standing[:]
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "the end\n"


def test_cleaning_up_reaches_nobody(drive: Drive) -> None:
    async def child() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            asyncio.create_task(forever())  # noqa: RUF006 - never begins

    async def code() -> None:
        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            group.create_task(child())
            group.create_task(child())
            await asyncio.gather(child(), child())

    drive.start(code())
    before = list(drive.journal)
    drive.loop.close()
    assert drive.journal == before
    assert drive.timers.keys() == {1, 2, 3, 4, 5}


def test_tasks_that_have_not_begun_never_do(drive: Drive) -> None:
    ran: list[str] = []

    async def code() -> None:
        ran.append("begun")

    drive.loop.create_task(code())
    drive.loop.close()
    drive.loop.close()
    assert ran == []


def test_a_suspended_async_generator_is_dropped(drive: Drive) -> None:
    ran: list[str] = []

    async def numbers() -> Any:
        try:
            while True:
                yield 1
        finally:
            ran.append("closing")
            await asyncio.sleep(1)

    async def code() -> None:
        generator = numbers()
        await anext(generator)
        await forever()

    drive.start(code())
    drive.loop.close()
    gc.collect()
    assert ran == []


def test_a_failed_task_nobody_looked_at_is_not_reported(drive: Drive) -> None:
    failed: list[asyncio.Task[None]] = []

    async def bad() -> None:
        raise ValueError("lost")

    async def code() -> None:
        failed.append(asyncio.create_task(bad()))
        await forever()

    drive.start(code())
    drive.loop.close()
    failed.clear()
    gc.collect()
    assert drive.loop.errors == []


def test_a_closed_loop_does_nothing_more(drive: Drive) -> None:
    drive.loop.close()
    drive.loop.call_soon(print, "never")
    drive.loop.call_later(1, print, "never").cancel()
    assert drive.journal == []
    with pytest.raises(RuntimeError, match="this WorkflowLoop is closed"):
        drive.loop.run_until_idle()


def test_under_another_loop_cleaning_up_does_not_reach_it(drive: Drive) -> None:
    async def code() -> None:
        try:
            await forever()
        finally:
            asyncio.create_task(forever())  # noqa: RUF006 - would be the outer loop's

    async def outside() -> int:
        drive.start(code())
        drive.loop.close()
        return len(asyncio.all_tasks())

    assert asyncio.run(outside()) == 1
