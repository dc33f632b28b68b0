"""What `import celeriac` and a worker do without. Facts, not times: each module named here has a cost that nobody need pay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from celeriac.stores.sql import migrate

ROOT: Final = Path(__file__).parents[2]

NEVER: Final = {
    "alembic",
    "celeriac.demo",
    "celeriac.embedded",
    "celeriac.testing",
    "hypothesis",
    "mako",
    "pytest",
    "rich",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "unittest",
}
"""What neither needs: what migrates, tests, demonstrates and prints, and the half of SQLAlchemy that maps objects."""
NOT_TO_IMPORT: Final = NEVER | {
    "celery.bin",
    "celery.worker.consumer",
    "celery.worker.control",
    "celeriac.cli",
    "celeriac.config.settings",
    "celeriac.signals.redis",
    "celeriac.stores",
    "dotenv",
    "prompt_toolkit",
    "psycopg",
    "pydantic_settings",
    "pymysql",
    "redis",
    "sqlalchemy",
}
"""What `import celeriac` does without as well: settings, stores and drivers come when they are first used."""
DECLARED: Final = """
import json, sys
from celery import Celery
import celeriac
app = Celery("light", broker="memory://", set_as_current=False)
durable = celeriac.Celeriac(app, store="postgresql+psycopg://nowhere/shop")
@durable.activity
def charge(order: str, cents: int) -> int: ...
@durable.workflow
async def fulfil(ctx: celeriac.WorkflowContext, order: str) -> int: ...
print(json.dumps(sorted(sys.modules)))
"""
WORKER: Final = """
import json, os, sys
from celery import Celery, signals
from celeriac import Celeriac, WorkflowContext
app = Celery("light", broker="memory://")
durable = Celeriac(app, store=os.environ["LIGHT_STORE"])
@durable.workflow
async def fulfil(ctx: WorkflowContext, order: str) -> str:
    return order
@signals.worker_ready.connect
def started(sender, **_):
    fulfil.delay("A")
@signals.task_postrun.connect
def ended(task, state, **_):
    if task.name == fulfil.name and state == "SUCCESS":
        with open(os.environ["LIGHT_SEEN"], "w") as file:
            json.dump(sorted(sys.modules), file)
        raise SystemExit
"""


def among(names: set[str], modules: list[str]) -> set[str]:
    return {name for name in names for each in modules if each == name or each.startswith(f"{name}.")}


def loaded(code: str) -> list[str]:
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    modules: list[str] = json.loads(told)
    return modules


def test_importing_loads_no_more_than_it_needs() -> None:
    modules = loaded("import celeriac, json, sys; print(json.dumps(sorted(sys.modules)))")
    assert "celeriac.app" in modules
    assert among(NOT_TO_IMPORT, modules) == set()


def test_nor_does_declaring() -> None:
    assert among(NOT_TO_IMPORT, loaded(DECLARED)) == set()


def test_nor_does_a_worker_that_carries_out_a_workflow(tmp_path: Path) -> None:
    (tmp_path / "lightapp.py").write_text(WORKER)
    seen, store = tmp_path / "seen.json", f"sqlite:///{tmp_path / 'store.db'}"
    migrate(store)
    env: dict[str, Any] = {
        **os.environ,
        "LIGHT_STORE": store,
        "LIGHT_SEEN": str(seen),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
    }
    words = ["-A", "lightapp", "worker", "-P", "solo", "-l", "WARNING", "--without-mingle", "--without-gossip"]
    ended = subprocess.run(
        [sys.executable, "-m", "celery", *words],
        check=False,
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert seen.exists(), ended.stderr
    modules = json.loads(seen.read_text())
    assert {"celeriac.orchestrator.engine", "celeriac.stores.sql.store", "sqlalchemy"} <= set(modules)
    assert among(NEVER, modules) == set()
