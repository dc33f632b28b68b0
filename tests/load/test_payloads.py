"""Payloads at the limit, and more of them in one turn than one packet of a database's protocol holds."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from celeriac.activities.definition import ActivityDefinition
from celeriac.activities.options import ActivityOptions, RetryPolicy
from celeriac.config.settings import Settings
from celeriac.errors import WorkflowFailedError
from celeriac.executors.local import LocalExecutor
from celeriac.orchestrator.context import WorkflowContext
from celeriac.orchestrator.definition import Registry, WorkflowDefinition
from celeriac.orchestrator.executor import WorkflowOptions
from celeriac.stores.sql import SqlStore

LIMIT: Final[int] = Settings.model_fields["max_payload_bytes"].default
QUOTES: Final = 2
BRACKETS: Final = 2
TOGETHER: Final = 12
"""So many payloads of two megabytes are more than MariaDB takes in one packet (16 MB)."""
ONCE: Final = ActivityOptions(retry=RetryPolicy.never())


def grow(size: int) -> str:
    """Return a text that takes so many bytes as a result."""
    return "x" * (size - QUOTES)


def length(text: str) -> int:
    return len(text)


async def carry(ctx: WorkflowContext, size: int) -> list[int]:
    text = "\\" * ((size - QUOTES - BRACKETS) // 2)  # each of which takes two bytes, and two more in a literal of SQL
    there = await asyncio.gather(*(ctx.execute_activity("length", text) for _ in range(TOGETHER)))
    back = await asyncio.gather(*(ctx.execute_activity("grow", size) for _ in range(TOGETHER)))
    return [*there, *map(len, back)]


async def too_much(ctx: WorkflowContext, size: int) -> str:
    return str(await ctx.execute_activity("grow", size))


@pytest.fixture
def executor(any_store: SqlStore) -> LocalExecutor:
    registry = Registry(max_payload=LIMIT)
    registry.activities["grow"] = ActivityDefinition("grow", grow, ONCE)
    registry.activities["length"] = ActivityDefinition("length", length, ONCE)
    registry.add_workflow(WorkflowDefinition("carry", carry))
    registry.add_workflow(WorkflowDefinition("too_much", too_much))
    return LocalExecutor(registry, any_store)


@pytest.mark.timeout(180)
def test_what_takes_exactly_the_limit_passes_and_many_of_them_in_one_turn(executor: LocalExecutor) -> None:
    handle = executor.execute("carry", WorkflowOptions(args=(LIMIT,)))
    characters = (LIMIT - QUOTES - BRACKETS) // 2
    assert handle.result() == [characters] * TOGETHER + [LIMIT - QUOTES] * TOGETHER
    executor.engine.cache.clear()
    assert len(executor.query(handle.id, "stack")) == 0
    completed = [each for each in executor.history(handle.id) if each.type == "activity_completed"]
    assert len(completed) == 2 * TOGETHER


def test_a_byte_more_is_refused_in_words_that_say_what_to_do(executor: LocalExecutor) -> None:
    handle = executor.execute("too_much", WorkflowOptions(args=(LIMIT + 1,)))
    with pytest.raises(WorkflowFailedError) as raised:
        handle.result()
    assert (
        f"result of activity 'grow' would take {LIMIT + 1:,} bytes, more than the {LIMIT:,} that are recorded. Store it "
        f"elsewhere (an object store, a file) and pass its name, or raise the setting max_payload_bytes"
    ) in str(raised.value)
