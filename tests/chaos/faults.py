"""What goes wrong: one function a kind. Each strikes at once, and sees to it that things are made good later."""

from __future__ import annotations

import heapq
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tests.chaos.cluster import LEASE, Cluster, Member

SHUTDOWN: Final = 45.0
"""Seconds that a worker may take to end when asked to; then it is killed, and counted as hung. A process of billiard's pool alone
waits for half a minute for its last results to be read, by a parent that reads no more.
"""
LOOK: Final = 0.1


class Havoc:
    """Strikes the cluster at random, the same way for the same dice.

    :param every: the mean time between two faults in seconds.
    """

    def __init__(self, cluster: Cluster, dice: random.Random, *, every: float) -> None:
        self.cluster = cluster
        self.struck: Counter[str] = Counter()
        self.hung: list[str] = []
        self._dice = dice
        self._every = every
        self._next = time.monotonic() + dice.expovariate(1 / every)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def go_on(self) -> None:
        """Strike if it is time to, and make good what is due."""
        self.make_good()
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._dice.expovariate(1 / self._every)
        names, weights = list(FAULTS), [weight for weight, _ in FAULTS.values()]
        for _ in range(10):
            name = self._dice.choices(names, weights)[0]
            if FAULTS[name][1](self):
                self.struck[name] += 1
                return

    def make_good(self) -> None:
        """Make good what is due, and start workers that have ended by themselves."""
        while self._agenda and self._agenda[0][0] <= time.monotonic():
            heapq.heappop(self._agenda)[2]()
        self.cluster.supervise()

    @property
    def over(self) -> bool:
        """Whether everything has been made good."""
        return not self._agenda

    def _later(self, delay: float, what: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._agenda, (time.monotonic() + delay, self._number, what))

    def _victim(self, pool: str | None = None) -> Member | None:
        fit = [each for each in self.cluster.members if each.up and not each.busy and pool in {None, each.pool}]
        return self._dice.choice(fit) if fit else None

    # -- workers ---------------------------------------------------------------------------------------------------------

    def kill_worker(self) -> bool:
        """SIGKILL a worker with all its processes."""
        victim = self._victim()
        if victim is None:
            return False
        victim.busy = True
        victim.process.kill()
        self._later(self._dice.uniform(0, 1.5), lambda: self.cluster.revive(victim))
        return True

    def kill_parent(self) -> bool:
        """SIGKILL a worker's first process only."""
        victim = self._victim("prefork")
        if victim is None:
            return False
        victim.busy = True
        os.kill(victim.process.pid, signal.SIGKILL)
        victim.process.wait(10)
        self._later(self._dice.uniform(0, 1.5), lambda: self.cluster.revive(victim))
        return True

    def kill_child(self) -> bool:
        """SIGKILL a process of a pool."""
        victim = self._victim("prefork")
        children = victim.children() if victim else []
        if not children:
            return False
        with suppress(ProcessLookupError):
            os.kill(self._dice.choice(children), signal.SIGKILL)
        return True

    def stop_worker(self) -> bool:
        """SIGSTOP a worker for longer than a lease."""
        victim = self._victim()
        if victim is None:
            return False
        self._stop(victim, victim.pids())
        return True

    def stop_child(self) -> bool:
        """SIGSTOP a process of a pool for longer than a lease."""
        victim = self._victim("prefork")
        children = victim.children() if victim else []
        if victim is None or not children:
            return False
        self._stop(victim, [self._dice.choice(children)])
        return True

    def _stop(self, victim: Member, pids: list[int]) -> None:
        victim.busy = True
        since = self.cluster.stop(pids)

        def resume() -> None:
            self.cluster.resume(pids, since)
            victim.busy = False

        self._later(LEASE * self._dice.uniform(1.2, 2.5), resume)

    def warm_shutdown(self) -> bool:
        """SIGTERM: it ends its tasks first."""
        return self._shut_down(signal.SIGTERM)

    def cold_shutdown(self) -> bool:
        """SIGQUIT: it ends."""
        return self._shut_down(signal.SIGQUIT)

    def _shut_down(self, number: int) -> bool:
        victim = self._victim()
        if victim is None:
            return False
        victim.busy = True
        victim.process.kill(number)
        limit = time.monotonic() + SHUTDOWN

        def look() -> None:
            if victim.up and time.monotonic() < limit:
                self._later(LOOK, look)
                return
            if victim.up:
                self._give_up_on(victim, number)
            self.cluster.revive(victim)

        self._later(LOOK, look)
        return True

    def _give_up_on(self, victim: Member, number: int) -> None:
        """Kill a worker that does not end, as any supervisor would; by then its log tells what all its processes were about."""
        self.hung.append(f"{victim.name} did not end within {SHUTDOWN:g} s of {signal.Signals(number).name}")
        victim.process.kill_group(
            signal.SIGUSR1
        )  # the first one prints its stacks, in the others it is the soft time limit
        time.sleep(1)
        victim.process.kill()

    # -- servers ---------------------------------------------------------------------------------------------------------

    def flush_broker(self) -> bool:
        """FLUSHALL."""
        if self.cluster.broker_down:
            return False
        self.cluster.flush_broker()
        return True

    def restart_broker(self) -> bool:
        """Stop the broker, which keeps nothing, and start it after a while."""
        if self.cluster.broker_down:
            return False
        self.cluster.stop_broker()
        self._later(self._dice.uniform(0, 2), self.cluster.start_broker)
        return True

    def crash_database(self) -> bool:
        """Stop the database without letting it tidy up, and start it after a while."""
        if self.cluster.database_down:
            return False
        self.cluster.crash_database()
        self._later(self._dice.uniform(0, 3), self.cluster.start_database)
        return True

    def cut_connections(self) -> bool:
        """End connections to the database on its side."""
        if self.cluster.database_down:
            return False
        self.cluster.cut_connections(self._dice.choice((0.3, 1.0)))
        return True


FAULTS: Final[dict[str, tuple[int, Callable[[Havoc], bool]]]] = {
    "SIGKILL to a worker": (3, Havoc.kill_worker),
    "SIGKILL to a parent": (2, Havoc.kill_parent),
    "SIGKILL to a child": (4, Havoc.kill_child),
    "SIGSTOP of a worker": (3, Havoc.stop_worker),
    "SIGSTOP of a child": (2, Havoc.stop_child),
    "SIGTERM (warm)": (2, Havoc.warm_shutdown),
    "SIGQUIT (cold)": (2, Havoc.cold_shutdown),
    "FLUSHALL": (2, Havoc.flush_broker),
    "broker restarted": (2, Havoc.restart_broker),
    "database crashed": (2, Havoc.crash_database),
    "connections cut": (3, Havoc.cut_connections),
}
"""How often each kind comes, and what it does; False where it can't be just now."""
