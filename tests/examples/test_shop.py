"""examples/shop with a real worker, a real Redis, and the command line that its readers type."""

from __future__ import annotations

import json

from tests.examples.project import Served, types

ACTIVITY = ["activity_scheduled", "activity_started", "activity_completed"]

START_AND_ASK = """
import json
from shop.flows import Order, approved, fulfil

result = fulfil.apply_async((Order("B-1", 4200),), workflow_id="order-B-1")
stages = [result.query("stage")]
result.signal(approved, True)
answer = result.handle.result(timeout=30)
stages.append(result.query("stage"))
print(json.dumps([answer, result.get(timeout=30), stages]))
"""

DECIDE = """
import json
from celeriac import WorkflowFailedError
from shop.flows import Order, approved, fulfil

result = fulfil.apply_async((Order({id!r}, {cents}),), workflow_id="order-" + {id!r})
result.signal(approved, {decision})
try:
    answer = result.handle.result(timeout=30)
except WorkflowFailedError as error:
    answer = str(error)
print(json.dumps([answer, [[each.type, each.data] for each in result.handle.history()]]))
"""

CHAINED = """
import json
from celery import chain
from shop.flows import nightly
from shop.tasks import send_email

last = chain(nightly.s(["A-1", "A-2"]), send_email.s("the day"))()
print(json.dumps([last.get(timeout=30), last.parent.get(timeout=30)["orders"]]))
"""


def test_an_order_is_charged_and_shipped_once_somebody_approves_it(served_shop: Served) -> None:
    shop = served_shop.project
    order = json.dumps({"id": "A-17", "cents": 4200})
    shop.celery("workflow", "start", "shop.flows.fulfil", "--id", "order-A-17", "--input", order)
    shop.celery("workflow", "signal", "order-A-17", "approved", "true")
    served_shop.worker.wait_until_said("tracking-A-17")
    document = served_shop.show("order-A-17")
    assert (document["run"]["status"], document["run"]["result"]) == ("completed", "tracking-A-17")
    assert types(document) == [
        "workflow_started",
        "signal_received",
        "activity_scheduled",
        *ACTIVITY,
        "activity_started",
        "activity_completed",
        *ACTIVITY,
        "workflow_completed",
    ]


def test_from_python_with_queries_and_through_celerys_own_result(served_shop: Served) -> None:
    answer, got, stages = served_shop.project.python(START_AND_ASK)
    assert (answer, got) == ("tracking-B-1", "tracking-B-1")
    assert stages == ["awaiting approval", "shipping"]


def test_a_declined_order_ends_without_a_charge(served_shop: Served) -> None:
    answer, history = served_shop.project.python(DECIDE.format(id="C", cents=4200, decision=False))
    assert answer is None
    assert [kind for kind, _ in history if not kind.startswith("timer")] == [
        "workflow_started",
        "signal_received",
        "workflow_completed",
    ]


def test_a_refused_card_is_not_tried_again_and_fails_the_order(served_shop: Served) -> None:
    answer, history = served_shop.project.python(DECIDE.format(id="D", cents=2_000_000, decision=True))
    assert answer == (
        "workflow 'order-D' (shop.flows.fulfil) failed: ActivityError: activity 'shop.tasks.charge' failed "
        "after 1 attempt: CardDeclined: 2000000 cents is more than the card has"
    )
    failed = [data for kind, data in history if kind == "activity_failed"]
    assert [(each["failure"]["type"], each.get("attempts", 1)) for each in failed] == [("CardDeclined", 1)]


def test_a_carrier_that_does_not_answer_at_once_is_the_tasks_own_retry_within_one_attempt(
    served_shop: Served,
) -> None:
    answer, history = served_shop.project.python(DECIDE.format(id="E-flaky", cents=100, decision=True))
    assert answer == "tracking-E-flaky"
    assert "the carrier does not answer" in served_shop.worker.said
    assert [data.get("attempt", 1) for kind, data in history if kind == "activity_started"] == [1, 1, 1]


def test_a_workflow_is_a_link_of_a_chain(served_shop: Served) -> None:
    last, orders = served_shop.project.python(CHAINED)
    assert orders == 2
    assert last.startswith("{'orders': 2")
