"""However many workers there are, few of them poll; when those die, others take their places."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.acceptance.stage import Stage, until

WORKERS = 4
PLACES = 2


def pollers(stage: Stage) -> dict[str, str]:
    """Return who holds which place among those who poll."""
    leases = stage.store.db.tables.leases
    with stage.store.db.engine.connect() as connection:
        return {str(row.name): str(row.holder) for row in connection.execute(select(leases.c.name, leases.c.holder))}


@pytest.mark.slow
@pytest.mark.parametrize("lease", [2.0])
def test_two_of_four_poll_and_their_places_are_taken_over(stage: Stage) -> None:
    workers = [stage.launch(concurrency=1, relay_pollers=PLACES) for _ in range(WORKERS)]
    stage.open(*workers)
    places = {f"shop:relay:{place}" for place in range(PLACES)}
    until("both places are taken", lambda: set(pollers(stage)) == places)
    first = pollers(stage)
    assert len(set(first.values())) == PLACES, "one worker has one place"

    hosts = {worker.hostname(): worker for worker in workers}
    dead = set(first.values())
    for host in dead:
        stage.strike(hosts[host])
    until("others have taken both places", lambda: not dead & set(pollers(stage).values()))
    assert set(pollers(stage)) == places
    assert set(pollers(stage).values()) == set(hosts) - dead
    stage.results([stage.shop.nap.delay(0.1)], "slept")
