"""The short way's last stretch on Redis: a message as text, pushed into its queue's list, several of one queue at once.

kombu serializes and encodes the body of each message anew, looks where it goes, and makes a command of its own for each. Where
messages differ in little but their ids, most of that is always the same. What arrives is the message that kombu would have sent.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from kombu.serialization import dumps

_REDIS: Final = ("kombu.transport.redis", "Channel")
MOST: Final = 200
"""How many messages one command pushes: a few hundred kilobytes."""


def goes_straight(producer: Any, queue: str) -> bool:
    """Whether a producer's messages to a queue end up as texts in a list of Redis, and nobody has a hand in how."""
    channel = producer.channel
    kind = type(channel)
    if (kind.__module__, kind.__qualname__) != _REDIS or queue in (getattr(channel, "_expires", None) or ()):
        return False
    own = (type(producer).publish, kind.basic_publish, kind._put)  # noqa: SLF001 - what is gone around
    return all(each.__module__.startswith("kombu.") and not hasattr(each, "__wrapped__") for each in own)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What messages of one kind have in common.

    :param message: body and how it is written.
    :param properties: how the body is encoded, and where it goes.
    :param key: the list.
    """

    message: Mapping[str, Any]
    properties: Mapping[str, Any]
    key: str

    @classmethod
    def of(cls, channel: Any, queue: str, body: Any, options: Mapping[str, Any]) -> Self:
        """Return the envelope of messages with this body.

        :param options: ``serializer``, ``priority`` and ``delivery_mode``.
        """
        content_type, encoding, data = dumps(body, serializer=options["serializer"])  # type: ignore[no-untyped-call]
        text, body_encoding = channel.encode_body(data, channel.body_encoding)
        priority = options.get("priority") or channel.default_priority
        properties = {
            "delivery_mode": options["delivery_mode"],
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": priority,
            "body_encoding": body_encoding,
        }
        placed = channel._get_message_priority({"properties": properties}, reverse=False)  # noqa: SLF001 - as kombu does
        message = {"body": text, "content-encoding": encoding, "content-type": content_type}
        return cls(message, properties, channel._q_for_pri(queue, placed))  # noqa: SLF001

    def write(self, channel: Any, headers: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
        """Return a message's text.

        :raises TypeError: a header that only kombu's JSON has a form for.
        """
        tag = channel._next_delivery_tag()  # noqa: SLF001
        return json.dumps(
            {**self.message, "headers": headers, "properties": {**properties, **self.properties, "delivery_tag": tag}}
        )


class _OfThread(threading.local):
    collected: dict[str, list[str]] | None = None


class Lists:
    """Pushes texts into Redis's lists, at once or, within :meth:`together`, all of them at its end."""

    def __init__(self) -> None:
        self._own = _OfThread()

    def push(self, channel: Any, key: str, text: str) -> None:
        """Push a text."""
        if self._own.collected is None:
            _push(channel, key, [text])
        else:
            self._own.collected.setdefault(key, []).append(text)

    @contextmanager
    def together(self, channel: Any) -> Iterator[None]:
        """Collect this thread's texts, and push them at the end of the block, unless it raises."""
        self._own.collected = {}
        try:
            yield
            for key, texts in self._own.collected.items():
                for start in range(0, len(texts), MOST):
                    _push(channel, key, texts[start : start + MOST])
        finally:
            self._own.collected = None


def _push(channel: Any, key: str, texts: list[str]) -> None:
    with channel.conn_or_acquire() as client:
        client.lpush(key, *texts)
