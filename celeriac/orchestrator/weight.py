"""About how many bytes a suspended run keeps in memory, told without looking at what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from celeriac.orchestrator import events
from celeriac.payloads import Json

SUSPENDED: Final = 10_000
"""Bytes of a suspended run by itself: loop, context, coroutine, what it waits for. Measured: 8 kB, and some room."""
PENDING: Final = 1_500
"""Bytes for each activity and each timer that it waits for. Measured: 1.3 kB."""
SAMPLE: Final = 4
"""How many elements of a list or an object are looked at; the others are taken to be like them."""
DEPTH: Final = 4
"""How many levels deep."""
_PLAIN: Final = 28
_TEXT: Final = 50
_LIST: Final = 60
_OBJECT: Final = 80
_PLACE: Final = 8
_ENTRY: Final = 40


def weigh(value: Json, depth: int = DEPTH) -> int:
    """Return about how many bytes a value takes, in the time that a few hundred looks take at most, whatever its size."""
    if isinstance(value, str):
        return _TEXT + len(value)
    if isinstance(value, list):
        return _LIST + len(value) * _PLACE + _alike(islice(value, SAMPLE), len(value), depth)
    if isinstance(value, dict):
        keys = _TEXT * len(value) + _ENTRY * len(value)
        return _OBJECT + keys + _alike(islice(value.values(), SAMPLE), len(value), depth)
    return _PLAIN


def _alike(sample: Any, count: int, depth: int) -> int:
    if not count:
        return 0
    if depth == 0:
        return count * _PLAIN
    return sum(weigh(each, depth - 1) for each in sample) * count // min(count, SAMPLE)


_GIVEN: Final[Mapping[type, Callable[[Any], int]]] = {
    events.WorkflowStarted: lambda event: weigh(event.args) + weigh(event.kwargs),
    events.ActivityCompleted: lambda event: weigh(event.result),
    events.LocalActivityCompleted: lambda event: weigh(event.result),
    events.SignalReceived: lambda event: weigh(event.payload),
}


def given(event: events.Event) -> int:
    """Return the weight of what an event brings to the run's code.

    A run is taken to keep all that it has ever been given, because what it has let go of could be told only by looking at all
    of it. So one that drops its results weighs less than is said; one that makes much of little weighs more, and so does one
    whose results are large objects of the users' own types.
    """
    weight = _GIVEN.get(type(event))
    return 0 if weight is None else weight(event)
