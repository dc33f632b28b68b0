"""Deterministic simulation: the real engine, relay and client in a world where everything that can go wrong does.

One process, one thread, one seed. Workers, clients and relays are greenlets that may lose the processor at every call of
the store and of the broker; the dice of the seed decide who goes on, which worker is killed, which answer is lost, what
the broker forgets and how time passes. Programs are random trees of what workflows do, and a model says what may come of
them. The method is FoundationDB's (Zhou et al., SIGMOD 2021).

From the command line ``python -m celeriac.testing.simulate --seeds 10000``; in tests :func:`simulate`.
"""

from __future__ import annotations

from celeriac.testing.simulate.faults import Fault
from celeriac.testing.simulate.light import LightStore
from celeriac.testing.simulate.report import Found, Report, simulate
from celeriac.testing.simulate.scheduler import Violation
from celeriac.testing.simulate.world import World

__all__ = ["Fault", "Found", "LightStore", "Report", "Violation", "World", "simulate"]
