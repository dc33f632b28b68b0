"""How an activity is to be run: retries, timeouts, queue. Checked when constructed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Self

from celeriac.durations import Duration, seconds
from celeriac.errors import InvalidCall, did_you_mean
from celeriac.failures import Failure, names_of
from celeriac.payloads import Json


class CancellationType(StrEnum):
    """What canceling an awaited activity does."""

    TRY = "try"
    """Ask the activity to stop and go on at once."""
    WAIT = "wait"
    """Ask the activity to stop and go on when it has."""
    ABANDON = "abandon"
    """Go on at once and let the activity run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed attempt is followed by another, and how much later.

    :param max_attempts: attempts in all, the first included; ``None`` for no limit.
    :param initial_interval: the delay before the second attempt (timedelta or seconds).
    :param backoff_coefficient: what each further delay is multiplied with; at least 1.
    :param max_interval: the longest delay (timedelta or seconds).
    :param jitter: the part of each delay that is drawn at random, from 0 (none) to 1: a delay ``d`` becomes a number
        between ``d * (1 - jitter)`` and ``d``.
    :param non_retryable: exception classes (subclasses included) or names of classes after which no attempt follows.
    :raises TypeError: a duration that is none.
    :raises ValueError: a value that can't be meant.
    """

    max_attempts: int | None = 3
    initial_interval: Duration = timedelta(milliseconds=100)
    backoff_coefficient: float = 2.0
    max_interval: Duration = timedelta(seconds=10)
    jitter: float = 0.1
    non_retryable: tuple[type[BaseException] | str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_attempts is not None and (
            not isinstance(self.max_attempts, int) or isinstance(self.max_attempts, bool) or self.max_attempts < 1
        ):
            raise ValueError(
                f"RetryPolicy(max_attempts={self.max_attempts!r}): at least 1 (the first attempt counts), or None for no limit"
            )
        if not math.isfinite(self.backoff_coefficient) or self.backoff_coefficient < 1:
            raise ValueError(
                f"RetryPolicy(backoff_coefficient={self.backoff_coefficient!r}): the delays would shrink; at least 1"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"RetryPolicy(jitter={self.jitter!r}): a part of the delay, from 0 to 1")
        initial = seconds(self.initial_interval, name="RetryPolicy(initial_interval)")
        longest = seconds(self.max_interval, name="RetryPolicy(max_interval)")
        if longest < initial:
            raise ValueError(
                f"RetryPolicy(max_interval={longest:g} s) is shorter than initial_interval={initial:g} s; "
                f"numbers are seconds, timedelta(milliseconds=...) says smaller ones"
            )
        object.__setattr__(self, "initial_interval", timedelta(seconds=initial))
        object.__setattr__(self, "max_interval", timedelta(seconds=longest))
        object.__setattr__(self, "non_retryable", _error_types(self.non_retryable))

    @classmethod
    def default(cls) -> Self:
        """Return the policy in force where none is given: 3 attempts, 100 ms doubling to 10 s."""
        return cls()

    @classmethod
    def never(cls) -> Self:
        """Return the policy of one single attempt."""
        return cls(max_attempts=1)

    def delay(self, attempt: int, draw: float) -> float:
        """Return the seconds to wait after attempt number ``attempt`` has failed.

        :param draw: a random number from 0 to 1, handed in.
        """
        try:
            full = self._seconds("initial_interval") * self.backoff_coefficient ** (attempt - 1)
        except OverflowError:
            full = math.inf
        return min(full, self._seconds("max_interval")) * (1 - self.jitter * draw)

    def allows(self, attempt: int, failure: Failure) -> bool:
        """Say whether another attempt may follow number ``attempt``, which ended with ``failure``."""
        if self.max_attempts is not None and attempt >= self.max_attempts:
            return False
        refused = {each if isinstance(each, str) else each.__name__ for each in self.non_retryable}
        return not refused.intersection(names_of(failure)) and not failure.get("non_retryable")

    def _seconds(self, name: str) -> float:
        value: timedelta = getattr(self, name)
        return value.total_seconds()

    def to_json(self) -> dict[str, Json]:
        """Return the policy as it is recorded, durations in seconds."""
        return {
            "max_attempts": self.max_attempts,
            "initial_interval": self._seconds("initial_interval"),
            "backoff_coefficient": self.backoff_coefficient,
            "max_interval": self._seconds("max_interval"),
            "jitter": self.jitter,
            "non_retryable": [each if isinstance(each, str) else each.__name__ for each in self.non_retryable],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read what :meth:`to_json` wrote."""
        known = dict(data)
        known["non_retryable"] = tuple(known.get("non_retryable", ()))
        return cls(**known)


