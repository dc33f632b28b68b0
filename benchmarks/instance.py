"""A peer that runs: its databases, its driver, its workers, and what they have used so far."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.peer import Peer, Rest, Setting
from benchmarks.processes import BenchmarkError, Child
from benchmarks.resources import processor
from benchmarks.resources.broker import RedisCounter
from benchmarks.resources.database import PostgresCounter, counter_for
from benchmarks.servers import Servers

OwnServer = Callable[[Servers, Path, str], tuple[Child, str]]
OWN_SERVERS: Final[dict[str, OwnServer]] = {}
"""What starts a server that only one peer has, and returns it with its address."""

_ROOT: Final = Path(__file__).resolve().parent.parent


class Instance:
    """One peer with its processes, until :meth:`stop`.

    :param environment: more variables for its driver and workers.
    """

    def __init__(
        self, peer: Peer, setting: Setting, servers: Servers, environment: Mapping[str, str] | None = None
    ) -> None:
        self.peer = peer
        self.setting = setting
        self._servers = servers
        kind = peer.database(setting)
        self._database = servers.database(kind) if kind is not None else None
        self._broker = servers.broker() if peer.broker else None
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
            "BENCH_CONCURRENCY": str(setting.concurrency),
            **({"BENCH_DATABASE": self._database.url} if self._database else {}),
            **({"BENCH_BROKER": self._broker.url} if self._broker else {}),
            **peer.environment,
            **(environment or {}),
        }
        self._server: Child | None = None
        self._driver: Child | None = None
        self._workers: list[Child] = []
        self._started = 0
        self._resting = False
        self.database = counter_for(self._database.url if self._database else None)
        self.broker = RedisCounter(self._broker.url) if self._broker else None

    # -- its life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start server, driver (which makes the tables) and workers, and wait until they are ready.

        :raises BenchmarkError: one of them did not start.
        """
        self._started += 1
        if self.peer.server is not None:
            self._server, address = OWN_SERVERS[self.peer.server](self._servers, self._log("server"), self.peer.name)
            self._environment["BENCH_SERVER"] = address
        command = [sys.executable, "-m", "benchmarks.peers.driver", self.peer.driver]
        self._driver = Child(command, self._log("driver"), self._environment, talks=True)
        self._hear(self._driver)
        commands = self.peer.workers(self.setting)
        for number, each in enumerate(commands, 1):
            self._workers.append(Child(each, self._log(f"worker-{number}"), self._environment))
        for child in self._workers:
            child.wait_ready()

    def stop(self) -> None:
        """End its processes; its databases stay with the servers."""
        children = [self._driver, *self._workers, self._server]
        self._driver, self._workers, self._server = None, [], None
        for each in children:
            if each is not None:
                each.stop()

    def close(self) -> None:
        """End its processes, and the counters."""
        self.stop()
        for counter in (self.database, self.broker):
            if counter is not None:
                counter.close()

    def rest(self) -> None:
        """Take nothing from the others until :meth:`resume`."""
        if self.peer.rest is Rest.ENDED:
            self.stop()
        else:
            for each in self._own():
                each.freeze()
        self._resting = True

    def resume(self) -> None:
        """Go on; and start, where it has not been started."""
        if self._driver is None:
            self.start()
        elif self._resting:
            for each in self._own():
                each.thaw()
        self._resting = False

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for this block alone, warmed up."""
        self.resume()
        try:
            self.ask("chains", count=4, length=3)
            yield
        finally:
            self.rest()

    # -- what it does and has used -------------------------------------------------------------------------------------

    def ask(self, operation: str, **sizes: Any) -> dict[str, float]:
        """Have the driver do a piece of work, and return its figures.

        :raises BenchmarkError: it failed, or a result was wrong.
        """
        driver = self._driver
        if driver is None:
            raise BenchmarkError(f"{self.peer.name} was not started")
        print(json.dumps({"operation": operation, **sizes}), file=driver.pipes[0], flush=True)
        answer = self._hear(driver)
        if "error" in answer:
            raise BenchmarkError(f"{self.peer.name}, {operation} {sizes}:\n{answer['error']}\n{self._said()}")
        figures: dict[str, float] = answer["figures"]
        return figures

    def cpu(self) -> dict[str, float]:
        """Return the processor time of each role so far, in seconds."""
        return processor.by_role(self.roles())

    def memory(self) -> float:
        """Return the memory of its workers (or, where the client does the steps, of that), in bytes."""
        roles = self.roles()
        return processor.memory(roles.get("workers") or roles["client"])

    def roles(self) -> dict[str, list[int]]:
        """Return the first processes of each part of it."""
        found = {
            "workers": [each.pid for each in self._workers],
            "client": [self._driver.pid] if self._driver else [],
            "broker": [self._broker.pid] if self._broker and self._broker.pid else [],
            "database": [self._database.pid] if self._database and self._database.pid else [],
            "server": [self._server.pid] if self._server else [],
        }
        return {role: pids for role, pids in found.items() if pids}

    def counts(self) -> dict[str, float]:
        """Return what its database and its broker have counted so far."""
        found: dict[str, float] = {}
        for counter in (self.database, self.broker):
            if counter is not None:
                found |= counter.read()
        return found

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Have the database count statements during this block, where it can. Not while times are taken."""
        if isinstance(self.database, PostgresCounter):
            self.database.count(on=True)
        try:
            yield
        finally:
            if isinstance(self.database, PostgresCounter):
                self.database.count(on=False)

    def _own(self) -> list[Child]:
        return [each for each in (*self._workers, self._driver, self._server) if each is not None]

    def _log(self, role: str) -> Path:
        return self._servers.folder / f"{self.peer.name}-{id(self)}-{role}-{self._started}.log"

    def _hear(self, driver: Child) -> dict[str, Any]:
        line = driver.pipes[1].readline()
        if not line:
            raise BenchmarkError(f"the driver of {self.peer.name} ended. It said:\n{driver.said()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _said(self) -> str:
        return "\n".join(each.said() for each in self._workers)
