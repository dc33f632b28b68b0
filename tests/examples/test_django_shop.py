"""examples/django_shop with its own database, a real worker, and its views."""

from __future__ import annotations

import json

from tests.examples.project import Project, Served

SET_UP = """
import json, os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
import django
django.setup()
from shop.flows import durable
"""

ORDER_AND_DECIDE = """
from django.test import Client

client = Client()
placed = client.post("/orders/", {"email": "a@shop.example", "cents": "4200"})
order = placed.json()["order"]
before = client.get(f"/orders/{order}/").json()["order"]
for _ in range(2):  # a page that is sent twice
    client.post(f"/orders/{order}/decision/", {"approved": "DECISION"})
handle = durable.handle(f"order-{order}")
result = handle.result(timeout=30)
after = client.get(f"/orders/{order}/").json()
receipt = f"R-{order}-4200"
print(json.dumps([placed.status_code, before, result == receipt, after, [each.type for each in handle.history()]]))
"""

ACTIVITY = ["activity_scheduled", "activity_started", "activity_completed"]


def _without_timers(types: list[str]) -> list[str]:
    return [each for each in types if not each.startswith("timer")]


def _decide(served: Served, decision: str) -> list[object]:
    answer: list[object] = served.project.python(SET_UP + ORDER_AND_DECIDE.replace("DECISION", decision))
    return answer


def test_an_approved_order_is_charged_and_shipped(served_django_shop: Served) -> None:
    status, before, has_receipt, after, types = _decide(served_django_shop, "yes")
    assert (status, before, has_receipt) == (201, "new", True)
    assert after == {"order": "shipped", "workflow": "completed", "waits": []}
    assert isinstance(types, list)
    assert _without_timers(types) == [
        "workflow_started",
        "signal_received",
        *ACTIVITY,
        *ACTIVITY,
        "workflow_completed",
    ]


def test_a_declined_order_is_told_so(served_django_shop: Served) -> None:
    _, _, has_receipt, after, types = _decide(served_django_shop, "no")
    assert has_receipt is False
    assert after == {"order": "declined", "workflow": "completed", "waits": []}
    assert "We can't ship it." in served_django_shop.worker.said
    assert isinstance(types, list)
    assert _without_timers(types) == ["workflow_started", "signal_received", *ACTIVITY, "workflow_completed"]


def test_the_workflow_is_one_of_the_apps_tasks(served_django_shop: Served) -> None:
    answer = served_django_shop.project.celery("inspect", "registered", "--json", "--timeout=5")
    (tasks,) = json.loads(answer).values()
    assert [each for each in tasks if each.startswith("shop.")] == [
        "shop.flows.fulfil",
        "shop.tasks.charge",
        "shop.tasks.decline",
        "shop.tasks.ship",
    ]


def test_the_models_and_their_migrations_agree(django_shop: Project) -> None:
    assert django_shop.manage("makemigrations", "--check", "--dry-run") == "No changes detected\n"


def test_the_settings_are_found_under_djangos_prefix(django_shop: Project) -> None:
    found = django_shop.python(SET_UP + "print(json.dumps([str(durable.settings.store), durable.runtime.namespace]))")
    assert found == [f"sqlite:///{django_shop.data}/flows.sqlite3", "shop"]
