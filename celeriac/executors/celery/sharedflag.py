"""What a worker's main process knows and its pool's processes ask: whether it has been told to stop, whether it sends events."""

from __future__ import annotations

import mmap


class SharedFlag:
    """A byte that a worker's main process shares with the processes that it forks."""

    def __init__(self) -> None:
        self._shared: mmap.mmap | None = None

    def share(self) -> None:
        """Make the byte; before the pool forks."""
        self._shared = mmap.mmap(-1, 1)

    def put(self, *, up: bool) -> None:
        """Raise or lower it."""
        if self._shared is not None:
            self._shared[0] = int(up)

    def is_up(self) -> bool:
        """Say whether it is raised; False outside workers."""
        return self._shared is not None and self._shared[0] == 1
