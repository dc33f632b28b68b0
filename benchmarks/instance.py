"""A peer that runs: its databases, its driver, its workers, and what they have used so far."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks import temporal_server
from benchmarks.peers.peer import Peer, Rest, Setting
from benchmarks.processes import BenchmarkError, Child
from benchmarks.resources import processor
from benchmarks.resources.broker import RedisCounter
from benchmarks.resources.database import PostgresCounter, counter_for
from benchmarks.resources.wire import Relay
from benchmarks.servers import Servers

OwnServer = Callable[[Path], tuple[Child, str]]
OWN_SERVERS: Final[Mapping[str, OwnServer]] = {
    "temporal-file": lambda log: temporal_server.start(log, file=log.with_suffix(".db")),
    "temporal-memory": lambda log: temporal_server.start(log, file=None),
}
"""What starts a server that only one peer has, and returns it with its address."""

_ROOT: Final = Path(__file__).resolve().parent.parent


class Instance:
    """One peer with its processes, until :meth:`stop`.

    :param counted: whether everything it says to its servers goes through relays that count, which takes time.
    """

    def __init__(self, peer: Peer, setting: Setting, servers: Servers, *, counted: bool = False) -> None:
        self.peer = peer
        self.setting = setting
        self._counted = counted
        self._relays: dict[str, Relay] = {}
        self._servers = servers
        kind = peer.database(setting)
        self._database = servers.database(kind) if kind is not None else None
        self._broker = servers.broker() if peer.broker else None
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
            "BENCH_CONCURRENCY": str(setting.concurrency),
            **peer.environment,
        }
        if self._database is not None:
            self._environment["BENCH_DATABASE"] = self._relayed("database", self._database.url)
        if self._broker is not None:
            self._environment["BENCH_BROKER"] = self._relayed("broker", self._broker.url)
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
            self._server, address = OWN_SERVERS[self.peer.server](self._log("server"))
            self._environment["BENCH_SERVER"] = self._relayed("server", f"grpc://{address}").removeprefix("grpc://")
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
        """End its processes, the relays and the counters."""
        self.stop()
        for relay in self._relays.values():
            relay.close()
        for counter in (self.database, self.broker):
            if counter is not None:
                counter.close()
        if self._broker is not None:
            self._servers.release(self._broker)

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
        """Return what its database, its broker and the relays have counted so far."""
        found: dict[str, float] = {}
        for counter in (self.database, self.broker, *self._relays.values()):
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

    def _relayed(self, name: str, url: str) -> str:
        """Return the URL by which its processes reach a server; one without a port is a file."""
        parsed = urlsplit(url)
        if not self._counted or parsed.port is None:
            return url
        self._relays[name] = Relay(name, parsed.port, redis=name == "broker")
        return url.replace(f":{parsed.port}", f":{self._relays[name].port}", 1)

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
