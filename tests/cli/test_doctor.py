"""What keeps workflows from going on, found out on real brokers and stores."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery
from click.testing import CliRunner

from celeriac import Celeriac, WorkflowContext
from celeriac.cli import workflow
from celeriac.cli.checks import store as store_checks
from celeriac.embedded import free_port
from celeriac.orchestrator.model import SECOND
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.stores.memory import InMemoryStore
from celeriac.stores.sql import SqlStore

Lines = list[tuple[str, str, str]]


class Practice:
    """An app and its doctor."""

    def __init__(self, broker: str, store: Any) -> None:
        self.app = Celery("shop", broker=broker, set_as_current=False)
        self.durable = Celeriac(self.app, store=store)

        async def fulfil(ctx: WorkflowContext) -> None:
            await ctx.wait_signal("approved")

        self.fulfil = self.durable.workflow(name="shop.fulfil")(fulfil)

    def examine(self) -> tuple[int, Lines, list[str]]:
        """Return the exit code, the findings (check, level, message), and what to do."""
        obj = SimpleNamespace(app=self.app, no_color=False)
        result = CliRunner().invoke(workflow, ["doctor", "--json"], obj=obj)
        document = json.loads(result.stdout)
        assert document["ok"] is (result.exit_code == 0)
        lines = [(each["check"], each["level"], each["message"]) for each in document["checks"]]
        return result.exit_code, lines, [each["mend"] for each in document["checks"] if each["mend"]]

    def found(self, check: str, level: str) -> list[str]:
        return [message for name, found, message in self.examine()[1] if (name, found) == (check, level)]

    def close(self) -> None:
        self.durable.close()
        self.app.close()


@pytest.fixture
def practice(redis_url: str, tmp_path: Path) -> Any:
    made = Practice(redis_url, f"sqlite:///{tmp_path / 'shop.db'}")
    yield made
    made.close()


def test_all_there_but_a_worker(practice: Practice) -> None:
    code, lines, mends = practice.examine()
    assert code == 0
    assert [(check, level) for check, level, _ in lines] == [
        ("store", "ok"),
        ("clock", "ok"),
        ("broker", "ok"),
        ("results", "ok"),
        ("workers", "warn"),
        ("workflows", "ok"),
        ("runs", "ok"),
        ("queues", "ok"),
    ]
    assert [message for check, _, message in lines if check == "workflows"] == ["shop.fulfil"]
    assert mends == ["celery -A yourapp worker"]


def test_a_broker_that_is_away(tmp_path: Path) -> None:
    practice = Practice(f"redis://:s3cret@127.0.0.1:{free_port()}/0", f"sqlite:///{tmp_path / 'shop.db'}")
    code, lines, _ = practice.examine()
    (message,) = [message for check, level, message in lines if (check, level) == ("broker", "fail")]
    assert code == 1
    assert message.startswith("redis://:**@127.0.0.1:")
    assert "does not answer" in message
    assert "s3cret" not in str(lines)
    assert ("runs", "ok", "none open") in lines  # the store is looked at all the same


def test_a_store_that_is_away(redis_url: str) -> None:
    practice = Practice(redis_url, f"postgresql+psycopg://shop:s3cret@127.0.0.1:{free_port()}/shop")
    code, lines, _ = practice.examine()
    assert code == 1
    assert [(check, level) for check, level, _ in lines if level == "fail"] == [("store", "fail")]
    assert "s3cret" not in str(lines)


def test_a_store_without_tables(redis_url: str, postgres_url: str) -> None:
    practice = Practice(redis_url, postgres_url)
    code, lines, mends = practice.examine()
    assert code == 1
    assert lines[0][:2] == ("store", "fail")
    assert mends[0] == "celery -A yourapp workflow migrate"
    practice.close()


def test_no_store_at_all(redis_url: str) -> None:
    practice = Practice(redis_url, None)
    code, lines, _ = practice.examine()
    assert (code, lines[0][:2]) == (1, ("store", "fail"))
    assert lines[0][2].startswith("no store is configured.")


def test_clocks_that_disagree(redis_url: str) -> None:
    import time

    practice = Practice(redis_url, InMemoryStore(clock=lambda: time.time_ns() // 1000 - 90 * SECOND))
    (message,) = practice.found("clock", "warn")
    assert message == "the store's clock is 1 min 30 s behind this machine's"


def test_work_on_a_queue_that_nobody_consumes(practice: Practice) -> None:
    practice.durable.client.store.check()
    practice.fulfil.apply_async((), workflow_id="one", queue="slow")
    practice.fulfil.apply_async((), workflow_id="two")
    code, lines, mends = practice.examine()
    assert code == 1
    assert [message for check, level, message in lines if (check, level) == ("queues", "fail")] == [
        "'celery': 1 waiting, and no worker consumes it",
        "'slow': 1 waiting, and no worker consumes it",
    ]
    assert mends[-2:] == ["celery -A yourapp worker -Q celery", "celery -A yourapp worker -Q slow"]


def test_work_that_is_late(redis_url: str) -> None:
    clock = [1_800_000_000 * SECOND]
    practice = Practice(redis_url, InMemoryStore(clock=lambda: clock[0]))
    practice.fulfil.apply_async((), workflow_id="one")
    clock[0] += 100 * SECOND
    (message,) = practice.found("relay", "fail")
    assert message == "something has been due for 1 min 30 s and nobody has looked"


def test_held_runs_are_named(practice: Practice) -> None:
    store = practice.durable.client.store
    store.check()
    result = practice.fulfil.apply_async((), workflow_id="one")
    view = store.begin_turn(result.run_id, token="t", lease=SECOND, known=None)
    assert view is not None
    assert store.release_turn(result.run_id, token="t", delay=SECOND, blocked={"reason": "Held", "message": "why"})
    assert practice.durable.client.describe("one").status is WorkflowStatus.BLOCKED
    assert practice.found("runs", "warn") == ["held: one"]


def test_runs_whose_workflow_is_gone(practice: Practice) -> None:
    practice.durable.client.store.check()
    practice.fulfil.apply_async((), workflow_id="one")
    del practice.app.tasks["shop.fulfil"]
    practice.durable.client.registry.workflows.clear()
    assert practice.found("workflows", "warn") == [
        "this app declares none",
        "1 open run of 'shop.fulfil', which this app does not declare",
    ]


def test_a_redis_that_throws_messages_away(practice: Practice, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            warnings = practice.found("broker", "warn")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert warnings == ["maxmemory-policy is allkeys-lru: a full Redis throws messages away"]


def test_a_task_that_may_outlive_its_message(practice: Practice) -> None:
    def encode(film: str) -> str:
        return film

    practice.durable.app.task(name="shop.encode", time_limit=7200, shared=False)(encode)
    practice.durable.activity(name="shop.render", timeout=10_000)(
        encode
    )  # its attempts' messages are not delivered again
    _, _, mends = practice.examine()
    assert practice.found("broker", "warn") == [
        "task 'shop.encode' may take 2 h; after 1 h Redis delivers its message again"
    ]
    assert "app.conf.broker_transport_options = {'visibility_timeout': 8640}" in mends


def test_brokers_that_are_not_fit(tmp_path: Path) -> None:
    practice = Practice("memory://", f"sqlite:///{tmp_path / 'shop.db'}")
    (message,) = practice.found("broker", "warn")
    assert message.endswith("is no broker for durable workflows: it is seen by this process only")
    practice.close()


def test_sqlite_and_several_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from celeriac.cli.checks.finding import Patient, Worker

    practice = Practice("memory://", SqlStore(f"sqlite:///{tmp_path / 'shop.db'}"))
    patient = Patient(practice.app, practice.durable, "shop")
    patient.__dict__["workers"] = [
        Worker("celery@here", frozenset({"celery"}), celeriac=True),
        Worker("celery@there", frozenset({"celery"}), celeriac=True),
    ]
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    assert [each.message for each in store_checks.sqlite(patient)] == [
        "SQLite is for one machine, and workers call themselves there"
    ]


def test_a_check_that_breaks_is_a_finding(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("\x1b[31m")

    monkeypatch.setattr(type(practice.durable.client.store), "next_due", broken)
    code, lines, _ = practice.examine()
    assert code == 1
    assert ("overdue", "fail", "could not be looked at: ZeroDivisionError: \x1b[31m") in lines


def test_what_people_read(tmp_path: Path) -> None:
    practice = Practice("memory://", f"sqlite:///{tmp_path / 'shop.db'}")
    obj = SimpleNamespace(app=practice.app, no_color=False)
    said = CliRunner().invoke(workflow, ["doctor"], obj=obj).stdout.splitlines()
    assert said[3:5] == [
        "warn  broker     memory is no broker for durable workflows: it is seen by this process only",
        "                 → use Redis or RabbitMQ",
    ]
    assert said[-2:] == ["", "works, with 2 warnings"]
    practice.close()
