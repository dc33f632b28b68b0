"""The bus within one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class InMemoryBus:
    """Hands texts to listeners in this process, on the publisher's thread."""

    def __init__(self) -> None:
        self._listeners: list[tuple[frozenset[str], Callable[[str, str], None]]] = []

    def publish(self, channel: str, text: str) -> None:
        """Hand a text to everybody who listens on the channel."""
        for channels, on_message in list(self._listeners):
            if channel in channels:
                on_message(channel, text)

    def listen(self, channels: Sequence[str], on_message: Callable[[str, str], None]) -> Callable[[], None]:
        """Call ``on_message(channel, text)`` for each text from now on; returns what stops it."""
        entry = (frozenset(channels), on_message)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry)

    def close(self) -> None:
        """Forget all listeners."""
        self._listeners.clear()
