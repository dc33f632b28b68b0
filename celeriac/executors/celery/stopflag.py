"""Whether a worker has been told to stop, for the activities that run in its processes."""

from __future__ import annotations

import mmap


class StopFlag:
    """A byte that a worker's main process shares with the processes that it forks."""

    def __init__(self) -> None:
        self._shared: mmap.mmap | None = None

    def share(self) -> None:
        """Make the byte; before the pool forks."""
        self._shared = mmap.mmap(-1, 1)

    def tell(self) -> None:
        """Note that the worker has been told to stop."""
        if self._shared is not None:
            self._shared[0] = 1

    def told(self) -> bool:
        """Say whether it has; False outside workers."""
        return self._shared is not None and self._shared[0] == 1
