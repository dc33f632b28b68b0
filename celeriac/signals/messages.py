"""A signal as text on the channel: what a message has to say to be one.

Whoever may publish on the channel writes these texts. Nothing in them is trusted before it has been looked at here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from celeriac.payloads import MAX_DEPTH, Json, is_shallow

MAX_ID: Final = 900
"""Characters in an id; it becomes part of a key that may have 1,000."""


class NotASignal(ValueError):
    """A text on the channel that is no signal; the message says why."""


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    """What a message on the channel says.

    :param payload: the payload as JSON.
    :param payload_json: the payload's text, where the message carries it as one: what its signature covers.
    :param id: the same id again is the same signal; None where it has none.
    :param sent_at: when its sender says that it was signed, in whole seconds since the epoch.
    :param signature: in hexadecimal digits.
    """

    workflow_id: str
    name: str
    payload: Json = None
    id: str | None = None
    sender_id: str = ""
    payload_json: str | None = None
    sent_at: int | None = None
    signature: str | None = None


def channel_of(namespace: str) -> str:
    """Return the channel on which signals for a namespace's workflows are published."""
    return f"celeriac:{namespace}:signals"


def read_message(text: str) -> ChannelMessage:
    """Read a message.

    :raises NotASignal: it is none.
    """
    data = read_json(text)
    if not isinstance(data, dict):
        raise NotASignal("it is no JSON object")
    workflow_id, name = data.get("workflow_id"), data.get("name")
    if not isinstance(workflow_id, str) or not isinstance(name, str):
        raise NotASignal("workflow_id and name must be strings")
    payload_json = _optional(data, "payload_json", str)
    if payload_json is None:
        payload = data.get("payload")
    elif "payload" in data:
        raise NotASignal("it has both a payload and a payload_json")
    else:
        payload = read_json(payload_json)
    return ChannelMessage(
        _storable("workflow_id", workflow_id),
        _storable("name", name),
        payload,
        _id(data.get("id")),
        _storable("sender_id", str(data.get("sender_id") or "")),
        payload_json,
        _optional(data, "sent_at", int),
        _optional(data, "signature", str),
    )


def read_json(text: str) -> Json:
    """Read JSON as its standard has it: without NaN and infinities, and not deeper than can be written again.

    :raises NotASignal: it is none.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise NotASignal("it is nested too deeply") from None
    except ValueError as error:
        raise NotASignal(str(error)) from None
    if not is_shallow(value):
        raise NotASignal(f"it is nested more than {MAX_DEPTH} levels deep")
    return value


def _refuse(word: str) -> Any:
    raise ValueError(f"JSON has no {word}")


def _optional(data: Mapping[str, Json], name: str, kind: type[Any]) -> Any:
    value = data.get(name)
    if value is None or type(value) is kind:
        return value
    raise NotASignal(f"{name} must be {'a string' if kind is str else 'a whole number'}")


def _id(value: Json) -> str | None:
    if value is None:
        return None
    if type(value) not in (str, int):
        raise NotASignal("id must be a string")
    text = _storable("id", str(value))
    if not 0 < len(text) <= MAX_ID:
        raise NotASignal(f"id must have 1 to {MAX_ID} characters")
    return text


def _storable(name: str, text: str) -> str:
    if "\0" in text:
        raise NotASignal(f"{name} has a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotASignal(f"{name} has half of a surrogate pair") from None
    return text
