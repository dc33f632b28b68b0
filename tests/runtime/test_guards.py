"""Workflow code is caught where it reaches out of the replay; nobody else is."""

# ruff: noqa: BLE001, PLW0108 - code that catches everything; a line of ours that makes the call

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import importlib
import linecache
import logging
import os
import pathlib
import pickle
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
import uuid
import warnings
import zoneinfo
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from celeriac.errors import ForbiddenCallError
from celeriac.orchestrator.bridge import run_sync
from celeriac.orchestrator.guards import Guard, suspended
from tests.runtime.driving import Drive

ACTIVITY = "move it into an activity"


def in_workflow(action: Callable[[], Any], drive: Drive | None = None) -> Any:
    """Call ``action`` from workflow code under guard, and return its result or raise what it raised."""

    async def workflow() -> Any:
        return action()

    with Guard():
        return (drive or Drive()).run(workflow())


def popen() -> Any:
    return subprocess.Popen(["true"])


def start_thread() -> None:
    threading.Thread(target=print).start()


FORBIDDEN: list[tuple[Callable[[], Any], str, str]] = [
    (lambda: time.sleep(0), "time.sleep", "write `await ctx.sleep(...)`"),
    (lambda: open("/etc/hostname"), "open", ACTIVITY),  # noqa: PTH123, SIM115
    (lambda: pathlib.Path("/etc/hostname").read_text(), "pathlib.Path.read_text", ACTIVITY),
    (lambda: os.open("/etc/hostname", os.O_RDONLY), "open", ACTIVITY),
    (lambda: os.listdir("/"), "os.listdir", ACTIVITY),  # noqa: PTH208
    (lambda: tempfile.mkstemp(), "tempfile.mkstemp", ACTIVITY),
    (lambda: shutil.copy("/etc/hostname", "/nowhere/at/all"), "shutil.copy", ACTIVITY),
    (lambda: socket.socket(), "socket.socket.__init__", ACTIVITY),
    (lambda: socket.create_connection(("127.0.0.1", 1)), "socket.create_connection", ACTIVITY),
    (lambda: socket.getaddrinfo("localhost", 1), "socket.getaddrinfo", ACTIVITY),
    (lambda: urllib.request.urlopen("http://localhost:1/"), "urllib.request.urlopen", ACTIVITY),
    (popen, "subprocess.Popen.__init__", ACTIVITY),
    (lambda: subprocess.run(["true"], check=True), "subprocess.run", ACTIVITY),
    (lambda: os.system("true"), "os.system", ACTIVITY),  # noqa: S605
    (lambda: sqlite3.connect(":memory:"), "sqlite3.connect", ACTIVITY),
    (start_thread, "threading.Thread.start", ACTIVITY),
    (lambda: uuid.uuid4(), "uuid.uuid4", "write `ctx.uuid4()`"),
    (lambda: uuid.uuid1(), "uuid.uuid1", "write `ctx.uuid4()`"),
]


@pytest.mark.parametrize(("action", "call", "replacement"), FORBIDDEN, ids=[call for _, call, _ in FORBIDDEN])
def test_a_forbidden_call_is_named_with_its_replacement(action: Callable[[], Any], call: str, replacement: str) -> None:
    drive = Drive()
    with pytest.raises(ForbiddenCallError) as caught:
        in_workflow(action, drive)
    error = caught.value
    assert (error.call, error.replacement) == (call, replacement)
    assert error.where == f"{__file__}:{action.__code__.co_firstlineno + (action in (popen, start_thread))}"
    assert drive.loop.held is error


async def to_thread() -> Any:
    return await asyncio.to_thread(print)


async def in_executor() -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, print)


async def open_connection() -> Any:
    return await asyncio.open_connection("127.0.0.1", 1)


async def start_process() -> Any:
    return await asyncio.create_subprocess_exec("true")


async def run_again() -> Any:
    coroutine = asyncio.sleep(0)
    try:
        return asyncio.run(coroutine)
    finally:
        coroutine.close()


