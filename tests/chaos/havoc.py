"""Strikes at random, and sees to it that things are made good later."""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from tests.chaos.cluster import Cluster
from tests.chaos.members import Member

Fault = Callable[["Havoc"], str | None]
"""Strikes, and says whom or what; None where it can't just now."""

_DRAWS: Final = 10


class Havoc:
    """Strikes the cluster at random, the same way for the same dice.

    :param faults: how often each kind comes, and what it does.
    :param every: the mean time between two faults in seconds.
    :param told: called with each fault, and with whatever else happens, as it happens.
    """

    def __init__(
        self,
        cluster: Cluster,
        dice: random.Random,
        faults: Mapping[str, tuple[int, Fault]],
        *,
        every: float,
        told: Callable[[str, str], None],
    ) -> None:
        self.cluster = cluster
        self.dice = dice
        self.struck: Counter[str] = Counter()
        self.hung: list[str] = []
        self.told = told
        self._faults = faults
        self._every = every
        self._next = time.monotonic() + dice.expovariate(1 / every)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def go_on(self) -> None:
        """Strike if it is time to, and make good what is due."""
        self.make_good()
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.dice.expovariate(1 / self._every)
        names, weights = list(self._faults), [weight for weight, _ in self._faults.values()]
        for _ in range(_DRAWS):
            name = self.dice.choices(names, weights)[0]
            whom = self._faults[name][1](self)
            if whom is not None:
                self.struck[name] += 1
                self.told(name, whom)
                return

    def make_good(self) -> None:
        """Make good what is due, and start workers that have ended by themselves."""
        while self._agenda and self._agenda[0][0] <= time.monotonic():
            heapq.heappop(self._agenda)[2]()
        for how in self.cluster.supervise():
            self.told("ended by itself", how)

    @property
    def over(self) -> bool:
        """Whether everything has been made good."""
        return not self._agenda

    def later(self, delay: float, what: Callable[[], None]) -> None:
        """Have something done in so many seconds."""
        self._number += 1
        heapq.heappush(self._agenda, (time.monotonic() + delay, self._number, what))

    def victim(self, fit: Callable[[Member], bool] = lambda _: True) -> Member | None:
        """Draw a worker that runs and that nothing is the matter with."""
        found = [each for each in self.cluster.members if each.up and not each.busy and fit(each)]
        return self.dice.choice(found) if found else None
