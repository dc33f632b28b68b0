"""Which queue a workflow or an activity goes to. Plain data in, plain data out; Celery is told by the app.

No queue is invented: where neither a route nor a setting says otherwise, everything stays on the app's
default queue, which the workers of today serve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.config.settings import Settings

Routes = dict[str, dict[str, str]]
"""Task name to options, as Celery's ``task_routes`` has it."""


@dataclass(frozen=True, slots=True)
class PoolQueues:
    """The queues of the two pools: what ``-Q`` of a worker for workflows, or for activities, has to name."""

    workflows: str
    activities: str

    @classmethod
    def of(cls, settings: Settings, default_queue: str) -> PoolQueues:
        """Return the queues by settings.

        :param default_queue: the app's ``task_default_queue``.
        """
        return cls(settings.workflow_queue or default_queue, settings.activity_queue or default_queue)

    @property
    def apart(self) -> bool:
        """Whether the pools can be scaled apart."""
        return self.workflows != self.activities


def pool_routes(settings: Settings, workflows: Iterable[str], activities: Iterable[str]) -> Routes:
    """Return a route for each task that the settings name a queue for; none where they leave it to Celery.

    :param workflows: names of the workflows' tasks.
    :param activities: names of the tasks declared as activities. Tasks that the app merely uses as activities
        are not among them: they keep the way they have.
    """
    routes: Routes = {}
    for names, queue in ((activities, settings.activity_queue), (workflows, settings.workflow_queue)):
        if queue is not None:
            routes |= {name: {"queue": queue} for name in names}
    return routes


def with_routes(task_routes: Any, routes: Routes) -> list[Any]:
    """Return the app's ``task_routes`` with ``routes`` behind them, so that whatever the app says wins.

    :param task_routes: None, a mapping, a router function, its dotted name, or a list or tuple of those.
    """
    if task_routes is None:
        own: list[Any] = []
    elif isinstance(task_routes, (list, tuple)):
        own = list(task_routes)
    else:
        own = [task_routes]
    return [*own, routes] if routes else own
