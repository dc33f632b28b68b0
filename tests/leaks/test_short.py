"""A few hundred workflows leave no thread, process or descriptor behind, and no row. Memory takes thousands to tell: ``python -m tests.leaks``."""

from __future__ import annotations

from math import inf

from tests.leaks.__main__ import growth, place


def test_what_a_worker_and_its_client_hold_does_not_grow() -> None:
    with place() as at:
        assert growth(at, "threads", 200, allowed=inf) == []
        assert [at.count(name) for name in ("tasks", "inbox")] == [0, 0]
