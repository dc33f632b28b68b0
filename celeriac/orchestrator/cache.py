"""Live runs kept in memory between turns, so that the cost of a step does not grow with the history.

Never a promise: with the cache off every turn replays from the first event, to the same effect.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from celeriac.orchestrator.live import LiveRun


@dataclass(slots=True)
class CachedRun:
    """A live run at exactly one committed version of one branch of its history."""

    epoch: str
    live: LiveRun

    @property
    def known(self) -> tuple[str, int]:
        """Return (epoch, version) as stores are asked with."""
        return self.epoch, self.live.version


class RunCache:
    """The least recently used live runs of this process. Used from the turn thread only.

    :param limit: how many runs are kept; 0 turns the cache off.
    """

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.hits = 0
        self.misses = 0
        self._runs: OrderedDict[str, CachedRun] = OrderedDict()

    def known(self, run_id: str) -> tuple[str, int] | None:
        """Return the (epoch, version) that is held of a run, or None."""
        cached = self._runs.get(run_id)
        return cached.known if cached is not None else None

    def outstanding(self, run_id: str) -> int:
        """Return how many activities a held run waits for."""
        cached = self._runs.get(run_id)
        return len(cached.live.pending) if cached is not None else 0

    def take(self, run_id: str) -> CachedRun | None:
        """Hand a run out; it is no longer in the cache until it is put back."""
        found = self._runs.pop(run_id, None)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def put(self, run_id: str, cached: CachedRun) -> None:
        """Keep a run whose last commit is known to have succeeded; the least recently used ones make room."""
        if self.limit <= 0:
            cached.live.discard()
            return
        self._runs[run_id] = cached
        while len(self._runs) > self.limit:
            _, oldest = self._runs.popitem(last=False)
            oldest.live.discard()

    def drop(self, run_id: str) -> None:
        """Forget a run."""
        cached = self._runs.pop(run_id, None)
        if cached is not None:
            cached.live.discard()

    def clear(self) -> None:
        """Forget all runs (also after a fork: the parent's live runs are bound to the parent's thread)."""
        for cached in self._runs.values():
            cached.live.discard()
        self._runs.clear()

    def __len__(self) -> int:
        return len(self._runs)
