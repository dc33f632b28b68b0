"""The short way's last stretch on Redis: messages as texts, pushed into their queues' lists, several of one queue at once.

kombu takes a producer and a connection from their pools, serializes and encodes the body of each message anew, looks where it
goes, and makes a command of its own for each. Where messages differ in little but their ids, most of that is always the same.
What arrives is the message that kombu would have sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from celery import Celery
from kombu.serialization import dumps
from kombu.utils.uuid import uuid

from celeriac.executors.celery.oneredis import is_on_one_redis
from celeriac.executors.celery.wire import Wire

MOST: Final = 200
"""How many messages one command pushes: a few hundred kilobytes."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message's text, and the list that it goes to."""

    key: str
    text: str


def goes_straight(producer: Any, queue: str) -> bool:
    """Whether a producer's messages to a queue end up as texts in a list of Redis, and nobody has a hand in how."""
    channel = producer.channel
    kind = type(channel)
    if not is_on_one_redis(channel) or queue in (getattr(channel, "_expires", None) or ()):
        return False
    own = (type(producer).publish, kind.basic_publish, kind._put)  # noqa: SLF001 - what is gone around
    return all(each.__module__.startswith("kombu.") and not hasattr(each, "__wrapped__") for each in own)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What messages of one kind have in common.

    :param message: a body without arguments, and how bodies are written.
    :param properties: how the body is encoded, and where it goes.
    :param key: the list.
    :param write: writes another body.
    """

    message: Mapping[str, Any]
    properties: Mapping[str, Any]
    key: str
    write: Callable[[Any], str]

    @classmethod
    def of(cls, channel: Any, queue: str, body: Any, options: Mapping[str, Any]) -> Self:
        """Return the envelope of messages with this body.

        :param options: ``serializer``, ``priority`` and ``delivery_mode``.
        """
        serializer, encode, into = options["serializer"], channel.encode_body, channel.body_encoding

        def write(other: Any) -> str:
            text: str = encode(dumps(other, serializer=serializer)[2], into)[0]  # type: ignore[no-untyped-call]
            return text

        content_type, encoding, data = dumps(body, serializer=serializer)  # type: ignore[no-untyped-call]
        text, body_encoding = encode(data, into)
        priority = options.get("priority") or channel.default_priority
        properties = {
            "delivery_mode": options["delivery_mode"],
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": priority,
            "body_encoding": body_encoding,
        }
        placed = channel._get_message_priority({"properties": properties}, reverse=False)  # noqa: SLF001 - as kombu does
        message = {"body": text, "content-encoding": encoding, "content-type": content_type}
        return cls(message, properties, channel._q_for_pri(queue, placed), write)  # noqa: SLF001

    def letter(self, headers: Mapping[str, Any], properties: Mapping[str, Any], body: Any = None) -> Letter:
        """Return a message.

        :param body: None for that of a message without arguments.
        :raises TypeError: a header that only kombu's JSON has a form for.
        """
        own = {**properties, **self.properties, "delivery_tag": uuid()}
        message = self.message if body is None else {**self.message, "body": self.write(body)}
        return Letter(self.key, json.dumps({**message, "headers": headers, "properties": own}))


class Line:
    """The client of a channel that messages have gone through, for as long as its app has the same pool of connections.

    It has a connection of its own for one thread at a time; others take and give back those of the client's pool. So it serves
    any number of threads, and a forked process too.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._pool: Any = None
        self._client: Any = None
        self._wire: Wire | None = None

    @property
    def is_open(self) -> bool:
        """Whether letters may be pushed."""
        return self._client is not None and self._app.pool is self._pool

    def open(self, channel: Any) -> None:
        """Take over the client of a channel."""
        if not self.is_open:
            self._pool, self._client = self._app.pool, channel._create_client()  # noqa: SLF001 - there is no door
            self._wire = Wire.of(self._client)

    def push(self, letters: Sequence[Letter]) -> None:
        """Push letters, those of one list together.

        :raises redis.RedisError: perhaps some of them have arrived; the line is closed.
        """
        lists: dict[str, list[str]] = {}
        for each in letters:
            lists.setdefault(each.key, []).append(each.text)
        try:
            for key, texts in lists.items():
                for start in range(0, len(texts), MOST):
                    self._push(key, texts[start : start + MOST])
        except Exception:
            self._client = self._wire = None
            raise

    def _push(self, key: str, texts: Sequence[str]) -> None:
        if self._wire is None or not self._wire.push(key, texts):
            self._client.lpush(key, *texts)
