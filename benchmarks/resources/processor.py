"""Processor time and memory of process trees, those of the processes that have ended included."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

import psutil

Roles = Mapping[str, Iterable[int]]
"""The first processes of each part of a system, such as ``{"workers": [17], "broker": [4]}``."""


def seconds(roots: Iterable[int]) -> float:
    """Return the processor time, in seconds, that these processes and all their descendants have used so far.

    A process that has ended is in its parent's ``cutime`` and ``cstime`` as soon as the parent has waited for it, so
    nothing is lost as long as the roots live. The kernel counts in ticks of 10 ms.
    """
    total = 0.0
    for each in _trees(roots):
        with suppress(psutil.Error):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory(roots: Iterable[int]) -> int:
    """Return the memory, in bytes, of these processes and their descendants; pages that they share count once."""
    total = 0
    for each in _trees(roots):
        with suppress(psutil.Error):
            total += each.memory_full_info().pss
    return total


def by_role(roles: Roles) -> dict[str, float]:
    """Return the processor time of each role so far, in seconds."""
    return {role: seconds(roots) for role, roots in roles.items()}


def _trees(roots: Iterable[int]) -> list[psutil.Process]:
    """Return the processes below the roots: by parent, and by session, since an orphan has another parent."""
    wanted = set(roots)
    found: dict[int, psutil.Process] = {}
    for each in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if each.pid in wanted or os.getsid(each.pid) in wanted:
                found[each.pid] = each
    for each in list(found.values()):
        with suppress(psutil.Error):
            found |= {child.pid: child for child in each.children(recursive=True)}
    return list(found.values())
