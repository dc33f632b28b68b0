"""The commands as they are typed, on an executor in this process whose clock stands still."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner, Result

from celeriac.cli import access, workflow
from celeriac.config import Settings
from celeriac.executors.local import LocalExecutor
from celeriac.orchestrator.executor import WorkflowHandle, WorkflowOptions
from tests.cli import shop


@dataclass
class Cli:
    """``celery workflow ...`` with the words given."""

    executor: LocalExecutor
    app: Celery

    def __call__(self, *words: str, answer: str | None = None) -> Result:
        obj = SimpleNamespace(app=self.app, no_color=False)
        return CliRunner().invoke(workflow, words, obj=obj, input=answer, prog_name="celery workflow")

    def out(self, *words: str) -> str:
        """Return what a command that goes well prints."""
        result = self(*words)
        assert (result.stderr, result.exit_code) == ("", 0)
        return result.stdout

    def json(self, *words: str) -> Any:
        """Return the document that a command with ``--json`` prints."""
        return json.loads(self.out(*words, "--json"))

    def fails(self, *words: str, code: int = 1) -> str:
        """Return what a command that goes wrong says."""
        result = self(*words)
        assert (result.stdout, result.exit_code) == ("", code)
        return result.stderr

    def start(self, name: str, workflow_id: str, *args: Any) -> WorkflowHandle[Any]:
        """Start a run and have it go as far as it goes by itself."""
        handle = self.executor.execute(f"shop.{name}", WorkflowOptions(id=workflow_id, args=args))
        self.executor.drive()
        return handle


@pytest.fixture(autouse=True)
def nothing_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what other tests share with all apps of this process."""
    monkeypatch.setattr("celeriac.shared._DECLARED", [])


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    executor = shop.make_executor()
    monkeypatch.setattr(
        access, "attached", lambda app: SimpleNamespace(client=executor, settings=Settings(_env={}), app=app)
    )
    yield Cli(executor, Celery("shop", broker="memory://", set_as_current=False))
    monkeypatch.undo()
    time.tzset()
