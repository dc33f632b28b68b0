"""The thread that renews leases: what goes wrong with one claim is no trouble for the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from celeriac.errors import StoreUnavailable
from celeriac.executors.celery.leases import LeaseKeeper
from celeriac.orchestrator.model import Fence, Micros, Pulse
from celeriac.orchestrator.status import TaskKind
from tests.celery_edge.harness import eventually

GONE, STAYS = (Fence(name, TaskKind.ACTIVITY, 1, "token") for name in ("gone", "stays"))


class _Store:
    """Renews whatever it is asked for, but for one claim."""

    def __init__(self) -> None:
        self.renewed: list[Sequence[Fence]] = []

    def renew(self, fences: Sequence[Fence], *, lease: Micros) -> dict[Fence, Pulse]:
        self.renewed.append(fences)
        return {each: Pulse.GONE if each == GONE else Pulse.ALIVE for each in fences}


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ZeroDivisionError("a mistake")], ids=["store", "mistake"])
def test_a_claim_that_can_not_be_looked_after_does_not_end_the_renewals(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    store, asked = _Store(), list[int]()
    keeper = LeaseKeeper(lambda: store, 0.06)  # type: ignore[arg-type,return-value]

    def on_gone() -> None:
        asked.append(1)
        raise error

    with caplog.at_level(logging.WARNING, "celeriac.leases"), keeper.keeping(STAYS, _nothing):
        with keeper.keeping(GONE, on_gone):
            eventually(lambda: len(asked), lambda count: count >= 2)  # and it is asked again
        before = len(store.renewed)
        eventually(lambda: store.renewed[before:], lambda later: any(list(each) == [STAYS] for each in later))
    assert "the claim of gone could not be looked after; trying again" in caplog.text


def _nothing(*_: Any) -> None:
    pass
