"""The fixtures that every room of the contract uses, and that a store's tests override."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac.testing.contract.world import Advance, ManualClock, World, wait_until_passed

if TYPE_CHECKING:
    from celeriac.orchestrator.model import Micros
    from celeriac.orchestrator.ports import Store


class ContractBase:
    """What a store's tests override: ``store``, and where it helps the rest."""

    rounds: int = 25
    """How often a test that lets two calls race repeats it."""

    def make_clock(self) -> ManualClock | None:
        """Return a clock for a store that takes one; the ``store`` fixture finds it as ``clock``."""
        return None

    @pytest.fixture
    def clock(self) -> ManualClock | None:
        """The clock that ``store`` is to be made with, or None."""
        return self.make_clock()

    @pytest.fixture
    def store(self) -> Store:
        """The store under test. It may hold data of other tests."""
        raise NotImplementedError("a store's tests override the fixture `store`")

    @pytest.fixture
    def second(self, store: Store) -> Store:
        """Another connection to the same data; the same store where there is no such thing."""
        return store

    @pytest.fixture
    def advance(self, clock: ManualClock | None) -> Advance:
        """``advance(store, micros)`` moves the store's clock, or waits for it where it can't be moved."""
        if clock is None:
            return wait_until_passed

        def move(_: Store, length: Micros) -> None:
            clock.advance(length)

        return move

    @pytest.fixture
    def world(self, store: Store, second: Store, advance: Advance) -> World:
        """A namespace of its own for each test."""
        return World(store, second, advance)
