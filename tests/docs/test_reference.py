"""The reference says what the code says."""

from __future__ import annotations

import inspect
import re
import shlex
from dataclasses import fields
from datetime import timedelta
from enum import StrEnum
from typing import Any

import click
import pytest

import celeriac
from celeriac import errors
from celeriac.cli.program import main
from celeriac.cli.workflow import workflow
from celeriac.config.settings import Settings
from celeriac.errors import CeleriacError, Held
from celeriac.orchestrator import events
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.stores.sql.schema import make_tables
from tests.docs.pages import DOCS, Block, blocks, first_cells, pages

REFERENCE = DOCS / "reference"


def _words_of(block: Block) -> list[list[str]]:
    """Return the words of each ``celery -A ... workflow`` command of a console block."""
    found = []
    for line in block.text.splitlines():
        match = re.match(r"\$ celery -A \S+ workflow (\S.*)", line)
        if match:
            found.append([match[1], f"{block.page.name}:{block.line}"])
    return found


def test_every_public_name_is_in_the_reference() -> None:
    assert sorted(first_cells(REFERENCE / "names.md")) == sorted(celeriac.__all__)


def test_every_setting_is_in_the_reference() -> None:
    assert first_cells(REFERENCE / "settings.md", "## All settings") == list(Settings.model_fields)


@pytest.mark.parametrize("setting", Settings.model_fields)
def test_a_settings_default_is_told(setting: str) -> None:
    row = next(
        each for each in (REFERENCE / "settings.md").read_text().splitlines() if each.startswith(f"| `{setting}` |")
    )
    assert row.split("|")[2].strip() == _told(Settings.model_fields[setting].default)


def _told(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, timedelta):
        return f"{default.total_seconds():g} s"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, StrEnum):
        return f"`{default.value}`"
    return f"{default:,}" if isinstance(default, int) else f"`{default}`"


def test_every_event_is_in_the_reference() -> None:
    assert sorted(first_cells(REFERENCE / "events.md")) == sorted(events.known_tags())


def test_every_field_of_an_event_is_in_the_reference() -> None:
    text = (REFERENCE / "events.md").read_text()
    for tag in events.known_tags():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{tag}` |"))
        for each in fields(events.kind_of(tag)):
            if each.name != "command":
                assert f"`{each.name}`" in row, (tag, each.name)


def test_every_status_is_in_the_reference() -> None:
    assert first_cells(REFERENCE / "statuses.md", "## Runs") == [each.value for each in WorkflowStatus]


def test_every_error_is_in_the_reference() -> None:
    known = {each for each in errors.__all__ if inspect.isclass(getattr(errors, each))} | {"CeleriacError"}
    assert set(first_cells(REFERENCE / "errors.md")) == known
    for each in known:
        assert issubclass(getattr(errors, each), (CeleriacError, Held))


@pytest.mark.parametrize(("group", "heading"), [(workflow, "## celery -A yourapp workflow"), (main, "## celeriac")])
def test_every_command_is_in_the_reference(group: click.Group, heading: str) -> None:
    assert first_cells(REFERENCE / "cli.md", heading) == group.list_commands(click.Context(group))


def test_every_table_and_column_is_in_the_reference() -> None:
    tables = make_tables()
    for table in (tables.runs, tables.events, tables.inbox, tables.tasks, tables.leases):
        told = first_cells(REFERENCE / "tables.md", f"## {table.name}")
        assert sorted(told) == sorted(table.columns.keys()), table.name


def test_every_command_that_the_pages_show_is_one() -> None:
    shown = [each for page in pages() for block in blocks(page, "console") for each in _words_of(block)]
    assert shown
    for line, where in shown:
        words = shlex.split(line, comments=True)
        context = click.Context(workflow, info_name="workflow")
        command = workflow.get_command(context, words[0])
        assert command is not None, (where, line)
        command.make_context(words[0], words[1:], parent=context, resilient_parsing=False)
