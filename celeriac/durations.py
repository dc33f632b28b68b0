"""Durations: ``timedelta`` or seconds, never silently milliseconds."""

from __future__ import annotations

import math
from datetime import timedelta

Duration = timedelta | int | float
"""A :class:`~datetime.timedelta`, or a number of **seconds** as Celery counts them."""


def seconds(value: Duration, *, name: str, positive: bool = False) -> float:
    """Return ``value`` in seconds.

    :param name: what the value is called, for the message.
    :param positive: refuse zero too.
    :raises TypeError: neither a timedelta nor a number.
    :raises ValueError: negative, not finite, or zero where ``positive``.
    """
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        raise TypeError(
            f"{name}={value!r}: a duration is a timedelta or a number of seconds, not {type(value).__name__}"
        )
    if not math.isfinite(number):
        raise ValueError(f"{name}={value!r}: a duration must be finite")
    if number < 0 or (positive and number == 0):
        raise ValueError(f"{name}={value!r}: a duration must {'be above zero' if positive else 'not be negative'}")
    return number
