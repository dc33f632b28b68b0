"""A minute of ``python -m tests.chaos``, as CI runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from celeriac.embedded import EmbeddedRedis
from tests.acceptance.processes import REPOSITORY
from tests.servers import PostgresServer

SEED = 20
RUNS = [
    "canceled",
    "collect",
    "deadly",
    "everything",
    "fan",
    "nap",
    "near",
    "poisoned",
    "row",
    "single",
    "toxic",
]


@pytest.mark.skipif(sys.platform != "linux", reason="it finds the processes of a worker in /proc")
@pytest.mark.slow
@pytest.mark.acceptance
@pytest.mark.timeout(420)
def test_half_a_minute_of_faults(redis_server: EmbeddedRedis, postgres_server: PostgresServer, tmp_path: Path) -> None:
    """The fixtures tell whether the servers can be had; the session starts some of its own."""
    command = ["-m", "tests.chaos", "--minutes", "0.6", "--seed", str(SEED), "--every", "1.5", "--open", "40"]
    command += ["--report", str(tmp_path / "report"), "--json"]
    done = subprocess.run(
        [sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=400
    )

    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["violations"] == []
    assert done.returncode == 0
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == report
    assert sorted(report["runs"]) == RUNS
    assert sum(report["faults"].values()) > 10
    assert report["executions"] >= report["outcomes"] > 0
