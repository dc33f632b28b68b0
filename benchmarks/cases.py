"""The cases, as data: what is asked of each peer, which figure counts, and what is sought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Final

from benchmarks.operations import NEEDS
from benchmarks.peers.driver import driver_class, offers
from benchmarks.peers.peer import Peer


@dataclass(frozen=True)
class Goal:
    """A bound that celeriac is to keep.

    :param figure: the figure of the case; or one of its resources, such as ``cpu_total``, in its unit an activity.
    :param against: the peer whose figure ours is divided by, round by round; None: the bound is on the figure itself.
    :param at_least: whether the bound is the least or the most.
    """

    figure: str
    bound: float
    at_least: bool = False
    against: str | None = None

    def met(self, value: float) -> bool:
        """Return whether a value keeps the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Case:
    """One piece of work.

    :param wording: what it is called, with its sizes in braces.
    :param operation: the name of one of ``operations.OPERATIONS``.
    :param sizes: its arguments.
    :param small: the same for a quick run; empty: ``sizes``.
    :param tiny: the same for counting, where the number does not matter; empty: ``small``.
    :param figure: the figure that is compared, median over rounds.
    :param more_is_better: whether a larger figure is the better one.
    :param counts: whether it takes a number of steps whose cost is of interest: the product of its sizes.
    :param idle: seconds during which the peer is watched after the operation, with nothing asked of it.
    :param concurrency: workers' processes or threads, where not the run's.
    :param only: peers that are asked, where the size is not for all; empty: all that offer it.
    :param long: left out unless it is named.
    """

    name: str
    wording: str
    operation: str
    sizes: Mapping[str, int]
    figure: str
    unit: str
    more_is_better: bool = False
    small: Mapping[str, int] = field(default_factory=dict)
    tiny: Mapping[str, int] = field(default_factory=dict)
    counts: bool = False
    goals: tuple[Goal, ...] = ()
    idle: float = 0.0
    concurrency: int | None = None
    only: frozenset[str] = field(default_factory=frozenset)
    long: bool = False

    @property
    def title(self) -> str:
        """What it is called, with its sizes."""
        return self.wording.format(**self.sizes)

    @property
    def activities(self) -> int:
        """How many steps it takes, or 0 where the cost of each says nothing."""
        return prod(self.sizes.values()) if self.counts else 0

    def made_small(self) -> Case:
        """Return the case with its small sizes."""
        return replace(self, sizes=self.small or self.sizes)

    def made_tiny(self) -> Case:
        """Return the case with its tiny sizes."""
        return replace(self, sizes=self.tiny or self.small or self.sizes)

    def offered_by(self, peer: Peer) -> bool:
        """Return whether a peer is asked."""
        if (self.only and peer.name not in self.only) or (peer.cases and self.name not in peer.cases):
            return False
        return offers(driver_class(peer.driver), NEEDS[self.operation])


