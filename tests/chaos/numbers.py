"""What a step's number means."""

from __future__ import annotations

from typing import Final

DOSES: Final = 3
"""How many attempts an activity has that always kills its worker."""
FOR_EVER: Final = 86_400.0
"""Seconds that nobody waits for."""


def is_flaky(number: int) -> bool:
    """Whether a step's first attempt fails."""
    return number % 5 == 4


def takes(number: int) -> float:
    """Return how many seconds a step takes: most next to nothing, some longer than a lease."""
    return 3.0 if number % 23 == 22 else number % 4 * 0.03
