"""What a peer is, as data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Command = Sequence[str | Path]


class Rest(Enum):
    """What becomes of a peer's processes while another one is measured."""

    FROZEN = "frozen"
    """Stopped where they are (SIGSTOP), and warmed up before they are measured again."""
    ENDED = "ended"
    """Ended, and started anew: for those that poll in transactions, or whose server takes a stop amiss."""


@dataclass(frozen=True)
class Setting:
    """What the peers of a run have in common.

    :param store: where celeriac keeps its runs, one of ``servers.STORES``. The peers' databases are their own affair.
    :param concurrency: processes or threads that do the steps.
    """

    store: str = "postgresql"
    pool: str = "prefork"
    concurrency: int = 2


@dataclass(frozen=True)
class Peer:
    """A system that is measured.

    :param driver: the module of its driver, a class ``Driver`` in it. It runs in a process of its own: the client.
    :param packages: distributions without which it can't be had; their versions are reported.
    :param database: the kind of database that it is given, or None; its URL is in ``BENCH_DATABASE``.
    :param broker: whether it is given a Redis database; its URL is in ``BENCH_BROKER``.
    :param server: the name of a server of its own (a key of ``instance.OWN_SERVERS``), its address in ``BENCH_SERVER``.
    :param workers: the commands of its workers.
    :param most_rounds: in how many rounds it takes part at most, where it is slow; 0: in all.
    :param cases: the only ones that it is asked, where the others would take it minutes; empty: all that it offers.
    :param configuration: how it was set up, for the report: what a reader would ask.
    """

    name: str
    title: str
    durable: bool
    driver: str
    packages: Sequence[str]
    workers: Callable[[Setting], Sequence[Command]]
    configuration: Mapping[str, str]
    database: Callable[[Setting], str | None] = lambda _: None
    broker: bool = False
    server: str | None = None
    rest: Rest = Rest.FROZEN
    environment: Mapping[str, str] = field(default_factory=dict)
    most_rounds: int = 0
    cases: frozenset[str] = frozenset()

    def missing(self) -> list[str]:
        """Return the distributions that are not installed."""
        return [name for name in self.packages if version_of(name) is None]

    def versions(self) -> dict[str, str]:
        """Return the versions of what it is made of."""
        return {name: found for name in self.packages if (found := version_of(name)) is not None}


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def celery_worker(app: str) -> Callable[[Setting], Sequence[Command]]:
    """Return what starts one Celery worker of this app, in the run's pool."""

    def commands(setting: Setting) -> Sequence[Command]:
        how = ["-P", setting.pool, "-c", str(setting.concurrency)]
        quiet = ["--without-mingle", "--without-gossip", "-l", "INFO"]
        return [[sys.executable, "-m", "celery", "-A", app, "worker", *how, *quiet]]

    return commands


def python_workers(module: str) -> Callable[[Setting], Sequence[Command]]:
    """Return what starts as many processes of this module as there are to be at work."""
    return lambda setting: [[sys.executable, "-m", module]] * setting.concurrency
