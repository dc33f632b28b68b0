"""Recorded values as Celery's messages and results carry them.

What is recorded without an annotation keeps its type by a tag, in the way of Celery's own JSON, but for more types than
that knows, and who reads a message with a tag that it does not know can read nothing of it. Those types become what JSON
has in their stead, as between any two tasks: tuples and sets lists, a time span its seconds.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from celeriac.errors import PayloadError
from celeriac.payloads import Json, restore

_TAGGED: Final = {"__type__", "__value__"}
_KNOWN: Final = frozenset({"datetime", "date", "time", "decimal", "uuid", "bytes", "base64"})
"""Kinds that Celery's JSON has tags for."""
_WITHIN: Final = frozenset({"tuple", "set", "frozenset", "timedelta", "tagged"})
"""Kinds of which what is tagged will do."""
_KEYS: Final = (str, int, float, bool, type(None))
"""What may be the key of a mapping where it becomes JSON."""


def carried(value: Json, *, texts: bool = False) -> Any:
    """Return a recorded value as what Celery's JSON writes and reads again.

    :param texts: dates, UUIDs, decimals and bytes are texts, for serializers that know none of them.
    """
    if type(value) is list:
        return [carried(each, texts=texts) for each in value]
    if type(value) is not dict:
        return value
    if value.keys() != _TAGGED:
        return {name: carried(each, texts=texts) for name, each in value.items()}
    try:
        return _untagged(value, texts=texts)
    except (PayloadError, ValueError, TypeError, KeyError):  # a mapping of the user's own that looks like a tag
        return _pairs(value.items(), texts=texts)


def _untagged(value: Mapping[str, Json], *, texts: bool) -> Any:
    tag, within = value["__type__"], value["__value__"]
    if tag in _WITHIN:
        return carried(within, texts=texts)
    if tag == "object":
        return _mapping(within, texts=texts)
    if texts and tag in _KNOWN:
        return str(uuid.UUID(within["hex"])) if tag == "uuid" else str(within)
    if tag in _KNOWN or tag == "float":
        return restore(value)
    return _pairs(value.items(), texts=texts)


def carried_call(
    args: Sequence[Json], kwargs: Mapping[str, Json], *, texts: bool = False
) -> tuple[list[Any], dict[str, Any]]:
    """Return recorded arguments likewise."""
    return [carried(each, texts=texts) for each in args], {
        name: carried(each, texts=texts) for name, each in kwargs.items()
    }


def _mapping(pairs: Any, *, texts: bool) -> Any:
    """Return a mapping whose keys are no texts, or that looks like a tag: as its pairs, where it can't be one in JSON."""
    keys = [key for key, _ in pairs]
    if {*map(type, keys)} <= {*_KEYS} and {*keys} != _TAGGED:
        return {key: carried(each, texts=texts) for key, each in pairs}
    return _pairs(pairs, texts=texts)


def _pairs(pairs: Any, *, texts: bool) -> list[Any]:
    return [[carried(key, texts=texts), carried(each, texts=texts)] for key, each in pairs]
