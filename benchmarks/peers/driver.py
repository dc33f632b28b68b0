"""A driver: the client of one peer, in a process of its own, asked for one piece of work at a time.

``python -m benchmarks.peers.driver MODULE`` reads lines of JSON, ``{"operation": "chains", "count": 2, "length": 3}``, and
answers each with one, ``{"figures": {...}}`` or ``{"error": "..."}``. The first line that it writes says that it is ready.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any


class NotOffered(NotImplementedError):
    """This peer has no such thing."""


class Driver:
    """What may be asked of a peer. A step takes a number and returns the next one, so that each result proves its steps.

    What a subclass does not define the peer does not offer.
    """

    def chains(self, count: int, length: int) -> Sequence[Any]:
        """Start ``count`` chains of ``length`` steps at once, wait, and return their results."""
        raise NotOffered

    def fan_out(self, width: int) -> Any:
        """Do ``width`` steps at once in one workflow, each from zero, and return their sum."""
        raise NotOffered

    def row(self, length: int) -> tuple[Any, Sequence[float]]:
        """Do ``length`` steps one after the other; return the result and when each ended (seconds), if that is recorded."""
        return self.chains(1, length)[0], ()

    def signal(self, value: int) -> tuple[float, Any]:
        """Have a workflow wait for a signal, send it; return the seconds from sending to the result, and the result."""
        raise NotOffered

    def start(self, count: int) -> tuple[float, Sequence[Any]]:
        """Start ``count`` chains of 1, one by one; return the seconds that starting took, and the results."""
        raise NotOffered

    def start_many(self, count: int) -> tuple[float, Sequence[Any]]:
        """The same in one call."""
        raise NotOffered

    def sleep(self, count: int) -> int:
        """Start ``count`` workflows that sleep for a day; return how many are known to be asleep."""
        raise NotOffered

    def local_row(self, length: int) -> Any:
        """Do ``length`` steps in the workflow's own process, one after the other."""
        raise NotOffered

    def local_fan_out(self, width: int) -> Any:
        """Do ``width`` steps in the workflow's own process, asked for at once; return their sum."""
        raise NotOffered

    def replay(self, length: int) -> dict[str, float]:
        """Bring a run of ``length`` steps back from its history; return ``events``, ``query_seconds``, ``replay_seconds`` (CPU)."""
        raise NotOffered

    def close(self) -> None:
        """Let go of connections."""


def offers(driver: type[Driver], method: str) -> bool:
    """Return whether a driver's class defines this itself."""
    return getattr(driver, method) is not getattr(Driver, method) or method == "row"


def driver_class(module: str) -> type[Driver]:
    """Return the class of a driver; its module imports the peer's library no sooner than a driver is made."""
    found: type[Driver] = importlib.import_module(module).Driver
    return found


def main() -> None:
    """Serve one driver on standard input and output."""
    from benchmarks.operations import OPERATIONS

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is for the log
    driver = driver_class(sys.argv[1])()
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer: dict[str, Any] = {"figures": OPERATIONS[asked.pop("operation")](driver, **asked)}
        except BaseException:  # noqa: BLE001 - the coordinator raises it
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers)
    driver.close()


if __name__ == "__main__":
    main()
