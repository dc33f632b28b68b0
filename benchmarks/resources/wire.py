"""A relay between a client and its server that counts what goes over the wire. For passes that are not timed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from celeriac.embedded import LOOPBACK

Counts = dict[str, float]
_CHUNK: Final = 1 << 16  # bytes


class Relay:
    """Listens on a free port of the loopback interface and passes everything on to a server there.

    A *round trip* is a turn of the conversation: something sent after something received, or at the beginning. So statements
    or commands that go out together are one, and what a server sends on its own accord is none.

    :param name: what the counts are called after, such as ``broker``.
    :param redis: whether the client speaks Redis's protocol, so that messages can be told from other commands.
    """

    def __init__(self, name: str, port: int, *, redis: bool = False) -> None:
        self._name = name
        self._to = port
        self._redis = redis
        self._lock = threading.Lock()
        self._round_trips = self._bytes = self._messages = self._message_bytes = 0
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, name=f"relay-{name}", daemon=True).start()

    def read(self) -> Counts:
        """Return round trips and bytes (both ways) so far; and of a Redis, the messages and their bytes."""
        with self._lock:
            counts = {f"{self._name}_round_trips": self._round_trips, f"{self._name}_bytes": self._bytes}
            if self._redis:
                counts |= {"messages": self._messages, "message_bytes": self._message_bytes}
        return {name: float(count) for name, count in counts.items()}

    def close(self) -> None:
        """Cut all connections."""
        for each in (self._listening, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection((LOOPBACK, self._to))
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._sockets.append(each)
                asking = _Conversation()
                for source, target, up in ((client, server, True), (server, client, False)):
                    pump = threading.Thread(target=self._pump, args=(source, target, asking, up), daemon=True)
                    pump.start()

    def _pump(self, source: socket.socket, target: socket.socket, talk: _Conversation, up: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                self._count(chunk, talk, up)
                target.sendall(chunk)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _count(self, chunk: bytes, talk: _Conversation, up: bool) -> None:
        with self._lock:
            self._bytes += len(chunk)
            if up and talk.answered:
                self._round_trips += 1
            talk.answered = not up
            for command in talk.commands.feed(chunk) if up and self._redis else ():
                if command[0].upper() == b"LPUSH":
                    self._messages += len(command) - 2
                    self._message_bytes += sum(map(len, command[2:]))


class _Conversation:
    """Whose turn it is on one connection, and what of a command has come so far."""

    def __init__(self) -> None:
        self.answered = True
        self.commands = Commands()


class Commands:
    """Redis commands out of chunks of bytes: arrays of bulk strings, as clients send them (RESP)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[list[bytes]]:
        """Yield each command, as its words, that is whole with this chunk."""
        self._rest += chunk
        while (found := _command(self._rest)) is not None:
            words, used = found
            self._rest = self._rest[used:]
            yield words


def _command(data: bytes) -> tuple[list[bytes], int] | None:
    """Return the first command's words and its length in bytes; None when it is not whole."""
    end = data.find(b"\r\n")
    if end < 0:
        return None
    if not data.startswith(b"*"):
        raise ValueError(f"not a Redis command: {data[:40]!r}")
    words, at = [], end + 2
    for _ in range(int(data[1:end])):
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        length, begin = int(data[at + 1 : end]), end + 2
        if len(data) < begin + length + 2:
            return None
        words.append(data[begin : begin + length])
        at = begin + length + 2
    return words, at
