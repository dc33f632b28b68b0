"""What goes wrong: one function a kind. Each strikes at once, and sees to it that things are made good later."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Final

from tests.chaos.clocks import jump
from tests.chaos.cluster import LEASE
from tests.chaos.havoc import Fault, Havoc
from tests.chaos.members import Member, stacks

SHUTDOWN: Final = 45.0
"""Seconds that a worker may take to end when asked to; then it is killed, and counted as hung. A process of billiard's pool alone
waits for half a minute for its last results to be read, by a parent that reads no more.
"""
SUSPECT: Final = 15.0
"""Seconds after which its stacks are taken down."""
JUMPS: Final = (-3600.0, -30.0, -2.5, 2.5, 30.0, 3600.0)
"""Seconds by which a clock is wrong from then on."""
LOOK: Final = 0.1


def _prefork(member: Member) -> bool:
    return member.pool == "prefork"


def kill_worker(havoc: Havoc) -> str | None:
    """SIGKILL a worker with all its processes."""
    victim = havoc.victim()
    if victim is None:
        return None
    victim.busy = True
    victim.process.kill()
    havoc.later(havoc.dice.uniform(0, 1.5), lambda: havoc.cluster.revive(victim))
    return victim.name


def kill_parent(havoc: Havoc) -> str | None:
    """SIGKILL a worker's first process only."""
    victim = havoc.victim(_prefork)
    if victim is None:
        return None
    victim.busy = True
    os.kill(victim.process.pid, signal.SIGKILL)
    victim.process.wait(10)
    havoc.later(havoc.dice.uniform(0, 1.5), lambda: havoc.cluster.revive(victim))
    return victim.name


def kill_child(havoc: Havoc) -> str | None:
    """SIGKILL a process of a pool."""
    victim = havoc.victim(_prefork)
    children = victim.children() if victim else []
    if victim is None or not children:
        return None
    child = havoc.dice.choice(children)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    return f"{victim.name}, {child}"


def stop_worker(havoc: Havoc) -> str | None:
    """SIGSTOP a worker for longer than a lease."""
    victim = havoc.victim()
    return None if victim is None else _stop(havoc, victim, victim.pids())


def stop_child(havoc: Havoc) -> str | None:
    """SIGSTOP a process of a pool for longer than a lease."""
    victim = havoc.victim(_prefork)
    children = victim.children() if victim else []
    if victim is None or not children:
        return None
    return _stop(havoc, victim, [havoc.dice.choice(children)])


def _stop(havoc: Havoc, victim: Member, pids: list[int]) -> str:
    victim.busy = True
    since = havoc.cluster.stop(pids)

    def resume() -> None:
        havoc.cluster.resume(pids, since)
        victim.busy = False

    havoc.later(LEASE * havoc.dice.uniform(1.2, 2.5), resume)
    return f"{victim.name}, {pids}"


def warm_shutdown(havoc: Havoc) -> str | None:
    """SIGTERM: it ends its tasks first."""
    return _shut_down(havoc, havoc.victim(Member.is_ready), signal.SIGTERM)


def soft_shutdown(havoc: Havoc) -> str | None:
    """SIGQUIT, where the worker gives its tasks some seconds before it cuts them off."""
    return _shut_down(havoc, havoc.victim(lambda member: member.post.soft > 0 and member.is_ready()), signal.SIGQUIT)


def cold_shutdown(havoc: Havoc) -> str | None:
    """SIGQUIT, where it gives them none."""
    return _shut_down(havoc, havoc.victim(lambda member: not member.post.soft and member.is_ready()), signal.SIGQUIT)


