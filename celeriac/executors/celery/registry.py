"""The definitions of a Celery app: workflows and activities are its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery import Celery
from celery.app.task import Task

from celeriac.activities.definition import ActivityDefinition
from celeriac.activities.options import ActivityOptions, RetryPolicy
from celeriac.errors import InvalidCall
from celeriac.orchestrator.definition import Registry, WorkflowDefinition

OPTIONS: str = "celeriac_options"
"""The attribute of a task that holds the options of an activity declared with ``@durable.activity``."""
BODY: str = "_celeriac_body"
"""The attribute of a wrapped task that holds what its ``run`` was."""
FOREIGN: ActivityOptions = ActivityOptions(foreign=True)
"""The options of a task that is not one of the app's."""
_KNOWN: str = "_celeriac_activity"


@dataclass(frozen=True, slots=True)
class NamedActivity:
    """A task by its name, with options for a call; the task is looked up when the call is made."""

    name: str
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        ActivityOptions().merged(self.options)


class CeleryRegistry(Registry):
    """Looks workflows and activities up among the app's tasks, whenever they were declared."""

    __slots__ = ("app",)

    def __init__(self, app: Celery) -> None:
        super().__init__()
        self.app = app

    def workflow(self, name: str) -> WorkflowDefinition | None:
        """Return the definition of a workflow task, or None."""
        found = self.workflows.get(name)
        if found is None:
            found = getattr(self.app.tasks.get(name), "definition", None)
            if isinstance(found, WorkflowDefinition):
                self.add_workflow(found)
            else:
                found = None
        return found

    def known_workflow(self, name: str) -> WorkflowDefinition:
        """Return the definition.

        :raises UnknownDefinition: with the nearest name.
        """
        for each in list(self.app.tasks):
            self.workflow(each)
        return super().known_workflow(name)

    def activity(self, reference: Any) -> ActivityDefinition:
        """Return the activity that a task, a task's name or a declared activity stands for."""
        if isinstance(reference, NamedActivity):
            return self.activity(reference.name).with_options(reference.options)
        if isinstance(reference, Task):
            return activity_of(reference)
        if isinstance(reference, str):
            task = self.app.tasks.get(reference)
            return ActivityDefinition(reference, None, FOREIGN) if task is None else activity_of(task)
        return super().activity(reference)


def activity_of(task: Any) -> ActivityDefinition:
    """Return how a task is run as an activity: its own types, and options drawn from its own settings.

    :raises InvalidCall: it is a workflow.
    """
    task = getattr(task, "_get_current_object", lambda: task)()
    known = task.__dict__.get(_KNOWN)
    if known is None:
        if hasattr(task, "celeriac_fn"):
            short = task.name.rpartition(".")[2]
            raise InvalidCall(
                f"{task.name!r} is a workflow, and a workflow can't be executed as an activity. Start it in an activity "
                f"({short}.delay(...)) and have it signal this run when it is done, or await its function's code here"
            )
        declared = getattr(task, OPTIONS, None)
        options = declared if isinstance(declared, ActivityOptions) else _own_options(task)
        known = ActivityDefinition(task.name, task.__dict__.get(BODY, task.run), options)
        task.__dict__[_KNOWN] = known
    return known  # type: ignore[no-any-return]


def _own_options(task: Any) -> ActivityOptions:
    """Draw options from what an existing task says of itself, so that one of the two owns each of them."""
    options: dict[str, Any] = {}
    if getattr(task, "autoretry_for", None):
        # The task's own retries go round within one attempt, and what it raises in the end is final. A worker that dies
        # under it is no affair of its own: that is another attempt.
        options["retry"] = RetryPolicy(non_retryable=(Exception,))
    limit = task.time_limit or task.app.conf.task_time_limit
    if limit:
        options["start_to_close"] = limit
    if isinstance(task.expires, (int, float)) and not isinstance(task.expires, bool) and task.expires > 0:
        options["schedule_to_start"] = task.expires
    return ActivityOptions(**options)
