"""The contract that every store keeps, as tests: a store is done when its subclass passes.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            store = MyStore(tmp_path / "data")
            store.check()
            yield store
            store.close()

Every test uses a namespace and ids of its own, so that the data may outlive it. A store that takes a clock
gets the fixture ``clock``, for which its tests override ``make_clock``; for any other store the tests wait
some 20 ms where time has to pass.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("celeriac.testing.contract")

from celeriac.testing.contract.attempting import Attempting  # noqa: E402 - after the line that makes asserts speak
from celeriac.testing.contract.committing import Committing  # noqa: E402
from celeriac.testing.contract.delivering import Delivering  # noqa: E402
from celeriac.testing.contract.racing import Racing  # noqa: E402
from celeriac.testing.contract.reading import Reading  # noqa: E402
from celeriac.testing.contract.relaying import Relaying  # noqa: E402
from celeriac.testing.contract.restoring import Restoring  # noqa: E402
from celeriac.testing.contract.settling import Settling  # noqa: E402
from celeriac.testing.contract.starting import Starting  # noqa: E402
from celeriac.testing.contract.starting_many import StartingMany  # noqa: E402
from celeriac.testing.contract.turning import Turning  # noqa: E402
from celeriac.testing.contract.values import Values  # noqa: E402
from celeriac.testing.contract.world import ManualClock, World  # noqa: E402

__all__ = ["ManualClock", "StoreContract", "World"]


class StoreContract(
    Starting,
    StartingMany,
    Delivering,
    Settling,
    Turning,
    Committing,
    Attempting,
    Relaying,
    Reading,
    Restoring,
    Values,
    Racing,
):
    """Every promise of :class:`celeriac.orchestrator.ports.Store`.

    To override: the fixture ``store``; where it makes a difference the fixtures ``second`` (another
    connection to the same data) and ``advance``, the method ``make_clock`` and the number ``rounds``.
    """
