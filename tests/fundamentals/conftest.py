"""What the tests of this room share."""

from __future__ import annotations

from tests.workflows import env

__all__ = ["env"]
