"""A session: many callers in threads and processes at a few workflows, and the verdict on each of these."""

from __future__ import annotations

import multiprocessing
import random
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from celeriac.orchestrator.ports import Store
from celeriac.stores.sql import SqlStore
from tests.linear.checker import Call, Verdict, check
from tests.linear.clients import Client
from tests.linear.specification import State, step
from tests.stores.proxy import Proxy


@dataclass(slots=True)
class Findings:
    """What came of a session.

    :param unknown: calls whose answers were lost; ``wrong``, what the checker says of histories that are not linearizable.
    """

    histories: int = 0
    calls: int = 0
    unknown: int = 0
    tried: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, calls: Sequence[Call]) -> None:
        """Check one history."""
        nothing: State = ()
        verdict = check(calls, nothing, step)
        self.histories += 1
        self.calls += len(calls)
        self.unknown += sum(not call.known for call in calls)
        self.tried += verdict.tried
        if not verdict.linearizable:
            self.wrong.append(explain(verdict))


def explain(verdict: Verdict) -> str:
    """Say in lines where a search got stuck."""
    assert verdict.stuck is not None
    done, next_ones = verdict.stuck
    lines = [f"after {len(done)} calls, of which the last were"]
    lines += [f"  {_line(call)}" for call in done[-8:]]
    lines += ["none of these can have had its answer:", *(f"  {_line(call)}" for call in next_ones)]
    return "\n".join(lines)


def _line(call: Call) -> str:
    return f"{call.caller}: {call.what}{call.given!r} -> {call.answer!r}"


def play(
    open_store: Callable[[], Store], name: str, seed: str, *, threads: int, workflows: int, each: int
) -> dict[str, list[Call]]:
    """Have so many threads, with a store of their own, make so many calls each at every workflow; the calls by workflow.

    :param name: of this session, which all its processes share; ``seed``, unlike any other process's.
    """
    store, found = open_store(), {f"{name}-{number}": list[Call]() for number in range(workflows)}
    line = threading.Barrier(threads)

    def work(thread: int) -> list[Client]:
        caller = f"{seed}.{thread}"
        clients = [Client(store, namespace, caller, f"{caller}-{namespace}") for namespace in found]
        order = [client for client in clients for _ in range(each)]
        random.Random(caller).shuffle(order)
        line.wait(60)
        for client in order:
            client.act()
        return clients

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that threads get in between each other's steps
    try:
        with ThreadPoolExecutor(threads) as pool:
            for clients in pool.map(work, range(threads)):
                for client, calls in zip(clients, found.values(), strict=True):
                    calls.extend(client.calls)
    finally:
        sys.setswitchinterval(interval)
        store.close()
    return found


def play_sql(
    url: str, name: str, seed: str, *, fast_path: bool, threads: int, workflows: int, each: int
) -> dict[str, list[Call]]:
    """Do the same with an SQL store; may be sent to another process."""

    def open_store() -> SqlStore:
        return SqlStore(url, connections=threads, fast_path=fast_path)

    return play(open_store, name, seed, threads=threads, workflows=workflows, each=each)


def processes_for(count: int) -> ProcessPoolExecutor:
    """Start processes that have nothing of this one's."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


def session(
    url: str,
    seed: int,
    *,
    fast_path: bool = True,
    processes: int = 2,
    threads: int = 3,
    workflows: int = 6,
    each: int = 25,
    proxy: Proxy | None = None,
    pool: Executor | None = None,
) -> Findings:
    """Play a session on an SQL store and check it.

    :param proxy: stands before the database at ``url``, and loses answers all the time.
    :param pool: of at least so many processes; without one they are started for this session.
    """
    name, done, findings = f"linear-{uuid.uuid4().hex[:8]}", threading.Event(), Findings()
    losing = threading.Thread(target=_lose, args=(proxy, seed, done))
    losing.start()
    try:
        how: dict[str, Any] = {"fast_path": fast_path, "threads": threads, "workflows": workflows, "each": each}
        with nullcontext(pool) if pool is not None else processes_for(processes) as running:
            played = [running.submit(play_sql, url, name, f"{seed}.{number}", **how) for number in range(processes)]
            parts = [one.result() for one in played]
    finally:
        done.set()
        losing.join()
    for namespace in parts[0]:
        findings.add([call for part in parts for call in part[namespace]])
    return findings


def _lose(proxy: Proxy | None, seed: int, done: threading.Event) -> None:
    dice = random.Random(seed)
    while proxy is not None and not done.wait(dice.uniform(0.01, 0.08)):
        proxy.swallow_next_answer()
