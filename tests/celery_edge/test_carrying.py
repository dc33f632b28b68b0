"""Values without annotations, on Celery's ground: whoever reads a message or a result reads all of it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from celery import chain, chord
from kombu.utils import json as kombu

from celeriac import payloads
from celeriac.executors.celery import forms
from celeriac.executors.celery.forms import carried
from celeriac.payloads import plain
from tests.celery_edge.harness import Ledger, Worker

HERE = "tests.celery_edge.flows"
AS_READ: dict[str, Any] = {
    "tuple": [1, [2, 3]],
    "set": [1, 2, 3],
    "frozenset": ["a"],
    "numbered": {"1": 2, "null": 3},
    "paired": [[[1, 2], 3]],
    "tag": [["__type__", "car"], ["__value__", 1]],
    "timedelta": 90.0,
    "infinite": float("inf"),
    "bytes": b"\xffab",
    "datetime": datetime(2026, 11, 27, 22, 33, tzinfo=UTC),
    "decimal": Decimal("1.10"),
    "uuid": uuid.UUID(int=17),
    "deep": [{"a": [1, [2]]}],
}
AS_TEXTS = AS_READ | {
    "bytes": "/2Fi",
    "datetime": "2026-11-27T22:33:00+00:00",
    "decimal": "1.10",
    "uuid": "00000000-0000-0000-0000-000000000011",
}


@pytest.fixture(scope="module")
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker(concurrency=2)
    return worker


def test_each_kind_is_what_celerys_json_writes_and_reads_again(flows: Any) -> None:
    recorded = {kind: plain(value) for kind, value in flows.VALUES.items()}
    assert {kind: kombu.loads(kombu.dumps(carried(value))) for kind, value in recorded.items()} == AS_READ
    assert {kind: kombu.loads(kombu.dumps(carried(value, texts=True))) for kind, value in recorded.items()} == AS_TEXTS


def test_no_kind_of_recorded_value_is_unknown_here() -> None:
    assert {*payloads._TAGS} == {*forms._KNOWN, *forms._WITHIN, "object", "float"}


@pytest.mark.parametrize(
    "value",
    [
        {"__type__": "tuple", "__value__": 1, "more": 2},
        [["__type__", "datetime"]],
        {"__type__": 5},
    ],
)
def test_what_only_looks_like_a_tag_stays_as_it_is(value: Any) -> None:
    assert kombu.loads(kombu.dumps(carried(value))) == value


@pytest.mark.parametrize("tag", ["datetime", "uuid", "decimal", "object", "bytes", None, ["a"]])
def test_a_mapping_of_somebodys_own_that_looks_like_a_tag_is_its_pairs(tag: Any) -> None:
    value = {"__type__": tag, "__value__": {"a": 1}}
    assert kombu.loads(kombu.dumps(carried(value))) == [["__type__", tag], ["__value__", {"a": 1}]]


def test_a_result_is_read_by_get_and_by_the_next_link(flows: Any, worker: Worker) -> None:
    results = {kind: flows.untyped.delay(kind) for kind in AS_READ}
    assert {kind: each.get(timeout=20) for kind, each in results.items()} == AS_READ
    assert {kind: each.handle.result() for kind, each in results.items()} == flows.VALUES

    links = {kind: chain(flows.untyped.s(kind), flows.report.s()).apply_async() for kind in ("set", "tag", "tuple")}
    assert {kind: each.get(timeout=20) for kind, each in links.items()} == {
        "set": "report: [1, 2, 3]",
        "tag": "report: [['__type__', 'car'], ['__value__', 1]]",
        "tuple": "report: [1, [2, 3]]",
    }
    body = chord([flows.untyped.s("set"), flows.untyped.s("numbered")])(flows.report.s())
    assert body.get(timeout=20) == "report: [[1, 2, 3], {'1': 2, 'null': 3}]"


def test_a_task_gets_the_arguments_that_the_workflow_has_passed(flows: Any, ledger: Ledger, worker: Worker) -> None:
    key = uuid.uuid4().hex[:8]
    started = {kind: flows.handing.delay(f"{key}:{kind}", kind) for kind in AS_READ}
    for kind, each in started.items():
        assert each.handle.result(timeout=20) is None
        assert ledger.read(f"{key}:{kind}") == [repr(flows.VALUES[kind])]
    assert "Can't decode message body" not in worker.log


def test_a_start_that_may_expire_takes_them_along(flows: Any, worker: Worker) -> None:
    result = flows.compensating.apply_async(({1, 2}, (3,), "K"), expires=60)
    assert result.get(timeout=20) is None
    assert flows.durable.handle(result.id).describe().input["args"] == [[1, 2], [3], "K"]
