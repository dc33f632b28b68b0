"""The kinds of values that settings hold, each with its check and a sentence for what fails it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from celeriac.durations import seconds

_URL = re.compile(r"[a-z][a-z0-9+.-]*://.*", re.DOTALL)


def _else_say(sentence: str) -> WrapValidator:
    """Have the checks before this one fail with ``sentence``."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(sentence) from None

    return WrapValidator(check)


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


def _identifier(limit: int) -> AfterValidator:
    """Make the check of a part of a name in SQL that no database has to quote, fold or cut.

    :param limit: its greatest length in characters.
    """

    def check(value: str) -> str:
        if len(value) > limit or not re.fullmatch(r"[a-z_][a-z0-9_]*", value):
            raise ValueError(
                f"takes up to {limit} lower-case letters, digits and underscores, and begins with no digit"
            )
        return value

    return AfterValidator(check)


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
        raise ValueError("is a URL with a scheme, such as postgresql+psycopg://localhost/shop or sqlite:///shop.db")
    return value


def _redis(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("is a Redis URL: redis://, rediss:// (with TLS) or unix:// (a socket)")
    return value


def _secrets(value: Any) -> Any:
    if isinstance(value, str):  # as the environment has them
        value = [each.strip() for each in value.split(",")]
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError("are a list of texts; in the environment with commas between them")
    for each in value:
        if not isinstance(each, str) or len(each) < SHORTEST_SECRET:
            raise ValueError(
                f"have {SHORTEST_SECRET} characters or more each. Make one with: "
                "python -c 'import secrets; print(secrets.token_hex(32))'"
            )
        try:
            each.encode()
        except UnicodeEncodeError:
            raise ValueError("are texts that UTF-8 can write") from None
    return tuple(value)


SHORTEST_SECRET = 16
"""Characters."""

Span = Annotated[timedelta, BeforeValidator(_span)]
"""A duration above zero, written as a timedelta or in seconds."""

Count = Annotated[int, Field(ge=1), _else_say("is a whole number from 1 on")]
"""A whole number from 1 on."""

CountOrNone = Annotated[int, Field(ge=0), _else_say("is a whole number from 0 on; 0 stands for none")]
"""A whole number from 0 on, which stands for none."""

Switch = Annotated[bool, _else_say("is true or false")]
"""On or off; in the environment true, false, 1, 0, yes, no, on, off."""

TablePrefix = Annotated[str, _identifier(30)]
"""What the names of tables begin with; leaves room for the rest within PostgreSQL's 63 characters."""

SchemaName = Annotated[str, _identifier(63)]
"""The name of a schema."""

Namespace = Annotated[str, AfterValidator(_namespace)]
"""What is part of a Redis channel's name, ``celeriac:<namespace>:signals``."""

BrokerQueue = Annotated[str, AfterValidator(_queue)]
"""A queue's name, as ``-Q`` takes it."""

StoreUrl = Annotated[str, AfterValidator(_store)]
"""The URL of a store; which schemes there are is the stores' business."""

RedisUrl = Annotated[str, AfterValidator(_redis)]
"""The URL of a Redis, as redis-py takes it."""

Secrets = Annotated[tuple[str, ...], BeforeValidator(_secrets)]
"""Secrets that are shared with other programs, the newest first; a text has commas between them."""
