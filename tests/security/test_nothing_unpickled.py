"""Nothing stored or received is ever taken for code: proved by reading the source, and by trying it on a worker."""

from __future__ import annotations

import ast
import base64
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import kombu
import pytest
import redis
from celery import Celery

import celeriac
from celeriac import Celeriac
from celeriac.errors import PayloadError
from celeriac.payloads import restore
from tests.celery_edge.harness import Worker, eventually

ROOT: Final = Path(celeriac.__file__).parent
MODULES: Final = {
    "pickle",
    "cPickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "marshal",
    "shelve",
    "jsonpickle",
    "yaml",
    "code",
    "codeop",
}
"""What reads objects, or code, out of bytes."""
CALLS: Final = {"eval", "exec", "compile", "__import__", "execfile"}
ALLOWED: Final = {("frozen.py", "exec"), ("orchestrator/primitives/redirect.py", "compile")}
"""An ``__init__`` out of the names of a dataclass's fields, as ``dataclasses`` makes one, and a function out of the parameters of
one of asyncio's."""
BY_NAME: Final = {
    ("stores/registry.py", "module"): "a table of our own",
    ("cli/groups.py", "f'celeriac.cli.{module}'"): "a table of our own",
    ("config/__init__.py", "f'{__name__}.{module}'"): "one of two words of our own",
    ("executors/celery/declaring.py", "given"): "a base class that stands in the declaration of a task",
    ("executors/celery/queues.py", "app.amqp_cls"): "the app's own class",
    ("executors/celery/control.py", "app.control_cls"): "the app's own class",
}
"""What is imported by a name that is no constant, and whose word it is: none of them is stored or received."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def test_no_module_reads_objects_or_code_out_of_bytes() -> None:
    found = []
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [(name, each.name) for each in node.names if each.name.partition(".")[0] in MODULES]
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
                found.append((name, str(node.module)))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
                found.append((name, node.func.id))
            if isinstance(node, ast.Attribute) and node.attr in {
                "pickle",
                "register_pickle",
                "enable_insecure_serializers",
            }:
                found.append((name, node.attr))
    assert set(found) == ALLOWED


def test_modules_are_imported_by_names_of_our_own() -> None:
    found = set()
    for name, tree in trees():
        for node in ast.walk(tree):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            by_name = called.rpartition(".")[2] in {"import_module", "symbol_by_name"}
            if by_name and isinstance(node, ast.Call) and not isinstance(node.args[0], ast.Constant):
                found.add((name, ast.unparse(node.args[0])))
    assert found == set(BY_NAME)


def test_nothing_asks_for_a_serializer() -> None:
    asked = []
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                asked += [
                    (name, each.arg) for each in node.keywords if each.arg in {"serializer", "accept", "accept_content"}
                ]
            if isinstance(node, ast.Attribute) and node.attr in {
                "accept_content",
                "task_serializer",
                "result_serializer",
            }:
                asked.append((name, node.attr))
    assert asked == [  # reads what the app says, and serializes what it says so
        ("executors/celery/quick.py", "task_serializer"),
        ("executors/celery/starting.py", "serializer"),
        ("executors/celery/straight.py", "serializer"),
        ("executors/celery/straight.py", "serializer"),
        ("executors/celery/workflows.py", "result_serializer"),
    ]


# -- tried -----------------------------------------------------------------------------------------------------------------


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_what_an_app_accepts_stays_as_it_is() -> None:
    for accept in (["json"], ["json", "yaml"], ["pickle", "json"]):
        app = Celery("shop", broker="memory://", set_as_current=False)
        app.conf.update(accept_content=accept, task_serializer="json")
        durable = Celeriac(app, store="memory://")

        @durable.workflow(name="shop.flow")
        async def flow(ctx: Any) -> None: ...

        flow.delay()
        assert (app.conf.accept_content, app.conf.task_serializer, app.conf.result_serializer) == (
            accept,
            "json",
            "json",
        )
        durable.close()
        app.close()


def test_a_recorded_value_is_data_whatever_it_says() -> None:
    for value in (
        {"__type__": "os.system", "__value__": "true"},
        {"__type__": "eval", "__value__": "1"},
        {"__type__": ["x"], "__value__": 1},
        {"__type__": "uuid", "__value__": {"hex": {"__type__": "x"}}},
        {"__type__": "set", "__value__": [[]]},
        {"__type__": "float", "__value__": []},
    ):
        with pytest.raises(PayloadError, match="can't be read"):
            restore(value)
    harmless = {"py/object": "os.system", "py/reduce": [1], "__reduce__": ["os.system", ["true"]], "!!python": "x"}
    assert restore(harmless) == harmless


@pytest.fixture
def worker(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    env = {"SHOP_BROKER": redis_url, "SHOP_STORE": f"sqlite:///{tmp_path / 'shop.db'}"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with Worker(tmp_path, "tests.security.shop", concurrency=1, **env) as started:
        yield started


def test_a_pickle_in_any_place_explodes_nowhere(worker: Worker, redis_url: str, tmp_path: Path) -> None:
    from tests.security.shop import make

    shop, trace = make(), tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(trace))
    body = pickle.dumps(((Bomb(trace),), {}, {}))
    untyped: Any = kombu
    with untyped.Connection(redis_url) as connection, connection.channel() as channel:
        producer = untyped.Producer(channel, untyped.Exchange(""), routing_key="celery", auto_declare=False)
        for task in ("celeriac.turn", "shop.collect", "celeriac.outcome", "celeriac.purge"):
            producer.publish(
                body,
                content_type="application/x-python-serialize",
                content_encoding="binary",
                headers={"task": task, "id": f"bomb-{task}", "lang": "py", "argsrepr": "", "celeriac": {"run": "r"}},
            )
    eventually(
        lambda: worker.log.count("invalid task message: Refusing to deserialize untrusted content of type pickle") == 4
    )

    handle = shop.collect.apply_async((1,), workflow_id="order", memo={"m": bomb}, attributes={"a": bomb}).handle
    with redis.Redis.from_url(redis_url) as client:
        client.publish("celeriac:shop:signals", bomb)  # not even text
        handle.signal("parcel", bomb)
        assert handle.result(timeout=40) == [base64.b64encode(bomb).decode()]
        shop.collect.apply_async((1,), queue="nobody's")
        (message,) = client.lrange("nobody's", 0, -1)
        assert json.loads(message)["content-type"] == "application/json"
    assert restore(handle.describe().memo) == {"m": bomb}
    assert not trace.exists()
    assert [each for each in worker.troubles() if "Refusing to deserialize" not in each] == []
    shop.durable.close()
    shop.app.close()
