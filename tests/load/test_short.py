"""A short form of ``python -m tests.load``: too much for a real worker, with poison among it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from rich.console import Console

from tests.load.__main__ import Overload, overload


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_fails_for_ever_starves_nobody_and_too_much_is_drained() -> None:
    with ExitStack() as stack:
        assert overload(Overload(stack), 0.1, Console(quiet=True)) == []
