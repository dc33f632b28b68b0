"""Has a worker keep no books in Redis about messages that are hints.

Redis knows no acknowledgements, so kombu plays them: each message that a worker receives is written into a hash and a sorted
set, and removed from both when it is acknowledged. These two transactions take a third of the time of a worker's main process,
for a message whose worker was killed to come again after the visibility timeout, an hour by default. A hint that is lost is
published again from its row in the store within seconds, whatever the broker knows of it. Hints that a worker still holds when
it stops go back to their queue, as other messages do, and all other messages are booked as ever.

Imported only where the broker is Redis.
"""

# mypy: disable-error-code="no-untyped-call, attr-defined"
# kombu's classes say nothing of their types.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kombu.transport.redis import QoS
from kombu.transport.virtual import QoS as Unwritten

from celeriac.executors.celery.headers import HEADER, TURN_TASK


def keep_no_books(channel: Any) -> None:
    """Have the channel of a consumer that has received nothing yet book no hints; other books are left alone."""
    books = channel.qos
    if type(books) is QoS and not books._delivered:  # noqa: SLF001 - there is no door
        books.hints = set()
        books.__class__ = HintQoS  # the same object: Celery puts functions of its own on it


def is_hint(message: Any) -> bool:
    """Whether what a message asks for stands in the store: a turn, an attempt, the start or the end of a recorded run."""
    headers = message.headers
    if headers.get("task") == TURN_TASK:
        return True
    ticket = headers.get(HEADER)
    return isinstance(ticket, Mapping) and "run" in ticket


class HintQoS(QoS):
    """What a channel has delivered and nobody has acknowledged; hints in this process's memory alone."""

    hints: set[str]

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was delivered."""
        if is_hint(message):
            self.hints.add(delivery_tag)
            Unwritten.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message."""
        if delivery_tag in self.hints:
            self.hints.discard(delivery_tag)
            Unwritten.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Forget a message, or put it back to the front of its queue."""
        if delivery_tag not in self.hints:
            super().reject(delivery_tag, requeue)
            return
        if requeue:
            with self.channel.conn_or_acquire() as client:
                self._put_back(self._delivered[delivery_tag], client, leftmost=True)
        self.ack(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """Put back what a worker that stops has not come to."""
        with self.channel.conn_or_acquire(client) as own:
            for tag in [each for each in self._delivered if each in self.hints]:
                self._put_back(self._delivered.pop(tag), own)
            self.hints.clear()
            super().restore_unacked(own)

    def _put_back(self, message: Any, client: Any, *, leftmost: bool = False) -> None:
        came, to = message._raw, message.delivery_info  # noqa: SLF001
        self.channel._do_restore_message(came, to["exchange"], to["routing_key"], client, leftmost)  # noqa: SLF001
