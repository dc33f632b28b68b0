"""Signed signals: an HMAC, by a secret that senders and workers share, over all that a message on the channel says.

What is signed is text of eight parts, each but the last ended by a line feed, encoded in UTF-8: the words
``celeriac-signal-1``, the namespace, the workflow id, the signal's name, the message's id, its sender's id (empty where it has
none), the time in whole seconds since the epoch, and the payload's JSON exactly as the message carries it. No part but the
last may hold a line feed, so that no two messages are signed as the same text. The signature is its HMAC-SHA256 (RFC 2104)
by the secret's UTF-8 bytes, in lower-case hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from celeriac.payloads import UNTYPED, to_text
from celeriac.signals.messages import ChannelMessage, NotASignal

VERSION: Final = "celeriac-signal-1"
"""The first line of what is signed, so that a signature means nothing anywhere else."""


class Refusal(StrEnum):
    """Why a message is refused where signatures are asked for."""

    UNREADABLE = "unreadable"
    """It is no signal at all."""
    UNSIGNED = "unsigned"
    """It has no signature, or not all that a signed message needs."""
    FORGED = "forged"
    """Its signature is by none of the secrets, or of something else."""
    STALE = "stale"
    """It was signed too long ago, or the sender's clock is ahead by as much."""


class Unauthorized(Exception):
    """A message is refused.

    :param refusal: why, in a word.
    """

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


def sign_message(
    secret: str,
    *,
    namespace: str,
    workflow_id: str,
    name: str,
    payload: Any = None,
    id: str | None = None,  # noqa: A002 - the word of the message
    sender_id: str = "",
    sent_at: int | None = None,
) -> str:
    """Return a signed message, the text to publish on the channel ``celeriac:<namespace>:signals``.

    :param secret: one of the workers' ``signal_secrets``.
    :param payload: JSON, or what celeriac records without an annotation (dates, UUIDs, bytes ...).
    :param id: the same id again is the same signal; a random one unless given.
    :param sent_at: whole seconds since the epoch; now unless given.
    :raises PayloadError: the payload can't be recorded.
    :raises ValueError: a part with a line feed, or with half of a surrogate pair.
    """
    written = to_text(UNTYPED.write(payload, f"payload of signal {name!r}"))
    known = id if id is not None else str(uuid.uuid4())
    at = int(time.time()) if sent_at is None else sent_at
    signature = _signature(secret, canonical(namespace, workflow_id, name, known, sender_id, at, written))
    message = {"workflow_id": workflow_id, "name": name, "payload_json": written, "id": known, "sent_at": at}
    sender = {"sender_id": sender_id} if sender_id else {}
    return json.dumps({**message, **sender, "signature": signature})


def canonical(
    namespace: str,
    workflow_id: str,
    name: str,
    id: str,  # noqa: A002 - the word of the message
    sender_id: str,
    sent_at: int,
    payload_json: str,
) -> bytes:
    """Return what is signed.

    :raises ValueError: a part has a line feed, or what has no UTF-8.
    """
    parts = (VERSION, namespace, workflow_id, name, id, sender_id, str(sent_at))
    for part in parts:
        if "\n" in part:
            raise ValueError(f"{part!r} has a line feed, which can't be signed")
    return "\n".join([*parts, payload_json]).encode()


def _signature(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Guard:
    """Lets signed messages pass.

    :param secrets: a signature by any of them will do, so that they can be changed one side at a time.
    :param max_age: seconds that may lie between the time a message names and the clock here, either way.
    :param clock: returns seconds since the epoch.
    """

    namespace: str
    secrets: Sequence[str]
    max_age: float
    clock: Callable[[], float] = time.time

    def check(self, message: ChannelMessage) -> None:
        """See that a message was signed by one who may, and lately.

        :raises Unauthorized: it was not.
        """
        id_, at, written, signature = message.id, message.sent_at, message.payload_json, message.signature
        if signature is None:
            raise Unauthorized(Refusal.UNSIGNED, "it is not signed")
        missing = [name for name, value in (("id", id_), ("sent_at", at), ("payload_json", written)) if value is None]
        if id_ is None or at is None or written is None:
            raise Unauthorized(Refusal.UNSIGNED, f"it is signed, but has no {', '.join(missing)}")
        try:
            signed = canonical(self.namespace, message.workflow_id, message.name, id_, message.sender_id, at, written)
            given = signature.encode("ascii")
        except ValueError as error:
            raise Unauthorized(Refusal.FORGED, str(error)) from None
        # All of them, whichever fits, so that the time taken tells nothing.
        fitting = [hmac.compare_digest(_signature(each, signed).encode(), given) for each in self.secrets]
        if not any(fitting):
            raise Unauthorized(Refusal.FORGED, "its signature is not by one of the signal_secrets")
        apart = self.clock() - at
        if not -self.max_age <= apart <= self.max_age:
            when = f"{apart:.0f} s ago" if apart > 0 else f"{-apart:.0f} s from now"
            raise Unauthorized(
                Refusal.STALE, f"it was signed {when}, and signal_max_age is {self.max_age:g} s (are the clocks right?)"
            )


__all__ = ["VERSION", "Guard", "NotASignal", "Refusal", "Unauthorized", "canonical", "sign_message"]
