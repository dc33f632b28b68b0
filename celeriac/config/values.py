"""The kinds of values that settings hold, each with its check and a sentence for what fails it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from celeriac.durations import seconds

_URL = re.compile(r"[a-z][a-z0-9+.-]*://.*", re.DOTALL)


def _span(value: Any) -> timedelta:
    if isinstance(value, str):  # as the environment has it
        try:
            value = float(value)
        except ValueError:
            raise ValueError("a duration is a number of seconds, such as 10 or 0.5") from None
    try:
        return timedelta(seconds=seconds(value, name="it", positive=True))
    except OverflowError:
        raise ValueError("a duration can't be as long as that") from None
    except (TypeError, ValueError) as error:
        raise ValueError(str(error).rpartition(": ")[2]) from None


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", value):
        raise ValueError("takes lower-case letters, digits and underscores, and begins with no digit")
    return value


def _namespace(value: str) -> str:
    if not re.fullmatch(r"[^\s:]{1,100}", value):
        raise ValueError("takes 1 to 100 characters without blanks and colons")
    return value


def _queue(value: str) -> str:
    if not value or "," in value or value != value.strip():
        raise ValueError("is one queue's name: not empty, no comma, no blanks around it")
    return value


def _store(value: str) -> str:
    if not _URL.match(value):
        raise ValueError(
            "is a URL with a scheme, such as postgresql+psycopg://localhost/shop or sqlite:///shop.db"
        )
    return value


def _redis(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("is a Redis URL: redis://, rediss:// (with TLS) or unix:// (a socket)")
    return value


Span = Annotated[timedelta, BeforeValidator(_span)]
"""A duration above zero, written as a timedelta or in seconds."""

Count = Annotated[int, Field(ge=1)]
"""A whole number from 1 on."""

CountOrNone = Annotated[int, Field(ge=0)]
"""A whole number from 0 on, which stands for none."""

Identifier = Annotated[str, AfterValidator(_identifier)]
"""What is part of a name in SQL, so that no database has to quote it or change its case."""

Namespace = Annotated[str, AfterValidator(_namespace)]
"""What is part of a Redis channel's name, ``celeriac:<namespace>:signals``."""

BrokerQueue = Annotated[str, AfterValidator(_queue)]
"""A queue's name, as ``-Q`` takes it."""

StoreUrl = Annotated[str, AfterValidator(_store)]
"""The URL of a store; which schemes there are is the stores' business."""

RedisUrl = Annotated[str, AfterValidator(_redis)]
"""The URL of a Redis, as redis-py takes it."""
