"""The pytest plugin: a fixture with a workflow environment. Installed packages bring it along by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from celeriac.testing.environment import WorkflowEnvironment


@pytest.fixture
def workflow_env() -> WorkflowEnvironment:
    """Workflows in this process, with a clock that jumps over waits; a new one for each test."""
    from celeriac.testing.environment import WorkflowEnvironment  # noqa: PLC0415 - a plugin must cost those nothing who don't use it

    return WorkflowEnvironment()
