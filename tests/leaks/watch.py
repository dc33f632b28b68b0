"""What processes hold: threads, descriptors, memory, processor time; read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Held:
    """At one moment, of a process and its descendants.

    :param memory: KiB that no file holds; pages that a fork has them share count once, each process a part of them.
    :param busy: seconds of processor time so far.
    """

    processes: int
    threads: int
    descriptors: int
    memory: int
    busy: float

    @classmethod
    def by(cls, pid: int, *, alone: bool = False) -> Self:
        """Look, at the process with its descendants or ``alone``."""
        pids = [pid] if alone else _family(pid)
        return cls(
            len(pids),
            sum(len(list(Path(f"/proc/{each}/task").iterdir())) for each in pids),
            sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in pids),
            sum(_memory(each) for each in pids),
            sum(_busy(each) for each in pids),
        )


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "SwapPss:")))


def _busy(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
