"""examples/shop, whose only worker is killed in the middle."""

from __future__ import annotations

import json

from tests.examples.project import Project, show, types


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(shop: Project) -> None:
    shop.env["CELERIAC_LEASE"] = shop.env["CELERIAC_REPUBLISH_AFTER"] = "2"
    order = json.dumps({"id": "A-17", "cents": 4200})
    with shop.worker(name="first") as first:
        shop.celery("workflow", "start", "shop.flows.fulfil", "--id", "order-F", "--input", order)
        first.wait_until_said("shop.flows.fulfil[")
        first.kill()
    shop.celery("workflow", "signal", "order-F", "approved", "true")
    with shop.worker(name="second") as second:
        second.wait_until_said("tracking-A-17")
        document = show(shop, "order-F")
    assert document["run"]["result"] == "tracking-A-17"
    assert types(document).count("activity_completed") == 3
