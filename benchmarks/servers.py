"""The servers of one benchmark: a Redis, a PostgreSQL with fsync or a SQLite file, and workers. All stopped by their process id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from celeriac.embedded import EmbeddedRedis


@contextmanager
def servers(store: str) -> Iterator[dict[str, str]]:
    """Start broker and store and yield the environment that workers and client share.

    :param store: ``postgresql`` or ``sqlite``.
    """
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="celeriac-bench-"))
        if store == "postgresql":
            from tests.servers import PostgresServer

            postgres = PostgresServer()
            postgres.start()
            stack.callback(postgres.remove)
            stack.callback(postgres.stop)
            url = postgres.create_database()
        else:
            url = f"sqlite:///{folder}/bench.db"
        root = str(Path(__file__).resolve().parent.parent)
        yield {
            **os.environ,
            "BENCH_BROKER": redis.url,
            "BENCH_STORE": url,
            "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
        }


@contextmanager
def worker(environment: Mapping[str, str], *, pool: str = "prefork", concurrency: int = 2) -> Iterator[int]:
    """Run one worker and yield its process id once it is ready."""
    with tempfile.NamedTemporaryFile(prefix="celeriac-bench-", suffix=".log") as log:
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.app", "worker", "-P", pool, "-c", str(concurrency)]
        process = subprocess.Popen(
            [*command, "--without-mingle", "--without-gossip", "-l", "INFO"],
            env=dict(environment),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _ready(Path(log.name), process)
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _ready(log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if b" ready." in log.read_bytes():
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"the worker did not start:\n{log.read_text()[-2000:]}")


def cpu_seconds(group: int) -> float:
    """Return the CPU time, in seconds, of all living processes of a process group (Linux)."""
    ticks = 0
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
