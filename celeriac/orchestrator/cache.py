"""Live runs kept in memory between turns, so that the cost of a step does not grow with the history.

Never a promise: with the cache off every turn replays from the first event, to the same effect.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from celeriac.orchestrator.live import LiveRun

_LOG: Final = logging.getLogger("celeriac.cache")

RUNS: Final = 1_000
BYTES: Final = 128 * 1024 * 1024
"""How many live runs, and how many bytes of them, are kept where nothing else is said."""


@dataclass(slots=True)
class CachedRun:
    """A live run at exactly one committed version of one branch of its history."""

    epoch: str
    live: LiveRun

    @property
    def known(self) -> tuple[str, int]:
        """Return (epoch, version) as stores are asked with."""
        return self.epoch, self.live.version


@dataclass(slots=True)
class CacheCounts:
    """What a process's cache has done since the process started.

    :param hits: turns that found their run in memory.
    :param misses: turns that had to replay it from its first event. A run's first turn is neither.
    :param evictions: runs that were let go of to make room.
    :param caught_up: events that other processes had recorded since, and that a run in memory was fed to be up to date.
    :param replayed: events that runs were fed because they were not in memory.
    """

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    caught_up: int = 0
    replayed: int = 0

    def took(self, events: int, *, from_memory: bool) -> None:
        """Count a turn, and the events that it had to be fed before it could begin."""
        if from_memory:
            self.hits += 1
            self.caught_up += events
        else:
            self.misses += 1
            self.replayed += events


class RunCache:
    """The least recently used live runs of this process. Used from the turn thread only.

    :param limit: how many runs are kept; 0 turns the cache off.
    :param max_bytes: how many bytes they may take together, as :attr:`LiveRun.weight` estimates it. One run that is heavier
        than that is kept alone: without it, each of its turns would replay a long history.
    :param counts: where what happens is counted.
    """

    def __init__(self, limit: int = RUNS, max_bytes: int = BYTES, counts: CacheCounts | None = None) -> None:
        self.limit = limit
        self.max_bytes = max_bytes
        self.counts = counts or CacheCounts()
        self.bytes = 0
        self._runs: OrderedDict[str, tuple[CachedRun, int]] = OrderedDict()
        self._busy: OrderedDict[str, None] = OrderedDict()

    def known(self, run_id: str) -> tuple[str, int] | None:
        """Return the (epoch, version) that is held of a run, or None."""
        kept = self._runs.get(run_id)
        return kept[0].known if kept is not None else None

    def outstanding(self, run_id: str) -> int:
        """Return how many activities a held run waits for."""
        kept = self._runs.get(run_id)
        return len(kept[0].live.pending) if kept is not None else 0

    def note_busy(self, run_id: str) -> None:
        """Note of a run that is not held that more than one outcome waits for its next turn; until it is held."""
        self._busy[run_id] = None
        if len(self._busy) > RUNS:
            self._busy.popitem(last=False)

    def is_busy(self, run_id: str) -> bool:
        """Say whether that was noted."""
        return run_id in self._busy

    def take(self, run_id: str) -> CachedRun | None:
        """Hand a run out; it is no longer in the cache until it is put back."""
        kept = self._runs.pop(run_id, None)
        if kept is None:
            return None
        self.bytes -= kept[1]
        return kept[0]

    def put(self, run_id: str, cached: CachedRun) -> None:
        """Keep a run whose last commit is known to have succeeded; the least recently used ones make room."""
        self._busy.pop(run_id, None)
        if self.limit <= 0:
            cached.live.discard()
            return
        self.drop(run_id)
        weight = cached.live.weight
        self._runs[run_id] = cached, weight
        self.bytes += weight
        while len(self._runs) > self.limit or (self.bytes > self.max_bytes and len(self._runs) > 1):
            self._evict()

    def _evict(self) -> None:
        _, (oldest, weight) = self._runs.popitem(last=False)
        self.bytes -= weight
        oldest.live.discard()
        self.counts.evictions += 1
        times = self.counts.evictions
        if times == 10 ** (len(str(times)) - 1):  # the first, the tenth, the hundredth ...
            _LOG.info(
                "the cache of live runs is full (%d runs, about %d kB): %d evicted so far. The next turn of such a run replays "
                "its history; cache_runs and cache_bytes make room",
                len(self._runs),
                self.bytes // 1000,
                times,
            )

    def drop(self, run_id: str) -> None:
        """Forget a run."""
        cached = self.take(run_id)
        if cached is not None:
            cached.live.discard()

    def clear(self) -> None:
        """Forget all runs (also after a fork: the parent's live runs are bound to the parent's thread)."""
        for cached, _ in self._runs.values():
            cached.live.discard()
        self._runs.clear()
        self.bytes = 0

    def metrics(self) -> dict[str, float]:
        """Return how things stand, and what has happened so far: one number a name.

        ``cache_hit_rate`` is the part of the turns, but for each run's first, that found their run in memory; 1 while there were
        none. ``cache_bytes`` is an estimate.
        """
        counts = self.counts
        turns = counts.hits + counts.misses
        return {
            "cache_runs": len(self),
            "cache_bytes": self.bytes,
            "cache_hits": counts.hits,
            "cache_misses": counts.misses,
            "cache_hit_rate": counts.hits / turns if turns else 1.0,
            "cache_evictions": counts.evictions,
            "cache_events_caught_up": counts.caught_up,
            "cache_events_replayed": counts.replayed,
        }

    def __len__(self) -> int:
        return len(self._runs)