def _shut_down(havoc: Havoc, victim: Member | None, number: signal.Signals) -> str | None:
    if victim is None:
        return None
    victim.busy = True
    victim.process.kill(number)
    since, told = time.monotonic(), False

    def look() -> None:
        nonlocal told
        took = time.monotonic() - since
        if victim.up and took > SUSPECT and not told:
            told = True
            _take_down(havoc, victim, f"{number.name} {took:.0f} s ago")
        if victim.up and took < SHUTDOWN:
            havoc.later(LOOK, look)
            return
        if victim.up:
            havoc.hung.append(f"{victim.name} ({victim.pool}) did not end within {SHUTDOWN:g} s of {number.name}")
            havoc.told("hung", havoc.hung[-1])
            victim.process.kill()
        else:
            havoc.told("has ended", f"{victim.name} ({victim.pool}), {took:.1f} s after {number.name}")
        havoc.cluster.revive(victim)

    havoc.later(LOOK, look)
    return victim.name


def _take_down(havoc: Havoc, victim: Member, why: str) -> None:
    """Write down what each thread of a worker that does not end is about."""
    told = "".join(f"--- {pid}\n{stacks(pid)}\n" for pid in victim.pids())
    with (havoc.cluster.folder / "stacks.txt").open("a") as file:
        file.write(f"=== {victim.name}, {why}\n{told}\n")
    havoc.cluster.keep = True
    havoc.told("slow to end", f"{victim.name}, {why}")


def clock_jump(havoc: Havoc) -> str | None:
    """Set a worker's wall clock."""
    victim = havoc.victim(lambda member: havoc.cluster.clock(member).exists())
    if victim is None:
        return None
    by = havoc.dice.choice(JUMPS)
    jump(havoc.cluster.clock(victim), by)
    return f"{victim.name}, {by:+g} s"


# -- servers ---------------------------------------------------------------------------------------------------------------


def flush_broker(havoc: Havoc) -> str | None:
    """FLUSHALL, or purging the queues."""
    if havoc.cluster.broker_down:
        return None
    havoc.cluster.broker.flush()
    return ""


def restart_broker(havoc: Havoc) -> str | None:
    """Crash the broker, and start it after a while with what it held."""
    return _restart_broker(havoc, empty=False)


def lose_broker(havoc: Havoc) -> str | None:
    """Crash the broker, and start it after a while with nothing."""
    return _restart_broker(havoc, empty=True)


def _restart_broker(havoc: Havoc, *, empty: bool) -> str | None:
    if havoc.cluster.broker_down:
        return None
    havoc.cluster.crash_broker()

    def start() -> None:
        starting = havoc.cluster.start_broker(empty=empty)

        def look() -> None:
            if starting.done():
                starting.result()
            else:
                havoc.later(LOOK, look)

        look()

    havoc.later(havoc.dice.uniform(0, 2), start)
    return ""


def crash_database(havoc: Havoc) -> str | None:
    """Stop the database without letting it tidy up, and start it after a while."""
    if havoc.cluster.database_down:
        return None
    havoc.cluster.crash_database()
    havoc.later(havoc.dice.uniform(0, 3), havoc.cluster.start_database)
    return ""


def cut_connections(havoc: Havoc) -> str | None:
    """End connections to the database on its side."""
    if havoc.cluster.database_down:
        return None
    share = havoc.dice.choice((0.3, 1.0))
    havoc.cluster.cut_connections(share)
    return f"{share:.0%} of them"


FAULTS: Final[dict[str, tuple[int, Fault]]] = {
    "SIGKILL to a worker": (3, kill_worker),
    "SIGKILL to a parent": (2, kill_parent),
    "SIGKILL to a child": (4, kill_child),
    "SIGSTOP of a worker": (3, stop_worker),
    "SIGSTOP of a child": (2, stop_child),
    "SIGTERM (warm)": (2, warm_shutdown),
    "SIGQUIT (soft)": (2, soft_shutdown),
    "SIGQUIT (cold)": (2, cold_shutdown),
    "clock set": (2, clock_jump),
    "broker emptied": (2, flush_broker),
    "broker crashed": (2, restart_broker),
    "broker crashed, all lost": (1, lose_broker),
    "database crashed": (2, crash_database),
    "connections cut": (3, cut_connections),
}
"""How often each kind comes, and what it does."""