async def from_a_thread() -> Any:
    return asyncio.get_running_loop().call_soon_threadsafe(print)


@pytest.mark.parametrize(
    ("code", "call", "replacement"),
    [
        (to_thread, "asyncio.to_thread", ACTIVITY),
        (in_executor, "loop.run_in_executor", ACTIVITY),
        (open_connection, "asyncio.open_connection", ACTIVITY),
        (start_process, "asyncio.create_subprocess_exec", ACTIVITY),
        (run_again, "asyncio.run", "await the coroutine instead"),
        (from_a_thread, "loop.call_soon_threadsafe", "send the workflow a signal instead"),
    ],
)
def test_what_asyncio_offers_is_refused_even_without_guard(
    code: Callable[[], Coroutine[Any, Any, Any]], call: str, replacement: str
) -> None:
    drive = Drive()
    with pytest.raises(ForbiddenCallError) as caught:
        drive.run(code())
    error = caught.value
    assert (error.call, error.replacement) == (call, replacement)
    assert error.where is not None
    assert error.where.startswith(f"{__file__}:")
    assert drive.loop.held is error


def test_the_message_says_it_all() -> None:
    with pytest.raises(ForbiddenCallError) as caught:
        in_workflow(lambda: time.sleep(1))
    assert str(caught.value) == (
        f"time.sleep at {caught.value.where} can't be used in a workflow, because replay can't reproduce it: "
        "write `await ctx.sleep(...)`"
    )


def test_swallowing_it_does_not_help() -> None:
    def swallow() -> str:
        try:
            time.sleep(1)
        except BaseException:
            return "swallowed"
        return "slept"

    drive = Drive()
    assert in_workflow(swallow, drive) == "swallowed"
    assert isinstance(drive.loop.held, ForbiddenCallError)


def test_plain_functions_are_watched_too() -> None:
    with Guard(), pytest.raises(ForbiddenCallError, match=r"^open at "):
        Drive().run(run_sync(lambda: open("/etc/hostname")))  # noqa: PTH123, SIM115


def test_a_warm_executor_is_refused_too() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(print).result()
        with pytest.raises(ForbiddenCallError, match=r"^ThreadPoolExecutor.submit at "):
            in_workflow(lambda: pool.submit(print))
        assert pool.submit(int, "7").result() == 7


def test_a_refused_thread_is_not_counted() -> None:
    before = threading.active_count()
    with pytest.raises(ForbiddenCallError):
        in_workflow(start_thread)
    assert threading.active_count() == before


# -- who is left alone -------------------------------------------------------------------------------------------------


class FileHandler(logging.Handler):
    """As applications write them: a handler of their own that opens files."""

    def emit(self, record: logging.LogRecord) -> None:
        pathlib.Path(os.devnull).read_text()


def log_with_own_handler() -> None:
    logger = logging.getLogger("tests.guards")
    handler = FileHandler()
    logger.addHandler(handler)
    try:
        logger.warning("from a workflow")
    finally:
        logger.removeHandler(handler)


def import_afresh() -> str:
    sys.modules.pop("this_is_imported_late", None)
    return importlib.import_module("this_is_imported_late").CONTENT  # type: ignore[no-any-return]


def show_traceback() -> str:
    linecache.clearcache()
    try:
        raise ValueError("shown")  # noqa: TRY301 - it is to have this line
    except ValueError:
        return traceback.format_exc()


