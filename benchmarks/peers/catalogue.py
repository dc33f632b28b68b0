"""All peers, by name. The first one is what the others are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.peers.peer import Peer, celery_worker

_CELERY: Final = ("celery", "kombu", "redis")
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
)
PEERS: Final[Mapping[str, Peer]] = {each.name: each for each in _PEERS}
OURS: Final = "celeriac"