def _chains(length: int, count: int, *goals: Goal) -> Case:
    return Case(
        name=f"chains-{length}",
        wording="chains of {length}, {count:,} at once",
        operation="chains",
        sizes={"count": count, "length": length},
        figure="activities_per_second",
        unit="activities/s",
        more_is_better=True,
        counts=True,
        small={"count": count // 4, "length": length},
        tiny={"count": 10, "length": length},
        goals=goals,
    )


def _alone(length: int, times: int, *goals: Goal) -> Case:
    return Case(
        name=f"alone-{length}",
        wording="a chain of {length}, alone",
        operation="alone",
        sizes={"times": times, "length": length},
        figure="milliseconds",
        unit="ms",
        counts=True,
        small={"times": times // 2, "length": length},
        tiny={"times": 2, "length": length},
        goals=goals,
    )


def _fan_out(width: int, *goals: Goal, long: bool = False) -> Case:
    return Case(
        name=f"fan-out-{width}",
        wording="fan-out of {width:,}",
        operation="fan_out",
        sizes={"width": width},
        figure="activities_per_second",
        unit="activities/s",
        more_is_better=True,
        counts=True,
        goals=goals,
        long=long,
    )


def _row(
    length: int, *, only: frozenset[str] = frozenset(), long: bool = False, concurrency: int | None = None
) -> Case:
    return Case(
        name=f"row-{length}" + (f"-by-{concurrency}" if concurrency else ""),
        wording="{length:,} in a row" + (f", {concurrency} processes" if concurrency else ""),
        operation="row",
        sizes={"length": length},
        figure="milliseconds_per_activity",
        unit="ms per activity",
        counts=True,
        goals=(Goal("last_to_first_tenth", 1.1),),
        tiny={"length": min(length, 200)},
        concurrency=concurrency,
        only=only,
        long=long,
    )


def _asleep(count: int, *, idle: float, only: frozenset[str] = frozenset(), long: bool = False) -> Case:
    return Case(
        name=f"asleep-{count}",
        wording="{count:,} sleeping runs",
        operation="sleep",
        sizes={"count": count},
        figure="idle_percent_of_a_core",
        unit="% of a core",
        goals=(Goal("idle_percent_of_a_core", 1.0), Goal("idle_messages", 0.0)),
        idle=idle,
        only=only,
        long=long,
    )


_RAW: Final = "celery-redis"
_OURS: Final = frozenset({"celeriac"})

_CASES: Final = (
    _chains(
        10,
        200,
        Goal("activities_per_second", 1.0, at_least=True, against=_RAW),
        Goal("cpu_total", 3.5),
    ),
    _alone(10, 10, Goal("milliseconds", 1.5, against=_RAW)),
    _chains(1, 400),
    _alone(1, 20),
    _fan_out(100),
    _fan_out(1000, Goal("activities_per_second", 1.0, at_least=True, against=_RAW)),
    _fan_out(10_000, long=True),
    _row(1000),
    _row(1000, only=_OURS, concurrency=8),  # each has its copy of the run, and catches up with what seven others did
    _row(3000, only=_OURS),
    _row(10_000, only=_OURS, long=True),
    Case(
        name="signal",
        wording="signal to result",
        operation="signals",
        sizes={"times": 20},
        small={"times": 5},
        tiny={"times": 1},
        figure="milliseconds",
        unit="ms",
        goals=(Goal("milliseconds", 10.0),),
    ),
    Case(
        name="starts",
        wording="starts, one by one",
        operation="starts",
        sizes={"count": 300},
        figure="starts_per_second",
        unit="starts/s",
        more_is_better=True,
    ),
    Case(
        name="local-row-1000",
        wording="{length:,} local activities in a row",
        operation="local_row",
        sizes={"length": 1000},
        figure="milliseconds_per_activity",
        unit="ms per activity",
        counts=True,
        goals=(Goal("milliseconds_per_activity", 0.5),),
    ),
    Case(
        name="local-fan-out-1000",
        wording="{width:,} local activities at once",
        operation="local_fan_out",
        sizes={"width": 1000},
        figure="activities_per_second",
        unit="activities/s",
        more_is_better=True,
        counts=True,
        goals=(Goal("activities_per_second", 2000.0, at_least=True),),
    ),
    Case(
        name="replay",
        wording="{length:,} activities replayed from cold",
        operation="replay",
        sizes={"length": 1000},
        tiny={"length": 100},
        figure="microseconds_per_event",
        unit="us per event",
        goals=(Goal("microseconds_per_event", 20.0),),
    ),
    Case(
        name="starts-at-once",
        wording="{count:,} starts in one call",
        operation="starts_at_once",
        sizes={"count": 1000},
        tiny={"count": 10},
        figure="starts_per_second",
        unit="starts/s",
        more_is_better=True,
        goals=(Goal("starts_per_second", 1000.0, at_least=True),),
    ),
    _asleep(2000, idle=5.0),
    _asleep(100_000, idle=20.0, only=_OURS, long=True),
)
CASES: Final[Mapping[str, Case]] = {each.name: each for each in _CASES}
QUICK: Final = ("chains-10", "alone-10", "fan-out-100", "signal")
"""Cases of a ``--quick`` run."""
