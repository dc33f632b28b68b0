"""Texts and values that have broken other programs before."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final

from hypothesis import strategies as st

MARK: Final = "zq7"
"""Stands in every hostile text, and nowhere else: where it is found is where the text has come to."""

TRICKS: Final = (
    "\0",
    "\ud800",
    "\u202egnp.exe",
    "\u200f\u05d0\u0627",
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "\x7f\r\b",
    "x" * 1000,
    "x" * 1001,
    "%s %(x)s %d %%",
    "'; DROP TABLE celeriac_runs; --",
    '"`\'\\\\"',
    "{x} {0} {{ 7*7 }} ${x} #{x} <% x %>",
    "../../etc/passwd",
    "</script><script>alert(1)</script>",
    "$1 :x ? @x",
    "__import__('os').system('x')",
    "\n\t\u2028\u0085",
    " ",
    "",
    "\\u0000\\ud800",
    '{"__type__": "x"}',
    "cos\nsystem\n(S'x'\ntR.",
)
text: st.SearchStrategy[str] = st.builds(
    lambda before, trick, after: before + MARK + trick + after,
    st.text(max_size=3),
    st.sampled_from(TRICKS),
    st.text(max_size=3),
)
"""A hostile text, lone surrogates included."""


def _deep(levels: int) -> Any:
    value: Any = MARK
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


leaf: st.SearchStrategy[Any] = (
    text
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([2**63, 2**64, -(2**63) - 1, math.nan, math.inf, -0.0, 5e-324])
    | st.sampled_from([400, 3999, 5000]).map(lambda digits: 10**digits)
    | st.binary(max_size=4)
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.decimals(allow_nan=True)
    | st.uuids()
    | st.timedeltas()
    | st.builds(object)
)
value: st.SearchStrategy[Any] = st.recursive(
    leaf,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(text, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.sampled_from(["__type__", "__value__", "__class__", "__reduce__", "py/object"]), inner, max_size=3
        )
    ),
    max_leaves=5,
) | st.sampled_from([50, 190, 250, 2000]).map(_deep)
"""A hostile value: of any type, any depth, with any keys."""


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same: of the same types, NaN like NaN, and zero not like minus zero."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return math.isnan(one) == math.isnan(other) and (math.isnan(one) or repr(one) == repr(other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Decimal):  # a signalling NaN can't be compared
        return str(one) == str(other)
    return bool(one == other)
