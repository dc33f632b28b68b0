"""Words for people."""

from __future__ import annotations

import pytest

from celeriac.cli.text import brief, call, count, offset, pretty, relative, span, visible

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("order-A-17", "order-A-17"),
        ("Grüße, 注文, नमस्ते", "Grüße, 注文, नमस्ते"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("one\r\nrun  completed", r"one\r\nrun  completed"),
        ("\x9b31m", r"\x9b31m"),  # the escape sequence in one character
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\ud800", r"\ud800"),
        ("a\u00a0b\u2028c\ufeff", r"a\xa0b\u2028c\ufeff"),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),  # a woman with a laptop is joined of two
    ],
)
def test_what_could_steer_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_line_breaks_stay_where_they_are_wanted() -> None:
    assert visible("recorded: a\n\treplayed: b\r", lines=True) == "recorded: a\n\\treplayed: b\\r"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        ("A-17", '"A-17"'),
        ({"id": "A", "cents": 4200}, '{"id": "A", "cents": 4200}'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("\u202e", '"\\u202e"'),
        ("x" * 100, '"' + "x" * 18 + "…"),
    ],
)
def test_a_value_is_one_short_line_of_json(value: object, shown: str) -> None:
    assert brief(value, 20 if len(shown) <= 20 else 40) == shown


def test_a_value_in_full_keeps_its_lines_and_no_other_control_characters() -> None:
    assert pretty({"a": ["\x1b", 1]}) == '{\n  "a": [\n    "\\u001b",\n    1\n  ]\n}'


def test_a_call_stands_as_in_python() -> None:
    assert call("shop.fulfil", ["A-17", 4200], {"fast": True}) == 'shop.fulfil("A-17", 4200, fast=true)'


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (1, "1 s"),
        (9.876, "9.88 s"),
        (59.96, "60 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (HOUR, "1 h"),
        (2 * HOUR + 5 * MINUTE, "2 h 5 min"),
        (3 * DAY + 4 * HOUR, "3 d 4 h"),
        (14 * DAY, "14 d"),
    ],
)
def test_a_length_of_time_has_one_or_two_units(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "just now"),
        (-0.4, "now"),
        (12.3, "12 s ago"),
        (-12.3, "in 12 s"),
        (59.7, "1 min ago"),
        (180, "3 min ago"),
        (-2 * HOUR, "in 2 h"),
        (DAY, "1 day ago"),
        (-(3 * DAY - 40), "in 3 days"),
    ],
)
def test_a_time_is_told_from_now(seconds: float, shown: str) -> None:
    now = 1_800_000_000 * SECOND
    assert relative(now - round(seconds * SECOND), now) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "+0.000"),
        (12.3456, "+12.345"),
        (75.31, "+1:15.310"),
        (HOUR + 62, "+1:01:02"),
        (3 * DAY + 61.5, "+3d 0:01:01"),
    ],
)
def test_the_time_since_the_start_goes_to_the_millisecond_at_first(seconds: float, shown: str) -> None:
    assert offset(round(seconds * SECOND)) == shown


def test_nouns_follow_their_number() -> None:
    assert [count(1, "run"), count(1200, "run"), count(2, "activity")] == ["1 run", "1,200 runs", "2 activities"]