@pytest.fixture
def late_module(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.txt").write_text("read while importing")
    (tmp_path / "this_is_imported_late.py").write_text(
        "import pathlib\n"
        "def load():\n"
        "    return pathlib.Path(__file__).with_name('data.txt').read_text()\n"
        "CONTENT = load()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_imports_pass(late_module: None) -> None:
    assert in_workflow(import_afresh) == "read while importing"


def test_time_zones_logging_and_tracebacks_pass() -> None:
    zoneinfo.ZoneInfo.clear_cache()
    assert in_workflow(lambda: zoneinfo.ZoneInfo("Europe/Berlin").key) == "Europe/Berlin"
    in_workflow(log_with_own_handler)
    assert 'raise ValueError("shown")' in in_workflow(show_traceback)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        in_workflow(lambda: warnings.warn("from a workflow", stacklevel=1))
    assert len(seen) == 1


def test_a_library_that_reads_its_own_files_passes() -> None:
    import certifi

    code = compile(
        "def read(path):\n    with open(path) as file:\n        return file.read(1)\n",
        certifi.__file__,
        "exec",
    )
    namespace: dict[str, Any] = {}
    exec(code, namespace)  # noqa: S102 - a stand-in for an installed library's function
    assert in_workflow(lambda: namespace["read"](certifi.where())) != ""


def test_a_library_that_goes_to_the_network_does_not() -> None:
    import requests

    with pytest.raises(ForbiddenCallError, match=r"^requests.get at .*test_guards.py"):
        in_workflow(lambda: requests.get("http://127.0.0.1:1/", timeout=1))


def test_code_outside_workflows_passes(tmp_path: pathlib.Path) -> None:
    def outside() -> uuid.UUID:
        (tmp_path / "file").write_text("x")
        time.sleep(0)
        thread = threading.Thread(target=print)
        thread.start()
        thread.join()
        return uuid.uuid4()

    with Guard():
        assert outside().version == 4
        assert asyncio.run(asyncio.to_thread(outside)).version == 4


def test_another_thread_is_left_alone_while_a_workflow_runs(tmp_path: pathlib.Path) -> None:
    asked, answered = threading.Event(), threading.Event()
    written: list[str] = []

    def elsewhere() -> None:
        asked.wait(10)
        (tmp_path / "file").write_text("x")
        written.append("x")
        answered.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()

    def workflow() -> bool:
        asked.set()
        return answered.wait(10)

    assert in_workflow(workflow) is True
    thread.join()
    assert written == ["x"]


def test_without_a_guard_nothing_is_watched(tmp_path: pathlib.Path) -> None:
    async def workflow() -> None:
        (tmp_path / "file").write_text("x")

    in_workflow(lambda: None)
    Drive().run(workflow())
    assert (tmp_path / "file").exists()


# -- the way out -------------------------------------------------------------------------------------------------------


def test_suspended_lets_it_through_and_ends() -> None:
    def action() -> str:
        with suspended():
            text = pathlib.Path(os.devnull).read_text()
        time.sleep(0)
        return text

    with pytest.raises(ForbiddenCallError, match=r"^time.sleep"):
        in_workflow(action)


def test_suspended_concerns_its_own_task_only() -> None:
    async def unsafe() -> None:
        with suspended():
            await asyncio.sleep(1)
            time.sleep(0)  # noqa: ASYNC251

    async def safe() -> None:
        time.sleep(0)  # noqa: ASYNC251

    async def main() -> Any:
        return await asyncio.gather(unsafe(), safe(), return_exceptions=True)

    with Guard():
        first, second = Drive().run(main())
    assert first is None
    assert isinstance(second, ForbiddenCallError)


# -- what stands in for time.sleep before Python 3.13 ------------------------------------------------------------------


def test_time_sleep_is_what_it_was_to_everyone_else() -> None:
    in_workflow(lambda: None)

    class Waiter:
        sleep = time.sleep

    Waiter().sleep(0)  # type: ignore[call-arg, misc]
    assert time.sleep.__name__ == "sleep"
    assert pickle.loads(pickle.dumps(time.sleep)) is time.sleep  # noqa: S301
    assert copy.deepcopy(time.sleep) is time.sleep
    with pytest.raises(TypeError):
        time.sleep("long")


def test_guards_nest() -> None:
    def nested() -> None:
        with Guard():
            pass
        time.sleep(0)

    with pytest.raises(ForbiddenCallError, match=r"^time.sleep"):
        in_workflow(nested)
