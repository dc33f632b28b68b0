"""A pipe from the processes of one worker to its relay: something falls due at this time. Costs a system call, may be lost."""

from __future__ import annotations

import os
import select
import struct
from contextlib import suppress
from typing import Final

from celeriac.orchestrator.model import Micros

_WIDTH: Final = 8


class HintPipe:
    """Made before the pool forks, so that children write to it and the relay, in the parent, reads."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def tell(self, due_at: Micros) -> None:
        """Tell the relay; a full or closed pipe only costs latency."""
        with suppress(OSError):
            os.write(self._write, struct.pack("<q", due_at))

    def wait(self, timeout: float) -> list[Micros]:
        """Wait for hints, at most ``timeout`` seconds, and return all that are there."""
        with suppress(OSError, ValueError):
            ready, _, _ = select.select([self._read], [], [], max(timeout, 0.0))
            if ready:
                data = os.read(self._read, _WIDTH * 512)
                return [each[0] for each in struct.iter_unpack("<q", data[: len(data) // _WIDTH * _WIDTH])]
        return []

    def close(self) -> None:
        """Close both ends in this process."""
        for end in (self._read, self._write):
            with suppress(OSError):
                os.close(end)
