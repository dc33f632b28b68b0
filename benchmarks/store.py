"""What a database carries by itself: ``python -m benchmarks.store [--url URL] [--connections 1,2,4,8] [--seconds S]``.

Each connection is a process that does with runs of its own what workers do for each step of a chain: claim an attempt, then commit
its outcome with the next one in one transaction. No worker, no broker, no code of a workflow; so this is the ceiling.
"""

from __future__ import annotations

import multiprocessing
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from celeriac.orchestrator.events import HistoryEvent, WorkflowStarted
from celeriac.orchestrator.model import SECOND, Commit, CommitOutcome, NewRun, Task
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.stores.sql import SqlStore, migrate

_LEASE: Final = 60 * SECOND
_NAME: Final = "benchmarks.step"


def _activity(run: NewRun, seq: int, now: int) -> Task:
    data: dict[str, Any] = {"name": _NAME, "args": [seq], "kwargs": {}}
    return Task(
        run.run_id, TaskKind.ACTIVITY, seq, TaskState.QUEUED, now + _LEASE, run.namespace, data=data, published=1
    )


def _steps(url: str, namespace: str, seconds: float, line: Any, counted: Any) -> None:
    """Take one step after the other for a while, and tell how many those were."""
    store = SqlStore(url)
    id_ = uuid.uuid4().hex
    run = NewRun(id_, id_, namespace, "benchmarks.chain", id_, id_, WorkflowStarted("benchmarks.chain"), None)
    store.create(run)
    seq, version = 1, 2
    first = [HistoryEvent(version, "activity_scheduled", store.now(), {"command": seq, "name": _NAME, "args": [seq]})]
    tasks = [_activity(run, seq, store.now())]
    store.commit(Commit(id_, run.epoch, 1, 0, WorkflowStatus.RUNNING, events=first, tasks=tasks))
    line.wait()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        token = f"{id_}{seq}"
        claim = store.claim_activity(id_, seq, attempt=1, inner=0, token=token, lease=_LEASE, worker="benchmark")
        if claim is None:
            raise RuntimeError(f"attempt {seq} could not be claimed")
        events = [
            HistoryEvent(version + 1, "activity_completed", claim.now, {"activity": seq, "result": seq}),
            HistoryEvent(version + 2, "activity_scheduled", claim.now, {"command": seq + 1, "name": _NAME}),
        ]
        commit = Commit(
            id_,
            run.epoch,
            version,
            0,
            WorkflowStatus.RUNNING,
            events=events,
            tasks=[_activity(run, seq + 1, claim.now)],
            waits=(f"activity {_NAME}",),
            settles=claim.fence,
        )
        outcome = store.commit(commit)
        if outcome is not CommitOutcome.COMMITTED:
            raise RuntimeError(f"the outcome of attempt {seq} was not committed: {outcome}")
        seq, version = seq + 1, version + 2
    store.close()
    counted.put(seq - 1)


def steps_per_second(url: str, connections: int, seconds: float) -> float:
    """Return how many steps so many processes take in a second. What they write stays, in a namespace of its own."""
    context = multiprocessing.get_context("spawn")
    line, counted = context.Barrier(connections + 1), context.Queue()
    given = (url, f"benchmark-{uuid.uuid4().hex}", seconds, line, counted)
    processes = [context.Process(target=_steps, args=given) for _ in range(connections)]
    for each in processes:
        each.start()
    line.wait(60)
    total: int = sum(counted.get(timeout=seconds + 60) for _ in processes)
    for each in processes:
        each.join()
    return total / seconds


@contextmanager
def _own_postgresql() -> Iterator[str]:
    from tests.servers import PostgresServer

    with PostgresServer() as server:
        yield server.create_database()


@contextmanager
def _given(url: str) -> Iterator[str]:
    yield url


@click.command()
@click.option("--url", help="A database that may be written to. Default: a PostgreSQL of its own, fsync on.")
@click.option("--connections", default="1,2,4,8", show_default=True, help="How many processes at once.")
@click.option("--seconds", default=5.0, show_default=True)
def main(url: str | None, connections: str, seconds: float) -> None:
    """Print how many steps a second a database carries, by itself."""
    with _own_postgresql() if url is None else _given(url) as where:
        migrate(where)
        for number in map(int, connections.split(",")):
            click.echo(f"{number} connections: {steps_per_second(where, number, seconds):,.0f} steps/s")


if __name__ == "__main__":
    main()
