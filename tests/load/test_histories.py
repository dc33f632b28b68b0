"""A long history: made, looked at page by page, replayed from cold, asked and gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from celeriac.cli.screen import Screen
from celeriac.cli.show import write_run
from celeriac.executors.local import LocalExecutor
from celeriac.orchestrator.context import WorkflowContext
from celeriac.orchestrator.definition import Registry, WorkflowDefinition
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.executor import WorkflowOptions
from celeriac.stores.sql import SqlStore
from celeriac.stores.sql.migrations import migrate

EVENTS = 2_500
PAGE = 1_000


def same(number: int) -> int:
    return number


async def long(ctx: WorkflowContext, count: int) -> int:
    done = 0
    ctx.query_as("done")(lambda: done)
    for number in range(count):
        done += await ctx.execute_local_activity(same, number) * 0 + 1
    await ctx.wait_signal("go")
    return done


class Reads(SqlStore):
    """Notes how much of a history is read at once."""

    read: list[int]

    def history(self, run_id: str, **options: Any) -> Sequence[HistoryEvent]:
        found = super().history(run_id, **options)
        self.read.append(len(found))
        return found


@pytest.mark.timeout(120)
def test_a_long_history_is_gone_on_with_from_cold_and_shown_in_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/flows.db"
    migrate(url)
    store, registry = Reads(url), Registry()
    store.read = []
    registry.add_workflow(WorkflowDefinition("long", long))
    executor = LocalExecutor(registry, store)
    handle = executor.execute("long", WorkflowOptions(args=(EVENTS,)))
    executor.drive(jump=False)

    executor.engine.cache.clear()
    assert executor.query(handle.id, "done") == EVENTS

    run = executor.describe(handle.id)
    store.read.clear()
    write_run(Screen(), executor, run)
    assert store.read == [PAGE, PAGE, EVENTS + 1 - 2 * PAGE, 0]
    assert sum("local activity completed" in line for line in capsys.readouterr().out.splitlines()) == EVENTS

    executor.engine.cache.clear()
    handle.signal("go")
    assert handle.result() == EVENTS
    assert [each.number for each in executor.history(handle.id)] == list(range(1, EVENTS + 4))
    store.close()
