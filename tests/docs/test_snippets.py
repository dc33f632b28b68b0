"""Every Python block of the documentation is run, page by page; what a page claims in tests of its own holds.

The blocks of a page are one module, in order, with the names of ``PRELUDE`` there already. A block marked ``no-run`` is
compiled only. A function ``test_...`` in a block is called with a fresh ``WorkflowEnvironment``.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import datetime as dt
import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, _state

import celeriac
from celeriac.testing.environment import WorkflowEnvironment
from tests.docs.pages import Block, blocks, name, pages

WITH_CODE = [each for each in pages() if blocks(each, "python")]
MODULE = "shop.flows"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A module with the names that the pages take for granted."""
    # Celery shares a task with every app of the process that comes later, and so with the other pages'.
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    found = types.ModuleType(MODULE)
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_always_eager = True
    durable = celeriac.Celeriac(app, store="memory://")
    names = {each: getattr(celeriac, each) for each in celeriac.__all__}
    found.__dict__.update(
        names, app=app, durable=durable, asyncio=asyncio, timedelta=dt.timedelta, dataclass=dataclasses.dataclass
    )
    monkeypatch.setitem(sys.modules, MODULE, found)
    for each in _shop():
        monkeypatch.setitem(sys.modules, each.__name__, each)
    yield found
    durable.close()


def _shop() -> list[types.ModuleType]:
    """Make the modules of an app that knows nothing of celeriac, for pages that import it."""
    celery, tasks = types.ModuleType("shop.celery"), types.ModuleType("shop.tasks")
    app = Celery("shop", broker="memory://", set_as_current=False)

    def charge(order_id: str, cents: int) -> str:
        return f"R-{order_id}"

    def send_email(to: str, subject: str) -> None:
        pass

    celery.__dict__["app"] = app
    for fn in (charge, send_email):
        tasks.__dict__[fn.__name__] = app.task(fn, name=f"shop.tasks.{fn.__name__}")
    return [types.ModuleType("shop"), celery, tasks]


def _compiled(block: Block) -> types.CodeType:
    tree = ast.parse(block.text, str(block.page))
    ast.increment_lineno(tree, block.line - 1)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: types.CodeType = compile(tree, str(block.page), "exec", flags=flags, dont_inherit=True)
    return code


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_code_of_a_page_runs(page: Path, module: types.ModuleType, tmp_path: Path) -> None:
    given = {"tmp_path": tmp_path}
    for block in blocks(page, "python"):
        code = _compiled(block)
        if "no-run" not in block.info:
            exec(code, module.__dict__)  # noqa: S102 - the page's own code
    tests = [each for label, each in vars(module).items() if label.startswith("test_") and callable(each)]
    for test in tests:
        wanted: dict[str, Any] = {"workflow_env": WorkflowEnvironment(), **given}
        test(**{each: wanted[each] for each in inspect.signature(test).parameters})


def test_most_pages_with_code_run_some_of_it() -> None:
    run = [each for each in WITH_CODE if any("no-run" not in block.info for block in blocks(each, "python"))]
    assert len(run) > len(WITH_CODE) / 2
