"""What is left in Redis and in the store when everything is done: nothing that grows."""

from __future__ import annotations

import re
import threading
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from celery import Celery, chain, chord, signature

from celeriac.stores.sql import SqlStore
from tests.celery_edge.harness import Ledger, Worker, eventually

HERE = "tests.celery_edge.flows"


def documented() -> list[re.Pattern[str]]:
    """Return the keys that the reference explains."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "channels.md").read_text()
    table = page.partition("## Keys in Redis")[2].partition("## Celery messages")[0]
    names = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    return [
        re.compile("".join(".+" if part[:1] == "<" else re.escape(part) for part in re.split(r"(<[^>]+>)", name)))
        for name in names
    ]


class Watch:
    """Notes each key that there is while it watches."""

    def __init__(self, url: str) -> None:
        self.seen: set[str] = set()
        self._url, self._over = url, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        with redis.Redis.from_url(self._url, decode_responses=True) as client:
            while not self._over.wait(0.01):
                self.seen.update(client.scan_iter())


def kinds(client: redis.Redis) -> dict[str, int]:
    """Count the keys, ids taken out of them, and say which ones expire."""
    found: Counter[str] = Counter()
    for key in client.scan_iter():
        name = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", str(key))
        found[f"{name} (expires)" if client.ttl(key) > 0 else name] += 1
    return dict(found)


def test_redis_and_the_store_after_all_is_done(edge_env: Any, ledger: Ledger, tmp_path: Path) -> None:
    broker = edge_env["EDGE_BROKER"].rpartition("/")[0] + "/7"
    store = f"sqlite:///{tmp_path / 'left.db'}"
    key = uuid.uuid4().hex[:8]
    with (
        Celery("stranger", broker=broker, backend=broker, set_as_current=False) as stranger,
        redis.Redis.from_url(broker, decode_responses=True) as client,
        Watch(broker) as watch,
        Worker(tmp_path, HERE, EDGE_BROKER=broker, EDGE_STORE=store) as worker,
    ):

        def call(name: str, *args: Any) -> Any:
            return signature(f"{HERE}.{name}", args, app=stranger)

        def everything() -> int:
            """Run one of each and return how many results there are to be had."""
            plain = [call("double", n).delay() for n in range(5)]
            plain.append(call("told", f"{HERE}.failing", [uuid.uuid4().hex, 1]).delay())
            plain.append(call("one", f"{HERE}.replaced", [uuid.uuid4().hex, "chain"]).delay())
            plain.append(chain(call("prepare", 1), call("double"), call("report"), app=stranger).apply_async())
            plain.append(chord([call("double", 1), call("prepare", 1)], app=stranger)(call("total")))
            waiting = call("varied", key).delay()
            ledger.has(key, 3)
            stranger.connection_for_write().default_channel.client.publish(
                "celeriac:edge:signals", f'{{"workflow_id": "{waiting.id}", "name": "go", "payload": 1}}'
            )
            for each in (*plain, waiting):
                each.get(timeout=30)
            canceled = call("parked", uuid.uuid4().hex).delay()
            eventually(lambda: worker.log.count(f"{HERE}.parked[{canceled.id}] ignored"))
            stranger.control.revoke(canceled.id)
            with pytest.raises(Exception, match="canceled"):
                canceled.get(timeout=30)
            return 5 + 1 + 1 + 3 + 3 + 1 + 1

        first = everything()
        ledger.redis.delete(f"ledger:{key}")
        second = everything()
        settled = {
            # Celery's results of the tasks that were asked for, and of the first half of the chain that replaced another.
            "celery-task-meta-ID (expires)": first + second + 2,
            # What replaces a task has its id, and being an ordinary task it has a result: this one's is an activity's.
            "celery-task-meta-ID-1 (expires)": 2,
            "celery-taskset-meta-ID.c (expires)": 2,  # Celery's chords
        }

        def left() -> dict[str, int]:
            """Return what there is beside the queues' bindings, which are as many as there are queues."""
            return {name: count for name, count in kinds(client).items() if not name.startswith("_kombu.binding")}

        eventually(left, lambda found: found == settled)
        worker.stop()
        assert left() == settled

        explained = documented()
        assert [key for key in watch.seen if not any(each.fullmatch(key) for each in explained)] == []
        assert {"celery", "unacked", "unacked_index"} <= watch.seen

        opened = SqlStore(store)
        with opened.db.engine.connect() as connection:
            counts = {
                name: connection.exec_driver_sql(f"SELECT count(*) FROM celeriac_{name}").scalar()  # noqa: S608
                for name in ("inbox", "tasks")
            }
        opened.close()
        assert counts == {"inbox": 0, "tasks": 0}
