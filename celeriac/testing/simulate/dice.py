"""Chance with a seed: every decision of a simulated world comes out of one of these."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice(random.Random):
    """A seeded source of decisions; the same seed makes the same ones."""

    def chance(self, probability: float) -> bool:
        """Say yes with this probability."""
        return self.random() < probability

    def pick(self, among: Sequence[T]) -> T:
        """Return one of them, each as likely as the other."""
        return among[int(self.random() * len(among))]

    def weigh(self, weights: Mapping[T, float]) -> T:
        """Return one of the keys, as likely as it weighs."""
        rest = self.random() * sum(weights.values())
        for each, weight in weights.items():
            rest -= weight
            if rest < 0:
                return each
        return next(reversed(list(weights)))

    def span(self, least: float, most: float) -> float:
        """Return a number between two, all orders of magnitude as likely."""
        return math.exp(self.uniform(math.log(least), math.log(most)))

    def whole(self, least: int, most: int) -> int:
        """Return a whole number between two, both included."""
        return least + int(self.random() * (most - least + 1))
