"""Words for people: what others wrote made harmless, values made short, times made relative.

Ids, names, payloads and messages come from whoever may start a run or send a signal. Nothing of theirs
reaches a terminal before :func:`visible` has made its control characters visible.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from celeriac.orchestrator.model import SECOND, Micros

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.payloads import Json

BRIEF: Final = 72
"""How many characters of a value are shown where it is not asked for in full."""

_JOINERS: Final = "\u200c\u200d"  # not printable by Python's book, yet what Persian, Hindi and emojis are written with
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return a text with whatever could steer a terminal written out, such as ``\x1b`` for an escape.

    That is control characters, changes of writing direction, lone surrogates, and odd blanks.

    :param lines: leave line breaks as they are.
    """
    if text.isprintable():
        return text
    return "".join(each if _harmless(each, lines=lines) else _written_out(each) for each in text)


def _harmless(char: str, *, lines: bool) -> bool:
    return char.isprintable() or char in _JOINERS or (lines and char == "\n")


def _written_out(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def compact(value: Json) -> str:
    """Write a recorded value in one line, as JSON that people read."""
    return visible(json.dumps(value, ensure_ascii=False, separators=(", ", ": "), default=repr))


def pretty(value: Json) -> str:
    """Write a recorded value over several lines."""
    return visible(json.dumps(value, ensure_ascii=False, indent=2, default=repr), lines=True)


def shortened(text: str, limit: int | None = BRIEF) -> str:
    """Return at most ``limit`` characters of a text; None for all of it."""
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def brief(value: Json, limit: int | None = BRIEF) -> str:
    """Write a recorded value in at most ``limit`` characters."""
    return shortened(compact(value), limit)


def call(name: str, args: Any, kwargs: Any, limit: int | None = BRIEF) -> str:
    """Write a call as it would stand in Python, its arguments as JSON."""
    words = [compact(each) for each in args or ()]
    words += [f"{visible(str(key))}={compact(each)}" for key, each in (kwargs or {}).items()]
    return f"{visible(name)}({shortened(', '.join(words), limit)})"


def span(seconds: float) -> str:
    """Write a length of time in one or two units."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for unit, word, part, smaller in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit} {word}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def relative(at: Micros, now: Micros) -> str:
    """Say how long ago, or in how long."""
    seconds = (now - at) / SECOND
    if abs(seconds) < 1:
        return "just now" if seconds >= 0 else "now"
    length = _rough(abs(seconds))
    return f"{length} ago" if seconds > 0 else f"in {length}"


def _rough(seconds: float) -> str:
    for unit, word in ((_DAY, "day"), (_HOUR, "h"), (_MINUTE, "min")):
        number = round(seconds / unit)
        if seconds >= unit or (number and number * unit - seconds < unit / 100):
            return f"{number} {word}" + ("s" if word == "day" and number > 1 else "")
    return f"{seconds:.0f} s"


def clock(at: Micros) -> str:
    """Write a time as the clock on the wall shows it here."""
    return datetime.fromtimestamp(at / SECOND, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def offset(length: Micros) -> str:
    """Write the time since a run's start: in the first hour to the millisecond, later to the second."""
    total, micro = divmod(max(length, 0), SECOND)
    fraction = f"{micro // 1000:03}"
    if total < _MINUTE:
        return f"+{total}.{fraction}"
    days, rest = divmod(total, _DAY)
    hours, rest = divmod(rest, _HOUR)
    minutes, seconds = divmod(rest, _MINUTE)
    if total < _HOUR:
        return f"+{minutes}:{seconds:02}.{fraction}"
    whole = f"{hours}:{minutes:02}:{seconds:02}"
    return f"+{days}d {whole}" if days else f"+{whole}"


def times(counted: Mapping[str, int]) -> list[str]:
    """Say each thing once, and how often it is there."""
    return [each if number == 1 else f"{each} × {number}" for each, number in counted.items()]  # noqa: RUF001


def count(number: int, word: str) -> str:
    """Write a number with its noun: ``1 run``, ``2 runs``, ``2 activities``."""
    if number == 1:
        return f"1 {word}"
    return f"{number:,} {word[:-1]}ies" if word.endswith("y") else f"{number:,} {word}s"
