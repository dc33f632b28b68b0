"""The patient, and what is found out about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from celeriac.orchestrator.model import RunFilter
from celeriac.orchestrator.status import OPEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.cli.access import Durable
    from celeriac.orchestrator.model import Micros, Run, Task
    from celeriac.orchestrator.ports import Store

SAMPLE: Final = 500
"""How many open runs are looked at, the newest."""
ANSWER_WITHIN: Final = 1.0
"""Seconds that workers have to answer."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's.

    :param check: what was looked at, in a word.
    :param mend: what to do about it.
    """

    check: str
    level: Level
    message: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that has answered.

    :param queues: the names of the queues it consumes.
    :param celeriac: whether celeriac is attached to its app.
    """

    node: str
    queues: frozenset[str]
    celeriac: bool

    @property
    def host(self) -> str:
        """The part of the node's name behind the last ``@``."""
        return self.node.rpartition("@")[2]


class Patient:
    """An app with its celeriac; what several checks need is looked up once.

    :param name: what ``celery -A`` is given for this app.
    """

    def __init__(self, app: Any, durable: Durable, name: str) -> None:
        self.app = app
        self.durable = durable
        self.celery = f"celery -A {name}"

    @property
    def store(self) -> Store:
        """The store."""
        return self.durable.client.store

    @property
    def namespace(self) -> str:
        """The namespace of the app's runs."""
        return self.durable.client.namespace

    @cached_property
    def workers(self) -> Sequence[Worker]:
        """The workers that answer within :data:`ANSWER_WITHIN`, by name."""
        inspect = self.app.control.inspect(timeout=ANSWER_WITHIN)
        queues = inspect.active_queues() or {}
        tasks = inspect.registered() or {}
        return [
            Worker(node, frozenset(each["name"] for each in found), "celeriac.turn" in tasks.get(node, ()))
            for node, found in sorted(queues.items())
        ]

    @cached_property
    def now(self) -> Micros:
        """The store's clock when it was first looked at."""
        return self.store.now()

    @cached_property
    def open_runs(self) -> Sequence[Run]:
        """The newest open runs, at most :data:`SAMPLE`."""
        return self.store.list(self.namespace, RunFilter(statuses=sorted(OPEN), limit=SAMPLE))

    @cached_property
    def tasks(self) -> Sequence[tuple[Run, Task]]:
        """What is to happen next in those runs."""
        return [(run, task) for run in self.open_runs for task in self.store.tasks(run.run_id)]


Check = Callable[[Patient], Iterator[Finding]]


def ok(check: str, message: str) -> Finding:
    """Return that all is well."""
    return Finding(check, Level.OK, message)


def warn(check: str, message: str, mend: str) -> Finding:
    """Return what works and will not always."""
    return Finding(check, Level.WARN, message, mend)


def fail(check: str, message: str, mend: str) -> Finding:
    """Return what does not work."""
    return Finding(check, Level.FAIL, message, mend)
