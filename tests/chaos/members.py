"""The workers that faults strike, and what has to be known of when they were struck."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.acceptance.processes import LocalProcess

QUEUES: Final = "celery,steps"
SOFT: Final = 4.0
"""Seconds that a soft shutdown gives tasks to end."""


@dataclass(frozen=True, slots=True)
class Post:
    """A place in the crew.

    :param soft: seconds that its soft shutdown takes; 0 has SIGQUIT be the cold one.
    :param clock: its wall clock may jump.
    :param earlier: it runs the code of an earlier release.
    """

    name: str
    pool: str
    concurrency: int
    queues: str = QUEUES
    soft: float = 0.0
    clock: bool = False
    earlier: bool = False


CREW: Final = (
    Post("one", "prefork", 2, soft=SOFT),
    Post("two", "prefork", 2, "steps", clock=True),
    Post("three", "threads", 4),
    Post("four", "gevent", 20, soft=SOFT),
    Post("five", "solo", 1),
    Post("six", "prefork", 2, earlier=True),
)


@dataclass(frozen=True, slots=True)
class Span:
    """A time during which something was the matter, by the monotonic clock."""

    begun: float
    ended: float
    pids: frozenset[int] = frozenset()

    def meets(self, begun: float, ended: float) -> bool:
        """Whether the two have a moment in common."""
        return self.begun <= ended and begun <= self.ended


@dataclass
class Diary:
    """When what was the matter, as far as the verdict has to know."""

    stops: list[Span] = field(default_factory=list)
    outages: list[Span] = field(default_factory=list)
    """Of the database, crashes all of them."""


@dataclass
class Member:
    """A worker, which is started again whenever it has ended."""

    post: Post
    process: LocalProcess
    busy: bool = False
    """A fault has not been made good yet."""
    deaths: int = 0
    _log_from: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.post.name

    @property
    def pool(self) -> str:
        """Its kind of pool."""
        return self.post.pool

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.process.status == "running"

    def begin_anew(self) -> None:
        """Start it again."""
        self.deaths += 1
        self.busy = False
        self._log_from = len(self.process.logs())
        self.process.start()

    def is_ready(self) -> bool:
        """Whether it takes messages; a signal that comes sooner ends it without more ado."""
        return self.up and b" ready." in self.process.logs()[self._log_from :]

    def pids(self) -> list[int]:
        """Return its processes, the first one first."""
        return sorted(_group(self.process.pid), key=lambda pid: pid != self.process.pid)

    def children(self) -> list[int]:
        """Return the processes of its pool."""
        return self.pids()[1:] if self.pool == "prefork" else []


def send(pid: int, number: int) -> None:
    """Send a signal to a process, if it is there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def stacks(pid: int) -> str:
    """Return what the threads of a process are about, as py-spy sees it, or why that can't be told."""

    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        return "py-spy is not installed\n"
    told = subprocess.run(
        [program, "dump", "--nonblocking", "--pid", str(pid)], capture_output=True, text=True, check=False, timeout=30
    )
    return told.stdout + told.stderr


def _group(leader: int) -> list[int]:
    """Return the processes of a group, from /proc."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError, ValueError):
                fields = (each / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == leader and fields[0] != "Z":
                    found.append(int(each.name))
    return found
