"""A clock that is set while the process runs: the wall clock jumps, nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.clocks import jump, wrong_clock

PROGRAM = """
import datetime, sys, threading, time
for _ in sys.stdin:
    time.sleep(0.01)
    threading.Event().wait(0.01)
    print(time.time(), datetime.datetime.now().timestamp(), time.monotonic(), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it preloads a library")
def test_only_the_wall_clock_jumps(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    lies = wrong_clock(file)
    if lies is None:
        pytest.skip("there is no C compiler")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **lies},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as asked:
        assert asked.stdin is not None
        assert asked.stdout is not None
        for by in (0, 3600, -30.25, 2.5, 0):
            jump(file, by)
            began, begun = time.time(), time.monotonic()
            print(file=asked.stdin, flush=True)
            wall, dated, monotonic = map(float, asked.stdout.readline().split())
            assert began + by <= wall <= time.time() + by
            assert began + by <= dated <= time.time() + by
            assert begun <= monotonic <= time.monotonic()
        asked.stdin.close()
