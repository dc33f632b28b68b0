"""Each peer does, in tiny sizes, everything that it offers, and its results are right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.instance import Instance
from benchmarks.operations import NEEDS
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.driver import driver_class, offers
from benchmarks.peers.peer import Peer, Setting
from benchmarks.processes import BenchmarkError
from benchmarks.servers import Servers
from tests.servers import ServerMissing

pytestmark = [pytest.mark.slow, pytest.mark.acceptance, pytest.mark.timeout(400)]

TINY = {
    "chains": {"count": 2, "length": 3},
    "alone": {"times": 2, "length": 2},
    "fan_out": {"width": 5},
    "row": {"length": 20},
    "signals": {"times": 1},
    "starts": {"count": 3},
    "starts_at_once": {"count": 3},
    "sleep": {"count": 2},
    "local_row": {"length": 5},
    "local_fan_out": {"width": 5},
    "replay": {"length": 10},
}


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as made:
        yield made


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_a_peer_does_what_it_offers_and_does_it_right(peer: Peer, servers: Servers) -> None:
    if peer.missing():
        pytest.skip(f"not installed: pip install {' '.join(peer.missing())}")
    instance = Instance(peer, Setting(), servers)
    offered = [each for each in TINY if offers(driver_class(peer.driver), NEEDS[each])]
    try:
        for round_ in range(2):  # it works again after a rest
            with instance.awake():
                assert set(instance.roles()) >= {"client"}
                for operation in offered if round_ else ["chains"]:
                    figures = instance.ask(operation, **_size(peer, operation))
                    assert all(value >= 0 for value in figures.values()), operation
    finally:
        instance.close()
    assert "chains" in offered


def _size(peer: Peer, operation: str) -> dict[str, int]:
    """A queue that is looked into once a second is given no more than it takes to see that it is."""
    return {"length": 2} if (peer.name, operation) == ("dbos-queue-default", "row") else TINY[operation]


@pytest.mark.parametrize(("store", "pool"), [("sqlite", "threads"), ("mariadb", "prefork")])
def test_celeriac_is_measured_on_each_store_in_each_pool(store: str, pool: str, servers: Servers) -> None:
    try:
        instance = Instance(PEERS["celeriac"], Setting(store=store, pool=pool), servers, counted=True)
    except ServerMissing as gone:
        pytest.skip(str(gone))
    try:
        with instance.awake(), instance.counting():
            before = instance.counts()
            instance.ask("chains", count=2, length=3)
            after = instance.counts()
    finally:
        instance.close()
    grown = {name for name in after if after[name] > before[name]}
    assert grown >= {"broker_commands", "broker_round_trips", "broker_bytes", "messages", "message_bytes"}
    assert ("database_round_trips" in grown) is (store == "mariadb")  # SQLite is no server


def test_what_fails_in_a_driver_is_said_aloud(servers: Servers) -> None:
    instance = Instance(PEERS["celery-redis"], Setting(), servers)
    try:
        instance.start()
        with pytest.raises(BenchmarkError, match=r"celery-redis, signals \{'times': 1\}:\n[\s\S]*NotOffered"):
            instance.ask("signals", times=1)
    finally:
        instance.close()
