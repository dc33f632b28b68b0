"""A server that is not installed skips at home and fails in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEST = "def test_needs_it({fixture}): raise SystemExit('was run')\n"


@pytest.mark.parametrize("fixture", ["redis_url", "postgres_url"])
@pytest.mark.parametrize(("ci", "outcome", "status"), [("", "1 skipped", 0), ("true", "1 error", 1)])
def test_a_missing_server(fixture: str, ci: str, outcome: str, status: int, tmp_path: Path) -> None:
    lacking = tmp_path / "conftest.py"
    lacking.write_text(
        "from celeriac import embedded\n"
        "from tests import servers\n"
        "from tests.conftest import *\n"
        "embedded._candidates = lambda: iter(())\n"
        "servers.find_postgres = lambda: None\n"
    )
    test = tmp_path / "test_it.py"
    test.write_text(TEST.format(fixture=fixture))
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("REDIS_SERVER", None)
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rs",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(test),
        ],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome in run.stdout, run.stderr
    assert "Install one with: " in run.stdout
    assert run.returncode == status