def _error_types(given: Any) -> tuple[type[BaseException] | str, ...]:
    listed: Iterable[Any] = (given,) if isinstance(given, (str, type)) else given
    found = tuple(listed)
    for each in found:
        if not isinstance(each, str) and not (isinstance(each, type) and issubclass(each, BaseException)):
            raise TypeError(
                f"RetryPolicy(non_retryable=...): {each!r} is neither an exception class nor the name of one"
            )
    return found


DEFAULT_RETRY: Final = RetryPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityOptions:
    """What stands on an activity's declaration and may be overridden for one call. Durations are seconds once constructed.

    :param retry: the retry policy.
    :param start_to_close: the longest one attempt may take.
    :param schedule_to_close: the longest everything may take, waits and retries included.
    :param schedule_to_start: the longest an attempt may wait for a worker; not retried.
    :param heartbeat: the longest an attempt may go without a heartbeat.
    :param queue: the Celery queue, or None for Celery's own routing.
    :param cancellation: what canceling the awaited activity does.
    :param foreign: the task is run by workers without celeriac; it needs ``start_to_close``.
    """

    retry: RetryPolicy = DEFAULT_RETRY
    start_to_close: Duration | None = None
    schedule_to_close: Duration | None = None
    schedule_to_start: Duration | None = None
    heartbeat: Duration | None = None
    queue: str | None = None
    cancellation: CancellationType = CancellationType.TRY
    foreign: bool = False

    def __post_init__(self) -> None:
        for name in TIMEOUTS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, seconds(value, name=name, positive=True))
        if not isinstance(self.retry, RetryPolicy):
            raise TypeError(f"retry={self.retry!r}: a RetryPolicy, such as RetryPolicy(max_attempts=5)")
        object.__setattr__(self, "cancellation", CancellationType(self.cancellation))

    def merged(self, overrides: Mapping[str, Any]) -> Self:
        """Return these options with some replaced; ``timeout`` is another word for ``start_to_close``.

        :raises InvalidCall: an option that does not exist.
        """
        given = dict(overrides)
        if "timeout" in given:
            if given.get("start_to_close") is not None:
                raise InvalidCall("timeout= and start_to_close= are the same option; give one")
            given["start_to_close"] = given.pop("timeout")
        known = set(self.__slots__)
        for name in given:
            if name not in known:
                raise InvalidCall(f"an activity has no option {name!r}.{did_you_mean(name, [*known, 'timeout'])}")
        return replace(self, **given)

    def to_json(self) -> dict[str, Json]:
        """Return the options as they are recorded: defaults left out, durations in seconds."""
        found: dict[str, Json] = {
            name: getattr(self, name) for name in (*TIMEOUTS, "queue") if getattr(self, name) is not None
        }
        if self.cancellation is not CancellationType.TRY:
            found["cancellation"] = self.cancellation.value
        if self.foreign:
            found["foreign"] = True
        if self.retry != DEFAULT_RETRY:
            found["retry"] = self.retry.to_json()
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read what :meth:`to_json` wrote."""
        known = dict(data)
        if "retry" in known:
            known["retry"] = RetryPolicy.from_json(known["retry"])
        return cls(**known)


TIMEOUTS: Final = ("start_to_close", "schedule_to_close", "schedule_to_start", "heartbeat")
"""The names of the four timeouts."""
