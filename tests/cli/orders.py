"""A payload that is not JSON by itself."""

from dataclasses import dataclass


@dataclass
class Order:
    id: str
    cents: int
